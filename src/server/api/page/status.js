// The status page: signs in, follows the live WebSocket, and sends changes to the API. All text of
// others is set as text, never as markup.

import { POINTS_MAX, draw, prepare } from "/assets/chart.js";

const API = "/api/v1";
const TOKEN_KEY = "gossipper_token";
const THEME_KEY = "gossipper_theme";
const INTERVAL_MS = 750;
// Rates are taken over so many milliseconds: workers report once a second.
const WINDOW_MS = 3000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10000;
// A connection without a frame for so long is dead, even if nobody closed it.
const SILENCE_MS_MAX = 6000;
// How long it is said that something was done.
const DONE_MS = 6000;
// Groups of failed calls that are shown, of all engines together.
const FAILURES_MAX = 8;
// Calls with bad media that are shown, of all engines together.
const WORST_MAX = 5;
// How long it is said that a second was limited, and from when on it is past.
const LIMITED_MS = 10000;
const LIMITED_PAST_MS = 3000;

const $ = (id) => document.getElementById(id);

const state = {
  auth: { auth: "none", api_token: false },
  token: recall(sessionStorage, TOKEN_KEY),
  role: "viewer",
  socket: null,
  // Counts connections, so that what an earlier one still does is known to be late.
  attempt: 0,
  frameAt: 0,
  retryMs: RETRY_MS_MIN,
  doneTimer: 0,
  // Histories by engine id; "" is all of them together.
  histories: new Map(),
  rows: new Map(),
  frame: null,
  // The newest second in which the generator was the limit.
  limited: null,
};

// ---- small things ----------------------------------------------------------------------------

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Storage can be forbidden; the page works without.
function recall(storage, key) {
  try {
    return storage.getItem(key);
  } catch {
    return null;
  }
}

function remember(storage, key, value) {
  try {
    if (value === null) storage.removeItem(key);
    else storage.setItem(key, value);
  } catch {
    // It is forgotten with the page.
  }
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

function count(value) {
  return value >= 1e7 ? `${fine.format(value / 1e6)} M` : whole.format(value);
}

function rate(value) {
  if (value === null) return "–";
  return value >= 100 ? whole.format(value) : fine.format(value);
}

function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 1000) return `${fine.format(ms / 1000)} s`;
  return ms >= 10 ? `${whole.format(ms)} ms` : `${ms.toFixed(ms >= 1 ? 1 : 2)} ms`;
}

function percent(part, all) {
  if (!all || !part) return "";
  const share = (100 * part) / all;
  return share < 0.1 ? "<0.1 %" : `${share.toFixed(1)} %`;
}

// Says for a while that something was done, and that nothing is wrong any more.
function say(text) {
  clearTimeout(state.doneTimer);
  complain(null);
  $("done").hidden = !text;
  // Set after it shows: what appears together with its text is not read out everywhere.
  setText($("done"), text ?? "");
  if (text) state.doneTimer = setTimeout(() => say(null), DONE_MS);
}

// Says what is wrong until something else is said or it is closed.
function complain(text) {
  if (text) {
    clearTimeout(state.doneTimer);
    $("done").hidden = true;
  }
  $("refused").hidden = !text;
  setText($("refused-text"), text ?? "");
}

function setLink(text, kind) {
  const link = $("link");
  setText(link, text);
  link.className = `pill ${kind}`;
  $("board").classList.toggle("stale", kind === "bad");
}

