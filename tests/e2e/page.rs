//! The status page in a real browser, of a real daemon that places and answers calls.

use serde_json::{Value, json};

use crate::harness::browser::{Browser, Tab};
use crate::harness::gossipper::PROGRAM;
use crate::harness::http::Client;
use crate::harness::peer::Peer;
use crate::harness::service::{self as daemon, Daemon, until};
use crate::harness::{lock, ports};

const PASSWORD: &str = "correct horse battery staple";

/// A daemon that calls itself, with users `admin` and `viewer`.
fn start() -> Daemon {
    let target = ports::free();
    let daemon = daemon::prepare(&json!({
        // The same address after a restart, for the page that is open.
        "api_addr": format!("127.0.0.1:{}", ports::free()),
        "auth": { "type": "internal", "sqlite_path": "users.sqlite" },
        "server": {
            "id": "answering", "role": "management", "scenario_name": "uas", "transport": "u1",
            "local_ip": "127.0.0.1", "local_port": target,
        },
        "clients": [{
            "id": "load", "role": "load", "scenario_name": "uac", "transport": "u1",
            "local_ip": "127.0.0.1", "local_port": 0,
            "remote_addr": format!("127.0.0.1:{target}"), "rate": 20, "total_calls": 0,
        }],
    }))
    .environment("GOSSIPPER_BOOTSTRAP_USERNAME", "admin")
    .environment("GOSSIPPER_BOOTSTRAP_PASSWORD", PASSWORD)
    .start();
    let output = std::process::Command::new(PROGRAM)
        .args(["auth", "user-add", "-config"])
        .arg(daemon.path("gossipper.json"))
        .args(["-username", "viewer", "-password", PASSWORD, "-role", "viewer"])
        .current_dir(daemon.path(""))
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    daemon
}

/// A client of the API, to compare the page with.
#[track_caller]
fn api(daemon: &Daemon) -> Client {
    let client = daemon.client();
    let body = json!({ "username": "admin", "password": PASSWORD });
    let reply = client.post("/api/v1/auth/login", &body).expect(200).json();
    client.bearer(reply["token"].as_str().expect("a token"))
}

#[track_caller]
fn open(browser: &Browser, daemon: &Daemon) -> Tab {
    let mut tab = browser.open(&format!("http://{}/", daemon.address()));
    tab.screen(1280, 900, false);
    tab.until("form to sign in", "document.activeElement?.id === 'name'");
    tab
}

/// Signs in with the keyboard only.
#[track_caller]
fn sign_in(tab: &mut Tab, user: &str, password: &str) {
    for (id, text) in [("name", user), ("secret", password)] {
        tab.select(&format!("document.getElementById('{id}')"));
        tab.write(text);
    }
    tab.press("Enter");
}

/// JavaScript for the element of `selector` in the row of `load`.
fn in_row(selector: &str) -> String {
    let rows = "[...document.querySelectorAll('#engines tr')]";
    let is_load = "(row) => row.querySelector('th span').textContent === 'load'";
    format!("{rows}.find({is_load})?.querySelector({selector:?})")
}

#[track_caller]
fn until_moving(tab: &mut Tab) {
    let started =
        "Number(document.getElementById('total-started').textContent.replaceAll(',', ''))";
    tab.until("calls", &format!("{started} > 0"));
    let before = tab.eval(started);
    tab.until("further calls", &format!("{started} > {before}"));
    tab.until("rate", "parseFloat(document.getElementById('total-rate').textContent) > 0");
    tab.until("live connection", "document.getElementById('link').textContent === 'live'");
}

/// The row of `load` in GET /api/v1/control.
#[track_caller]
fn control(api: &Client) -> Value {
    let control = api.get("/api/v1/control").expect(200).json();
    let engines = control["engines"].as_array().expect("several engines").clone();
    engines.into_iter().find(|engine| engine["id"] == json!("load")).expect("its row")
}