// ---- the API ---------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(method, path, body) {
  const headers = {};
  if (state.token) headers.Authorization = `Bearer ${state.token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response, text;
  try {
    response = await fetch(API + path, { method, headers, body });
    text = await response.text();
  } catch {
    throw new Refused(0, "The daemon does not answer.");
  }
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    // Not ours; the status says enough.
  }
  if (response.ok) return value;
  throw new Refused(response.status, value?.error ?? `HTTP ${response.status}`);
}

// Sends a change and says what came of it.
async function change(method, path, body, done) {
  try {
    await ask(method, path, body === undefined ? undefined : JSON.stringify(body));
    say(done);
    return true;
  } catch (error) {
    if (error.status === 401) signOut(SESSION_OVER);
    else complain(error.message);
    return false;
  }
}

// ---- signing in ------------------------------------------------------------------------------

const SESSION_OVER = "The session is over; sign in again.";

function showSignIn(hint) {
  const isInternal = state.auth.auth === "internal";
  $("board").hidden = true;
  $("sign-in").hidden = false;
  $("sign-out").hidden = true;
  setText($("who"), "");
  $("name-row").hidden = !isInternal;
  $("name").required = isInternal;
  showSignInError(null);
  setText($("secret-label"), isInternal ? "Password" : "Token");
  setText($("sign-in-hint"), hint
    ?? (isInternal ? "With a user of this daemon." : "With the api_token of the configuration."));
  setLink("signed out", "");
  $(isInternal ? "name" : "secret").focus();
}

function showSignInError(text) {
  $("sign-in-error").hidden = !text;
  setText($("sign-in-error"), text ?? "");
}

function signOut(hint) {
  // A session that is over needs no end; a token of the configuration has none.
  if (state.token && !hint && state.auth.auth === "internal") {
    ask("POST", "/auth/logout").catch(() => {});
  }
  state.token = null;
  remember(sessionStorage, TOKEN_KEY, null);
  disconnect();
  say(null);
  forget();
  showSignIn(hint);
}

// The next one to sign in may be another, of another daemon.
function forget() {
  state.histories.clear();
  state.rows.clear();
  state.frame = null;
  state.limited = null;
  for (const id of ["engines", "media", "worst", "failures", "listeners", "dynamic"]) $(id).replaceChildren();
}

async function signIn(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  const secret = $("secret").value;
  button.disabled = true;
  showSignInError(null);
  try {
    if (state.auth.auth === "internal") {
      const body = JSON.stringify({ username: $("name").value, password: secret });
      state.token = (await ask("POST", "/auth/login", body)).token;
    } else {
      state.token = secret;
    }
    await enter();
    remember(sessionStorage, TOKEN_KEY, state.token);
    $("secret").value = "";
    connect();
    $("main").focus({ preventScroll: true });
  } catch (error) {
    state.token = null;
    const isInternal = state.auth.auth === "internal";
    const wrong = isInternal ? "The name or the password is wrong." : "The token is wrong.";
    showSignInError(error.status === 401 ? wrong : error.message);
    $("secret").focus();
    $("secret").select();
  } finally {
    button.disabled = false;
  }
}

// Shows the board to who is let in.
async function enter() {
  const me = await ask("GET", "/me");
  state.role = me.role;
  const needsNothing = state.auth.auth === "none" && !state.auth.api_token;
  setText($("who"), needsNothing ? "no sign-in needed here" : `${me.username} · ${me.role}`);
  setText($("version"), `· version ${me.version}`);
  $("sign-out").hidden = needsNothing;
  $("sign-in").hidden = true;
  $("board").hidden = false;
  for (const node of document.querySelectorAll(".operate")) node.hidden = !mayOperate();
}

function mayOperate() {
  return state.role !== "viewer";
}

// ---- the live WebSocket ----------------------------------------------------------------------

function disconnect() {
  state.attempt += 1;
  const socket = state.socket;
  state.socket = null;
  if (socket) {
    socket.onclose = null;
    socket.close();
  }
}

async function connect() {
  disconnect();
  const { attempt } = state;
  let query = `interval_ms=${INTERVAL_MS}`;
  try {
    if (state.token) query += `&ticket=${(await ask("POST", "/live/ticket")).ticket}`;
  } catch (error) {
    if (attempt !== state.attempt) return;
    if (error.status === 401) return signOut(SESSION_OVER);
    return retry();
  }
  // Somebody signed out meanwhile, or there is a newer connection.
  if (attempt !== state.attempt) return;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}${API}/live?${query}`);
  state.socket = socket;
  state.frameAt = Date.now();
  socket.onmessage = (event) => {
    state.retryMs = RETRY_MS_MIN;
    state.frameAt = Date.now();
    setLink("live", "good");
    show(JSON.parse(event.data));
  };
  socket.onclose = (event) => {
    if (state.socket !== socket) return;
    state.socket = null;
    if (event.code === 1008) return signOut(SESSION_OVER);
    retry();
  };
}

function retry() {
  disconnect();
  setLink("no connection", "bad");
  for (const one of state.histories.values()) one.interrupt();
  const { attempt } = state;
  setTimeout(() => {
    // The daemon that comes back may have another configuration, version or set of users.
    if (attempt === state.attempt) begin();
  }, state.retryMs);
  state.retryMs = Math.min(RETRY_MS_MAX, state.retryMs * 2);
}

// A network that went away, or a computer that slept, closes no connection.
function listen() {
  if (state.socket && Date.now() - state.frameAt > SILENCE_MS_MAX) retry();
}

// ---- figures over time -----------------------------------------------------------------------

class History {
  constructor() {
    this.samples = [];
    this.lines = { started: [], failed: [], active: [], p50: [], p99: [] };
  }

  // Takes the figures of a frame.
  add(ts, figures) {
    const last = this.samples.at(-1);
    // Another run under the same id begins anew.
    if (last && figures.started < last.started) this.samples = [];
    this.samples.push({ ts, ...figures });
    while (this.samples.length > 2 && ts - this.samples[1].ts >= WINDOW_MS) this.samples.shift();
    const first = this.samples[0];
    const seconds = (ts - first.ts) / 1000;
    const per = (name) => (seconds >= 0.5 ? (figures[name] - first[name]) / seconds : null);
    const now = {
      started: per("started"), failed: per("failed"), active: figures.active,
      p50: figures.p50, p99: figures.p99,
    };
    this.rtp = { sent: per("sent"), received: per("received") };
    for (const [name, line] of Object.entries(this.lines)) {
      line.push(now[name] ?? null);
      if (line.length > POINTS_MAX) line.shift();
    }
    return now;
  }

  // Nothing is known for a while: lines get a gap, and no rate spans it.
  interrupt() {
    this.samples = [];
    for (const line of Object.values(this.lines)) if (line.at(-1) !== null) line.push(null);
  }

  now(name) {
    return this.lines[name].at(-1) ?? null;
  }
}

function figuresOf(stats) {
  // Of the last minute: percentiles of the whole run hide what happens now.
  const minute = recentOf(stats, 60);
  return {
    started: stats.total_calls, failed: stats.failed_calls, active: stats.active_calls,
    p50: minute ? minute.p50 / 1e6 : null, p99: minute ? minute.p99 / 1e6 : null,
    sent: stats.media.rtp_packets_sent, received: stats.media.rtp_packets_received,
  };
}

// Times of the last seconds, if there were any.
function recentOf(stats, seconds) {
  const found = stats.recent?.find((one) => one.seconds === seconds);
  return found?.count ? found : null;
}

function history(id) {
  if (!state.histories.has(id)) state.histories.set(id, new History());
  return state.histories.get(id);
}

// ---- showing a frame -------------------------------------------------------------------------

function enginesOf(frame) {
  const { stats, control, transports } = frame;
  const clients = new Map(transports.clients.map((client) => [client.id, client]));
  const controls = control.multi ? new Map(control.engines.map((row) => [row.id, row])) : null;
  const rows = stats.multi
    ? stats.engines
    : [{ id: transports.clients[0]?.id ?? "primary", stats: stats.stats, state: stats.state }];
  return rows.map((row) => ({
    ...row,
    control: controls ? controls.get(row.id) : control,
    client: clients.get(row.id),
  }));
}

// What an engine counts, without the calls of others here: those count them already.
function ownPart(name, figures, inside) {
  return inside ? Math.max(0, figures[name] - inside[name]) : figures[name];
}

// What engines here do at each other, by the one that answers.
function insideOf(engines) {
  const inside = new Map();
  for (const { client, stats } of engines) {
    if (!client?.calls_engine) continue;
    const sum = inside.get(client.calls_engine) ?? { started: 0, failed: 0, active: 0 };
    const figures = figuresOf(stats);
    for (const name of Object.keys(sum)) sum[name] += figures[name];
    inside.set(client.calls_engine, sum);
  }
  return inside;
}