#[test]
fn an_administrator_signs_in_and_steers_the_load() {
    let _lock = lock::light();
    let (daemon, browser) = (start(), Browser::start());
    let api = api(&daemon);
    let mut tab = open(&browser, &daemon);
    assert_eq!(tab.complaints(), [""; 0]);

    sign_in(&mut tab, "admin", "wrong");
    tab.until_text("#sign-in-error", "The name or the password is wrong.");
    assert_eq!(tab.eval("document.activeElement.id"), json!("secret"));
    assert_eq!(tab.eval("document.getElementById('board').checkVisibility()"), json!(false));
    let complaints = tab.complaints();
    assert!(matches!(&complaints[..], [one] if one.contains("401")), "{complaints:?}");

    sign_in(&mut tab, "admin", PASSWORD);
    until_moving(&mut tab);
    assert_eq!(tab.text("#who"), "admin · admin");
    assert_eq!(tab.eval("scrollY"), json!(0), "the line with the state is in sight");
    assert_eq!(tab.eval("document.querySelectorAll('#engines tr').length"), json!(2));
    let drawn = "document.querySelector('#chart-rate .a').getAttribute('d').length > 20";
    tab.until("line of the chart", drawn);

    // Typed text stays when new frames arrive, and the button is one Tab away.
    tab.select(&in_row(".rate input"));
    tab.write("45.5");
    tab.press("Tab");
    until_moving(&mut tab);
    until_moving(&mut tab);
    tab.press("Enter");
    tab.until_text("#done", "load: 45.5 calls per second.");
    assert_eq!(control(&api), json!({ "id": "load", "rate": 45.5, "paused": false }));
    // And by mouse.
    tab.select(&in_row(".rate input"));
    tab.write("60");
    tab.click(&in_row(".rate button"));
    until("new rate", || (control(&api)["rate"] == json!(60.0)).then_some(()));
    tab.until("rate on the page", &format!("{}.value === '60'", in_row(".rate input")));

    tab.click(&in_row("button.pause"));
    tab.until("pause", &format!("{}.textContent === 'paused'", in_row(".pill")));
    assert_eq!(control(&api), json!({ "id": "load", "rate": 60.0, "paused": true }));
    tab.until("standstill", &format!("{}.textContent === '0'", in_row("[data-label=\"Calls/s\"]")));
    // Both engines count the same calls, which are shown once.
    let started = tab.eval(&format!("{}.textContent", in_row("[data-label=\"Started\"]")));
    assert_eq!(json!(tab.text("#total-started")), started);
    tab.click(&in_row("button.pause"));
    tab.until("end of the pause", &format!("{}.textContent === 'running'", in_row(".pill")));
    assert_eq!(control(&api), json!({ "id": "load", "rate": 60.0, "paused": false }));
    until_moving(&mut tab);

    tab.click("document.getElementById('pause-all')");
    until("pause of all", || (control(&api)["paused"] == json!(true)).then_some(()));
    tab.click("document.getElementById('resume-all')");
    until("end of it", || (control(&api)["paused"] == json!(false)).then_some(()));

    tab.click("document.querySelector('#listeners input')");
    tab.until_text("#done", "Listener 0 is off.");
    let listener = api.get("/api/v1/transports").json()["listeners"][0].clone();
    assert_eq!(listener["enabled"], json!(false), "{listener}");
    // A frame shows it, and no older frame comes after that.
    tab.until_text("#listeners .switch span", "off");
    // A call in the meantime is refused, and the page shows the reason.
    tab.until_text("#failures .what strong", "503 Service Unavailable to INVITE (step 1)");
    assert_eq!(tab.eval("document.getElementById('failures-card').checkVisibility()"), json!(true));
    let about = tab.text("#failures .what .under");
    assert!(about.starts_with("load · unexpected_message · peer 127.0.0.1:"), "{about}");
    tab.click("document.querySelector('#listeners input')");
    tab.until_text("#done", "Listener 0 is on.");
    assert_eq!(tab.complaints(), [""; 0]);

    // A refusal is shown in the words of the daemon.
    tab.click("document.querySelector('#add summary')");
    tab.until("sample", "document.getElementById('snippet').value !== ''");
    tab.select("document.getElementById('snippet')");
    tab.write("{\"rat\": 1}");
    tab.click("document.querySelector('#add-form button')");
    tab.until("refusal", "document.getElementById('refused-text').innerText.includes('rat')");
    tab.click("document.getElementById('dismiss')");
    assert_eq!(tab.eval("document.getElementById('refused').checkVisibility()"), json!(false));
    let complaints = tab.complaints();
    assert!(complaints.iter().all(|one| one.contains("/clients")), "{complaints:?}");

    tab.click("document.getElementById('sign-out')");
    tab.until("form to sign in", "document.activeElement?.id === 'name'");
    assert_eq!(tab.eval("document.querySelectorAll('#engines tr').length"), json!(0));
    assert_eq!(tab.complaints(), [""; 0]);
    daemon.stop();
}