// Says whether the generator keeps up: what was limited is told with its cause and its second, and
// for some time only.
function showVerdict(frame, engines) {
  for (const { id, state: life } of engines) {
    const { limited } = life;
    if (!limited) continue;
    const key = `${id} ${life.run_id} ${limited.second}`;
    if (state.limited?.key !== key) state.limited = { key, id, ts: frame.ts, ...limited };
  }
  const last = state.limited;
  const age = last ? frame.ts - last.ts : Infinity;
  const isLimited = age < LIMITED_MS;
  const isJudged = engines.some((engine) => engine.stats.generator.judged_seconds > 0);
  const kind = isLimited ? (age < LIMITED_PAST_MS ? "bad" : "bad past") : isJudged ? "good" : "";
  setText($("total-verdict"), isLimited ? "generator_limited" : isJudged ? "ok" : "not_judged");
  $("total-verdict").className = `value ${kind}`;
  const why = isLimited
    ? `${last.id}, second ${last.second}: ${last.causes.join(", ").replaceAll("_", " ")}` : "generator";
  setText($("total-verdict-why"), why);
}

function show(frame) {
  state.frame = frame;
  const engines = enginesOf(frame);
  const inside = insideOf(engines);
  const sum = { started: 0, failed: 0, active: 0, p50: null, p99: null, sent: 0, received: 0 };
  let retransmits = 0;
  for (const engine of engines) {
    const figures = figuresOf(engine.stats);
    history(engine.id).add(frame.ts, figures);
    for (const name of ["started", "failed", "active"]) {
      sum[name] += ownPart(name, figures, inside.get(engine.id));
    }
    // No percentile of several engines follows from theirs; the slowest is what one wants to see.
    for (const name of ["p50", "p99"]) {
      if (figures[name] !== null) sum[name] = Math.max(sum[name] ?? 0, figures[name]);
    }
    retransmits += engine.stats.retransmits;
  }
  const total = history("").add(frame.ts, sum);
  const ids = new Set(engines.map((engine) => engine.id));
  for (const id of state.histories.keys()) {
    if (id !== "" && !ids.has(id)) state.histories.delete(id);
  }
  setText($("total-rate"), rate(total.started));
  setText($("total-active"), count(sum.active));
  setText($("total-started"), count(sum.started));
  setText($("total-failed"), `${count(sum.failed)}`);
  $("total-failed").className = sum.failed ? "value bad" : "value";
  setText($("total-retransmits"), count(retransmits));
  showVerdict(frame, engines);
  showScope(engines);
  showCharts();
  showEngines(engines);
  showMedia(engines);
  showFailures(engines);
  showListeners(frame.transports.listeners);
  showDynamic(frame.transports.clients.filter((client) => client.dynamic));
  $("add").hidden = !mayOperate() || !frame.transports.dynamic_client_api.can_post;
}

function showScope(engines) {
  const select = $("scope");
  const wanted = ["", ...engines.map((engine) => engine.id)];
  const have = [...select.options].map((option) => option.value);
  if (wanted.join("\n") === have.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...wanted.map((id) => new Option(id || "all engines", id)));
  select.value = wanted.includes(chosen) ? chosen : "";
}

function showCharts() {
  const shown = history($("scope").value);
  const { started, failed, active, p50, p99 } = shown.lines;
  draw($("chart-rate"), [[started, "a"], [failed, "b"]], { format: rate });
  draw($("chart-active"), [[active, "a"]], { format: count });
  draw($("chart-latency"), [[p50, "a"], [p99, "c"]], { format: duration });
  setText($("chart-rate-now"), rate(shown.now("started")));
  setText($("chart-active-now"), count(shown.now("active") ?? 0));
  const has = shown.now("p50") !== null;
  setText($("chart-latency-now"), has ? `${duration(shown.now("p50"))} / ${duration(shown.now("p99"))}` : "");
}

const PHASE_KINDS = { running: "good", paused: "warn", draining: "warn", failed: "bad" };