#[test]
fn calls_that_nobody_hears_are_shown_with_the_media() {
    let _lock = lock::light();
    let (daemon, browser) = (start(), Browser::start());
    let api = api(&daemon);
    let mut tab = open(&browser, &daemon);
    sign_in(&mut tab, "admin", PASSWORD);
    until_moving(&mut tab);
    assert_eq!(tab.eval("document.getElementById('media-card').checkVisibility()"), json!(false));
    let transports = api.get("/api/v1/transports").expect(200).json();
    let port = &transports["listeners"][0]["local_port"];
    // The answerer has a port of media in its description, and nothing behind it.
    let talk = json!({
        "id": "talk", "scenario_name": "invite_media", "transport": "u1",
        "local_ip": "127.0.0.1", "remote_addr": format!("127.0.0.1:{port}"), "rate": 5,
        "total_calls": 0, "extra_args": ["-rtp_shared", "-min_rtp_port", ports::free().to_string()],
    });
    api.post("/api/v1/clients", &talk).expect(201);
    tab.until("media", "document.getElementById('media-card').checkVisibility()");
    let cell =
        |at: usize| format!("document.querySelector('#media tr').children[{at}].textContent");
    tab.until("RTP", &format!("parseFloat({}) > 0", cell(1)));
    tab.until("silent calls", &format!("parseInt({}) > 0", cell(4)));
    assert_eq!((tab.eval(&cell(0)), tab.eval(&cell(2))), (json!("talk"), json!("0")));
    let worst = "document.querySelector('#worst li .what').innerText";
    tab.until("worst call", &format!("{worst}.startsWith('silent')"));
    let said = tab.eval(worst);
    assert!(said.as_str().unwrap().contains("talk · call "), "{said}");
    check(&mut tab, "media");
    assert_eq!(tab.complaints(), [""; 0]);
    daemon.stop();
}

#[test]
fn a_limited_second_is_named_and_fades() {
    let _lock = lock::light();
    let (daemon, browser) = (start(), Browser::start());
    let (api, silent) = (api(&daemon), Peer::new());
    let mut tab = open(&browser, &daemon);
    sign_in(&mut tab, "admin", PASSWORD);
    until_moving(&mut tab);
    // One call without an answer takes all the room there is.
    let starved = json!({
        "id": "starved", "scenario_name": "options", "transport": "u1", "local_ip": "127.0.0.1",
        "remote_addr": silent.address().to_string(), "rate": 50, "total_calls": 0,
        "extra_args": ["-max_calls", "1"],
    });
    api.post("/api/v1/clients", &starved).expect(201);
    let why = "document.getElementById('total-verdict-why').textContent";
    tab.until("cause", &format!("/^starved, second \\d+: .*pool full/.test({why})"));
    assert_eq!(tab.text("#total-verdict"), "generator_limited");
    api.delete("/api/v1/clients?id=starved").expect(204);
    tab.until("end of what is past", &format!("!{why}.includes('starved')"));
    assert_eq!(tab.complaints(), [""; 0]);
    daemon.stop();
}

#[test]
fn a_viewer_looks_and_has_no_controls() {
    let _lock = lock::light();
    let (daemon, browser) = (start(), Browser::start());
    let mut tab = open(&browser, &daemon);
    sign_in(&mut tab, "viewer", PASSWORD);
    until_moving(&mut tab);
    assert_eq!(tab.text("#who"), "viewer · viewer");
    let controls = "[...document.querySelectorAll('#board :is(button, input, textarea, summary)')]\
                    .filter((one) => one.checkVisibility()).map((one) => one.outerHTML)";
    assert_eq!(tab.eval(controls), json!([]));
    assert_eq!(tab.eval(&format!("{}.innerText", in_row("span.none"))), json!("20 calls/s"));
    // The times are those of the last minutes, and not of the whole run.
    let minutes = "[title*=\"last 5 minutes: \"]";
    tab.until("times", &format!("document.querySelector('#engines td{minutes}') !== null"));
    let stats = api(&daemon).get("/api/v1/stats").json();
    let recent = stats["engines"].as_array().expect("several engines").iter().find_map(|engine| {
        let minute = &engine["stats"]["recent"][0];
        (minute["count"].as_u64() > Some(0)).then(|| minute.clone())
    });
    assert_eq!(recent.expect("a client with answers")["seconds"], json!(60));
    assert_eq!(tab.complaints(), [""; 0]);
    daemon.stop();
}