function showEngines(engines) {
  const body = $("engines");
  const ids = new Set(engines.map((engine) => engine.id));
  for (const [id, row] of state.rows) {
    if (!ids.has(id)) {
      row.line.remove();
      state.rows.delete(id);
    }
  }
  engines.forEach((engine, index) => {
    if (!state.rows.has(engine.id)) state.rows.set(engine.id, makeRow(engine));
    const row = state.rows.get(engine.id);
    if (body.children[index] !== row.line) body.insertBefore(row.line, body.children[index] ?? null);
    fillRow(row, engine);
  });
}

function cell(line, label, className, name = "td") {
  const made = element(name, className);
  if (label) made.dataset.label = label;
  line.append(made);
  return made;
}

// A row is made once and then only filled, so that what has the focus keeps it.
function makeRow(engine) {
  const line = element("tr");
  const name = cell(line, "", "whole engine", "th");
  name.scope = "row";
  const title = element("span", "", engine.id);
  const phase = element("span", "pill");
  const under = element("span", "under");
  const verdict = element("span", "under bad");
  name.append(title, phase, under, verdict);
  // What somebody types stays until it is sent or left.
  const row = { line, phase, under, verdict, isEdited: false };
  row.now = cell(line, "Calls/s", "number");
  const sparkCell = cell(line, "", "spark-cell");
  row.spark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  row.spark.setAttribute("class", "spark");
  row.spark.setAttribute("aria-hidden", "true");
  sparkCell.append(row.spark);
  row.active = cell(line, "Open", "number");
  row.started = cell(line, "Started", "number");
  row.failed = cell(line, "Failed", "number");
  row.latency = cell(line, "p50 / p99, 1 min", "number two");
  const rateCell = cell(line, "Rate", "whole");
  const form = element("form", "rate");
  row.rate = element("input");
  Object.assign(row.rate, {
    type: "number", name: "rate", min: "0", max: "1000000000", step: "any", required: true,
  });
  row.rate.setAttribute("aria-label", `Calls per second of ${engine.id}`);
  const set = element("button", "", "Set");
  set.type = "submit";
  form.append(row.rate, set);
  row.rate.addEventListener("input", () => { row.isEdited = true; });
  form.addEventListener("focusout", (event) => {
    if (!form.contains(event.relatedTarget)) row.isEdited = false;
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wanted = Number(row.rate.value);
    const isDone = await change("POST", "/control", { engine_id: engine.id, rate: wanted },
      `${engine.id}: ${rate(wanted)} calls per second.`);
    if (isDone) row.isEdited = false;
  });
  row.form = form;
  row.noRate = element("span", "none");
  rateCell.append(form, row.noRate);
  const pauseCell = cell(line, "", "whole");
  row.pause = element("button", "pause", "Pause");
  row.pause.type = "button";
  row.pause.addEventListener("click", () => {
    const paused = row.pause.dataset.paused !== "true";
    change("POST", "/control", { engine_id: engine.id, paused },
      `${engine.id} ${paused ? "is paused" : "goes on"}.`);
  });
  pauseCell.append(row.pause);
  return row;
}

function fillRow(row, { id, stats, state: life, control, client }) {
  const own = history(id);
  setText(row.phase, life.phase);
  row.phase.className = `pill ${PHASE_KINDS[life.phase] ?? ""}`;
  const where = client ? `${client.transport} to ${client.remote_addr}` : "answers calls";
  setText(row.under, life.reason ?? `${life.scenario_name} · ${where}`);
  // The reasons of a limited run: what was seen, and what to do.
  const { verdict, reasons } = stats.generator;
  const isLimited = verdict === "generator_limited";
  setText(row.verdict, isLimited ? `${verdict}: ${reasons.slice(0, 2).join(" ")}` : "");
  row.verdict.hidden = !isLimited;
  setText(row.now, rate(own.now("started")));
  setText(row.active, count(stats.active_calls));
  setText(row.started, count(stats.total_calls));
  const share = percent(stats.failed_calls, stats.total_calls);
  setText(row.failed, share ? `${count(stats.failed_calls)} · ${share}` : "0");
  row.failed.className = stats.failed_calls ? "number bad" : "number";
  const has = own.now("p50") !== null;
  setText(row.latency, has ? `${duration(own.now("p50"))} / ${duration(own.now("p99"))}` : "–");
  const five = recentOf(stats, 300);
  row.latency.title = five
    ? `${five.transaction} to answer; last 5 minutes: ${duration(five.p50 / 1e6)} / ${duration(five.p99 / 1e6)}`
    : "";
  draw(row.spark, [[own.lines.started, "a"]], { width: 130, height: 30, hasGrid: false });
  const isOver = life.phase === "finished" || life.phase === "failed";
  const hasRate = Boolean(client) && !isOver;
  row.form.hidden = !hasRate || !mayOperate();
  row.noRate.hidden = hasRate && mayOperate();
  setText(row.noRate, hasRate ? `${rate(control.rate)} calls/s` : client ? "–" : "as peers call");
  const given = String(control?.rate ?? 0);
  if (!row.isEdited && row.rate.value !== given) row.rate.value = given;
  row.pause.hidden = !mayOperate() || (isOver && Boolean(client?.dynamic));
  row.pause.dataset.paused = String(isOver || Boolean(control?.paused));
  setText(row.pause, isOver ? "Start again" : control?.paused ? "Resume" : "Pause");
  row.pause.setAttribute("aria-label", `${row.pause.textContent} ${id}`);
}

// What the calls of engines with media sent and heard.
function showMedia(engines) {
  const shown = engines.filter(({ stats }) => stats.media.mode);
  $("media-card").hidden = !shown.length;
  if (!shown.length) return;
  const labels = ["RTP out / in per s", "Heard both ways", "One way", "Silent", "Unknown", "Lost",
    "Jitter p99", "MOS / worst", "Pacing p99"];
  const make = ({ id }) => {
    const line = element("tr");
    const name = element("th", "whole", id);
    name.scope = "row";
    line.append(name);
    for (const label of labels) cell(line, label, "number");
    return line;
  };
  const fill = (line, { id, stats: { media } }) => {
    const { heard, mos_estimated: mos } = media;
    const { sent, received } = history(id).rtp ?? { sent: null, received: null };
    const figures = [
      `${rate(sent)} / ${rate(received)}`,
      count(heard.two_way), count(heard.one_way), count(media.silent_calls), count(heard.unknown),
      media.loss_ratio === null ? "–" : percent(media.loss_ratio, 1) || "0 %",
      duration(media.jitter && media.jitter.p99 / 1e6),
      mos ? `${mos.average.toFixed(2)} / ${mos.min.toFixed(2)}` : "–",
      duration(media.rtp_send_error && media.rtp_send_error.p99 / 1e6),
    ];
    figures.forEach((figure, index) => setText(line.children[index + 1], figure));
    line.children[3].className = heard.one_way ? "number warn" : "number";
    line.children[4].className = media.silent_calls ? "number bad" : "number";
  };
  fillList($("media"), shown, ({ id }) => id, make, fill, "");
  showWorst(shown);
}

const HEARD_WORDS = {
  none: "silent", one_way: "heard one way", two_way: "heard both ways", unknown: "unknown",
};

// The calls with the worst media: of each engine the worst first, so the first of each come first.
function showWorst(engines) {
  const lists = engines.map(({ id, stats }) => (stats.media.worst_calls ?? []).map((call, index) => ({
    id, index, ...call, key: `${id} ${call.call}`,
  })));
  const calls = lists.flat().sort((one, other) => one.index - other.index).slice(0, WORST_MAX);
  const make = () => {
    const line = element("li");
    const what = element("span", "what");
    what.append(element("strong"), element("span", "under"));
    line.append(what, element("span", "number"));
    return line;
  };
  const fill = (line, call) => {
    const [what, number] = line.children;
    setText(what.children[0], HEARD_WORDS[call.heard] ?? call.heard);
    const about = [call.id, `call ${call.call}`, `Call-ID ${call.call_id}`];
    if (call.cause) about.push(call.cause);
    setText(what.children[1], about.join(" · "));
    const lost = call.loss_ratio === null ? "nothing received" : `${percent(call.loss_ratio, 1) || "0 %"} lost`;
    const mos = call.mos_estimated_min === null ? "" : ` · MOS ${call.mos_estimated_min.toFixed(2)}`;
    setText(number, lost + mos);
  };
  fillList($("worst"), calls, (call) => call.key, make, fill, "None had bad media.");
}