#[test]
fn the_page_goes_on_when_the_daemon_is_back() {
    let _lock = lock::light();
    let (daemon, browser) = (start(), Browser::start());
    let mut tab = open(&browser, &daemon);
    sign_in(&mut tab, "admin", PASSWORD);
    until_moving(&mut tab);
    assert_eq!(tab.complaints(), [""; 0]);

    let (_, folder) = daemon.stop();
    tab.until_text("#link", "no connection");
    assert_eq!(tab.eval("document.getElementById('board').className"), json!("stale"));
    // The last frame shows that the engines are over, so they have no buttons any more.
    tab.click("document.getElementById('pause-all')");
    tab.until_text("#refused-text", "The daemon does not answer.");

    // Signed-in users stay so: the secret that signs tokens is in the database.
    let daemon = daemon::again(folder).start();
    until_moving(&mut tab);
    assert_eq!(tab.eval("document.getElementById('board').className"), json!(""));
    assert_eq!(tab.eval("document.getElementById('refused').checkVisibility()"), json!(false));
    tab.click(&in_row("button.pause"));
    let api = api(&daemon);
    until("pause", || (control(&api)["paused"] == json!(true)).then_some(()));
    // Requests failed, as expected. Nothing else did.
    let complaints = tab.complaints();
    assert!(complaints.iter().all(|one| one.starts_with("network")), "{complaints:?}");
    daemon.stop();
}

/// Finds texts whose contrast to their background is below that of WCAG 2.2, 1.4.3 (AA).
const FAINT: &str = r"(() => {
    const parse = (text) => text.match(/[\d.]+/g).map(Number);
    const light = (text) => {
        const part = (value) => {
            const share = value / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        };
        const [r, g, b] = parse(text).slice(0, 3).map(part);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const isClear = (text) => text === 'transparent' || parse(text)[3] === 0;
    const behind = (node) => {
        const color = getComputedStyle(node).backgroundColor;
        return isClear(color) && node.parentElement ? behind(node.parentElement) : color;
    };
    const holds = (node) => [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    return [...document.querySelectorAll('body *')]
        .filter((node) => node.checkVisibility() && holds(node))
        .map((node) => {
            const style = getComputedStyle(node);
            const [a, b] = [light(style.color), light(behind(node))].sort((one, other) => other - one);
            const least = parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
            return [(a + 0.05) / (b + 0.05), least, node.outerHTML.slice(0, 120)];
        })
        .filter(([ratio, least]) => ratio < least);
})()";

/// Checks that all texts can be read and all controls have names, on wide and narrow screens.
#[track_caller]
fn check(tab: &mut Tab, what: &str) {
    for (width, is_dark) in [(1280, false), (1280, true), (390, false), (390, true)] {
        tab.screen(width, 844, is_dark);
        let faint = tab.eval(FAINT);
        assert_eq!(faint, json!([]), "{what}, {width} wide, dark: {is_dark}");
        let wide = tab.eval("document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= width.into(), "{what} is {wide} wide on {width}");
        let unnamed = "[...document.querySelectorAll('button, input, select, textarea')]\
                       .filter((one) => !one.labels?.length && !one.textContent.trim()\
                       && !one.ariaLabel).map((one) => one.outerHTML)";
        assert_eq!(tab.eval(unnamed), json!([]), "{what}");
    }
}

#[test]
fn everything_can_be_read_on_every_screen() {
    let _lock = lock::light();
    let (daemon, browser) = (start(), Browser::start());
    let mut tab = open(&browser, &daemon);
    check(&mut tab, "signing in");
    sign_in(&mut tab, "admin", "wrong");
    tab.until_text("#sign-in-error", "The name or the password is wrong.");
    check(&mut tab, "a wrong password");
    sign_in(&mut tab, "admin", PASSWORD);
    until_moving(&mut tab);
    check(&mut tab, "the board");
    // The longest possible name, of a client that is over.
    let name = "w".repeat(64);
    let target =
        api(&daemon).get("/api/v1/transports").json()["listeners"][0]["local_port"].clone();
    let profile = json!({
        "id": name, "scenario_name": "uac", "transport": "u1", "rate": 5, "total_calls": 1,
        "local_ip": "127.0.0.1", "remote_addr": format!("127.0.0.1:{target}"),
    });
    api(&daemon).post("/api/v1/clients", &profile).expect(201);
    tab.until(
        "end of the client",
        "document.querySelector('#dynamic .pill')?.innerText === 'finished'",
    );
    check(&mut tab, "the board with more on it");
    daemon.stop();
}