// What failed calls have in common, the most frequent first.
function showFailures(engines) {
  const groups = engines.flatMap(({ id, stats }) => (stats.failures ?? []).map((group) => ({
    id, ...group, key: [id, group.cause, group.text, group.peer].join(" "),
  })));
  groups.sort((one, other) => other.count - one.count);
  $("failures-card").hidden = !groups.length;
  const make = () => {
    const line = element("li");
    const what = element("span", "what");
    what.append(element("strong"), element("span", "under"));
    line.append(what, element("span", "number bad"));
    return line;
  };
  const fill = (line, group) => {
    const [what, number] = line.children;
    setText(what.children[0], group.text);
    const about = [group.id, group.cause];
    if (group.peer) about.push(`peer ${group.peer}`);
    if (group.first_call) {
      const at = new Date(group.first_at).toLocaleTimeString();
      about.push(`first call ${group.first_call} at ${at}, Call-ID ${group.first_call_id}`);
    }
    setText(what.children[1], about.join(" · "));
    setText(number, `${count(group.count)} · ${percent(group.share, 1)}`);
  };
  fillList($("failures"), groups.slice(0, FAILURES_MAX), (group) => group.key, make, fill, "None.");
}

// Fills a list with rows by key, making those that are new.
function fillList(list, items, keyOf, make, fill, whenEmpty) {
  const have = new Map([...list.children].map((line) => [line.dataset.key, line]));
  const lines = items.map((item) => {
    const key = String(keyOf(item));
    let line = have.get(key);
    if (!line) {
      line = make(item);
      line.dataset.key = key;
    }
    fill(line, item);
    return line;
  });
  if (!lines.length) {
    const empty = have.get("empty") ?? element("li", "none", whenEmpty);
    empty.dataset.key = "empty";
    lines.push(empty);
  }
  const isSame = lines.length === list.children.length
    && lines.every((line, index) => list.children[index] === line);
  if (!isSame) list.replaceChildren(...lines);
}

function address(ip, port) {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function showListeners(listeners) {
  const make = (listener) => {
    const line = element("li");
    const what = element("span", "what");
    what.append(element("strong"), element("span", "under"));
    const label = element("label", "switch");
    const input = element("input");
    input.type = "checkbox";
    input.name = "listener";
    input.setAttribute("role", "switch");
    input.addEventListener("change", async () => {
      const enabled = input.checked;
      input.dataset.isAsked = "true";
      const isDone = await change("POST", "/transports", { index: listener.index, enabled },
        `Listener ${listener.index} is ${enabled ? "on" : "off"}.`);
      delete input.dataset.isAsked;
      if (!isDone) input.checked = !enabled;
    });
    label.append(input, element("span", "", ""));
    line.append(what, label);
    return line;
  };
  const fill = (line, listener) => {
    const [what, label] = line.children;
    const where = address(listener.local_ip, listener.local_port);
    setText(what.children[0], `${listener.transport}  ${where}`);
    setText(what.children[1], listener.scenario_name);
    const [input, word] = label.children;
    input.hidden = !mayOperate();
    if (!input.dataset.isAsked) input.checked = listener.enabled;
    input.setAttribute("aria-label", `Listener ${where}`);
    setText(word, listener.enabled ? "on" : "off");
  };
  fillList($("listeners"), listeners, (listener) => listener.index, make, fill,
    "The primary engine has none: it places calls.");
}

function showDynamic(clients) {
  const make = (client) => {
    const line = element("li");
    const what = element("span", "what");
    what.append(element("strong", "", client.id), element("span", "under"));
    const stop = element("button", "", "Stop");
    stop.type = "button";
    stop.addEventListener("click", () => {
      stop.disabled = true;
      change("DELETE", `/clients?id=${encodeURIComponent(client.id)}`, undefined,
        `${client.id} ends its calls and is gone from the list.`)
        .then((isDone) => {
          stop.disabled = false;
          // The button goes away with its row; who uses the keyboard goes on here.
          if (isDone) $("add").querySelector("summary").focus();
        });
    });
    line.append(what, element("span", "pill"), stop);
    return line;
  };
  const fill = (line, client) => {
    const [what, phase, stop] = line.children;
    setText(what.children[1], `${client.transport} to ${client.remote_addr}`);
    setText(phase, client.phase);
    phase.className = `pill ${PHASE_KINDS[client.phase] ?? ""}`;
    stop.hidden = !mayOperate();
    setText(stop, client.phase === "finished" || client.phase === "failed" ? "Remove" : "Stop");
    stop.setAttribute("aria-label", `${stop.textContent} ${client.id}`);
  };
  fillList($("dynamic"), clients, (client) => client.id, make, fill, "None was started over the API.");
}

// ---- start -----------------------------------------------------------------------------------

const systemDark = matchMedia("(prefers-color-scheme: dark)");

function applyTheme() {
  const { dataset } = document.documentElement;
  const chosen = dataset.theme ?? recall(localStorage, THEME_KEY);
  if (chosen) dataset.theme = chosen;
  const isDark = chosen
    ? chosen === "dark" : systemDark.matches;
  setText($("theme"), isDark ? "Light" : "Dark");
  $("theme").setAttribute("aria-label", isDark ? "Light colours" : "Dark colours");
  return isDark;
}

function addSample() {
  const listener = state.frame?.transports.listeners[0];
  const port = listener?.local_port ?? 5060;
  $("snippet").value = JSON.stringify(
    { id: "extra", scenario_name: "uac", transport: "u1", remote_addr: `127.0.0.1:${port}`, rate: 5,
      total_calls: 0 }, null, 2);
}

$("sign-in").addEventListener("submit", signIn);
$("sign-out").addEventListener("click", () => signOut());
$("theme").addEventListener("click", () => {
  const chosen = applyTheme() ? "light" : "dark";
  remember(localStorage, THEME_KEY, chosen);
  document.documentElement.dataset.theme = chosen;
  applyTheme();
});
systemDark.addEventListener("change", applyTheme);
$("dismiss").addEventListener("click", () => {
  complain(null);
  $("main").focus({ preventScroll: true });
});
$("scope").addEventListener("change", showCharts);
$("pause-all").addEventListener("click", () => change("POST", "/control", { paused: true }, "All engines are paused."));
$("resume-all").addEventListener("click", () => change("POST", "/control", { paused: false }, "All engines go on."));
$("add").addEventListener("toggle", () => { if ($("add").open && !$("snippet").value) addSample(); });
$("add-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  let profile;
  try {
    profile = JSON.parse($("snippet").value);
  } catch (error) {
    return complain(`The profile is not JSON: ${error.message}`);
  }
  if (await change("POST", "/clients", profile, "The client runs.")) $("add").open = false;
});
for (const id of ["chart-rate", "chart-active", "chart-latency"]) prepare($(id));
applyTheme();

// Finds out who may come in, and lets in who has a token; tries until the daemon answers.
async function begin() {
  const { attempt } = state;
  try {
    state.auth = await ask("GET", "/auth/status");
    const needsToken = state.auth.auth === "internal" || state.auth.api_token;
    if (needsToken && !state.token) return showSignIn();
    await enter();
    if (attempt !== state.attempt) return;
    // What the attempts before complained about is over.
    if (state.retryMs > RETRY_MS_MIN) complain(null);
    connect();
  } catch (error) {
    if (attempt !== state.attempt) return;
    if (error.status === 401) return signOut(SESSION_OVER);
    // A board that is open says by itself that its connection is gone.
    if (error.status || $("board").hidden) complain(`${error.message} This page keeps trying.`);
    retry();
  }
}

setInterval(listen, 1000);
begin();
