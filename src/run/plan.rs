//! From a configuration and a program to the plan of the workers: addresses, pools, limits.
//!
//! All limits are chosen here and checked against the system before the first call.

use std::io;
use std::iter;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread;

use gossipper_uring::{DriverConfig, probe, sys};

use super::addresses::{Addresses, pick, resolve_all};
use super::data::Tables;
use super::kept::SentRules;
use super::memory::Promise;
use super::pool::{self, Sizing, Terms};
use super::{RunError, media, memory, sources, targets, third_party};
use crate::config::targets::Load;
use crate::config::{
    CallIds, CallLimit, ConcurrencyLimit, Flavor, HostPort, IoChoice, RATE_DEFAULT, RunConfig,
    Transport, TransportFor,
};
use crate::dataplane::third_party::ThirdPartyPlan;
use crate::dataplane::{Bind, LINGER_NS, Launch, LaunchError, Reconnect, StreamPlan, bind_again};
use crate::engine::pacing::RatePlan;
use crate::engine::{Arrivals, DataConfig, EngineConfig, Environment, Footprint, Programs, layout};
use crate::scenario::{Mode, Program};
use crate::stream::{Limits, TlsConfig};
use crate::trace::{Kinds, Protocol};

/// Ended foreign calls that a server remembers: those of 33 s at 100,000 calls/s.
const DEAD_CALLS: usize = 1 << 22;
/// Ports that are tried without `-p`, as in SIPp.
const DEFAULT_PORTS: std::ops::RangeInclusive<u16> = 5060..=5119;
/// Connections that peers may open to a client.
const PEERS: u64 = 64;
/// Descriptors that the process needs in addition to the calls' sockets.
const SPARE_FILES: u64 = 64;

/// A run that can be launched.
pub(super) struct Plan {
    pub(super) launch: Launch,
    /// Calls that the run will make or answer, if that number is limited.
    pub(super) calls_total: Option<u64>,
    /// The limit of open calls as a multiple of the rate, if it follows from the rate (SIPp's
    /// rule).
    pub(super) limit_per_rate: Option<f64>,
    /// Name of the I/O driver.
    pub(super) driver_name: &'static str,
    /// Sentences for the user before the run.
    pub(super) notices: Vec<String>,
    /// Addresses to which the run itself sends, as far as they are known.
    pub(super) places: Vec<SocketAddr>,
    /// The greatest load that the run puts on them.
    pub(super) load: Load,
    /// Memory that a pool of default size was promised when it was sized.
    pub(super) reserved: Promise,
}

/// The column of the injection file that gives source addresses, and the addresses in it.
type Sources = (u16, Vec<IpAddr>);

/// The kinds of calls that a run has.
#[derive(Clone, Copy)]
struct Roles {
    is_client: bool,
    /// True if commands of another instance (3PCC) can start the calls that we make.
    calls_out: bool,
    answers: bool,
}

impl Roles {
    fn of(programs: &Programs) -> Self {
        let is_client = programs.main.mode == Mode::Client;
        Self {
            is_client,
            calls_out: programs.main.sip_mode == Mode::Client,
            answers: !is_client || programs.receiving.is_some() || programs.out_of_call.is_some(),
        }
    }
}

/// Plans the run of one listener, under the terms of the process.
///
/// # Errors
/// A mistake in the settings, or a limit of the system that is too small.
pub(super) fn plan(
    config: &RunConfig,
    programs: Programs,
    tables: &Tables,
    terms: Terms,
    rules: SentRules,
) -> Result<Plan, RunError> {
    let roles = Roles::of(&programs);
    let mut notices = Vec::new();
    check_sets(config, &programs)?;
    check_role(config, roles.is_client)?;
    let (addresses, sources) = addresses(config, tables, roles)?;
    let (use_uring, notice) = driver(config)?;
    notices.extend(notice);
    notices.extend(lone_call(config, roles));
    let limit_per_rate = limit_per_rate(config, &programs.main, roles.is_client);
    let limits = CallLimits::of(config, &programs, limit_per_rate);
    let third_party = third_party::plan(config, &programs, &mut notices)?;
    let for_connections = is_port_of_connections(config, roles);
    let alone = [
        (third_party.is_some(), "the commands of other instances go to one worker"),
        (sources.is_some(), "-t ui: one worker has the sockets of all addresses"),
    ];
    let workers = count_workers(config, &programs, limits, alone, for_connections, &mut notices);
    let (pool, reserved) = limits.pool(config, &programs, workers, terms)?;
    let per_call_sockets = match config.transport {
        Transport::UdpMulti if roles.calls_out => {
            let sockets = sockets_of_calls(config, pool, limits.pool_total, 0)?;
            Some((sockets as usize).div_ceil(workers))
        }
        _ => None,
    };
    let streams = match config.transport.is_stream() {
        true => Some(streams(config, roles, &addresses, pool, limits, workers, &mut notices)?),
        false => None,
    };
    let shared_port = !roles.is_client && workers > 1;
    let bind = bind(config, &addresses, sources.as_ref(), shared_port, for_connections)?;
    let all: Vec<&Program> = programs.all().map(|program| &**program).collect();
    let layout = Arc::new(layout(&all, config.rules.pause_ms));
    let (data, places) = data_and_places(
        config,
        &programs,
        tables,
        &addresses,
        third_party.as_ref(),
        rules,
        &mut notices,
    )?;
    let engine = engine_config(config, roles, &addresses, limits, (pool, workers), data);
    let media = media::plan(config, &programs, &engine, &mut notices)?;
    let mut driver = driver_config(config, per_call_sockets, sources.as_ref(), streams.as_ref());
    driver.sockets_max += media.as_ref().map_or(0, |media| media::sockets(media, &programs));
    notices.extend(refused_cpus(&config.cpus));
    let runs_commands = programs.all().any(|program| program.runs_commands());
    let launch = Launch {
        workers,
        cpus: cpus(config, workers),
        driver,
        use_uring,
        bind,
        per_call_sockets,
        sources,
        streams,
        grain_ns: config.grain_us * 1_000,
        watchdog_ns: (config.watchdog.minor_ms * 1_000_000, config.watchdog.major_ms * 1_000_000),
        // SIPp sends CANCEL or BYE without waiting: its run ends with its last call.
        linger_ns: if config.flavor == Flavor::Sipp { 0 } else { LINGER_NS },
        runs_commands,
        programs,
        third_party,
        layout,
        samples: false,
        record_bytes: 0,
        copy_bytes: 0,
        bell: Arc::default(),
        media,
        engine,
    };
    let driver_name = if use_uring { "uring" } else { "syscall" };
    let load = targets::load(config, &launch.programs);
    let calls_total = limits.calls_total;
    Ok(Plan { launch, calls_total, limit_per_rate, driver_name, notices, places, load, reserved })
}

/// Our address and those that we call, and the source addresses of calls (`-t ui`), the first of
/// which is bound.
fn addresses(
    config: &RunConfig,
    tables: &Tables,
    roles: Roles,
) -> Result<(Addresses, Option<Sources>), RunError> {
    let mut addresses = Addresses::resolve(config, roles.calls_out)?;
    let peer = addresses.next_hop.map(|hop| hop.ip());
    let sources = sources::read(config, tables, peer, config.max_sockets as usize)?;
    if let Some((column, ips)) = &sources {
        check_sources(config, ips.len())?;
        sources::check_local(tables, *column, ips)?;
        if let Some(&first) = ips.first() {
            addresses.bind = first;
        }
    }
    Ok((addresses, sources))
}

/// The addresses to bind, and the options of the sockets.
fn bind(
    config: &RunConfig,
    addresses: &Addresses,
    sources: Option<&Sources>,
    shared: bool,
    for_connections: bool,
) -> Result<Bind, RunError> {
    let ports = ports(config, addresses, shared || for_connections)?;
    Ok(Bind {
        ip: addresses.bind,
        ports: match sources {
            Some((_, ips)) => sources::common_port(ports, ips),
            None => ports,
        },
        shared,
        for_connections,
        buffer_bytes: match config.transport.is_stream() {
            true => config.stream_buffer_bytes,
            false => config.socket_buffer_bytes,
        } as usize,
        device: config.device.clone(),
    })
}

/// A notice that only one call is made, if other settings suggest more of them.
fn lone_call(config: &RunConfig, roles: Roles) -> Option<String> {
    if !roles.is_client || config.calls_total != CallLimit::ClientDefault {
        return None;
    }
    let asks = [
        (config.users.is_some(), "-users"),
        (config.rate_increase != 0.0, "-rate_increase"),
        (config.rate != RATE_DEFAULT, "-r"),
        (matches!(config.concurrent_max, ConcurrencyLimit::Count(count) if count > 1), "-l"),
    ];
    let (_, option) = asks.into_iter().find(|&(is_given, _)| is_given)?;
    Some(format!(
        "only one call is made, because {option} is given without -m; -m 0 goes on until stopped"
    ))
}

/// The limits of the number of calls.
#[derive(Clone, Copy)]
struct CallLimits {
    /// Most open calls.
    concurrent_max: Option<u64>,
    /// Most calls in all.
    calls_total: Option<u64>,
    /// Most calls in all, if that limits the pool: calls out of call are not included.
    pool_total: Option<u64>,
}

impl CallLimits {
    fn of(config: &RunConfig, programs: &Programs, limit_per_rate: Option<f64>) -> Self {
        let roles = Roles::of(programs);
        let concurrent_max = match (config.concurrent_max, limit_per_rate) {
            // In SIPp, -l applies to calls that it makes.
            (ConcurrencyLimit::Count(_), _)
                if !roles.is_client && config.flavor == Flavor::Sipp =>
            {
                None
            }
            (ConcurrencyLimit::Count(count), _) => Some(count),
            (_, Some(per_rate)) => Some(((per_rate * config.rate) as u64).max(1)),
            (_, None) => None,
        };
        let calls_total = match config.calls_total {
            CallLimit::Count(count) => Some(count),
            CallLimit::ClientDefault if roles.is_client => Some(1),
            CallLimit::ClientDefault | CallLimit::Unlimited => None,
        };
        Self {
            concurrent_max,
            calls_total,
            pool_total: calls_total.filter(|_| programs.out_of_call.is_none()),
        }
    }

    /// Number of calls in the pool over all workers.
    fn pool(
        self,
        config: &RunConfig,
        programs: &Programs,
        workers: usize,
        terms: Terms,
    ) -> Result<(u64, Promise), RunError> {
        let roles = Roles::of(programs);
        // A call may have a connection of its own, and come back on another. Each needs entries in
        // the driver and on its way out.
        let connections = match config.transport.is_stream() && !roles.is_client {
            true => 4 * memory::SOCKET_BYTES,
            false => 0,
        };
        let sizing = Sizing {
            config,
            // The pool does not grow with the number of calls.
            calls_total: self.pool_total.filter(|_| !terms.total_may_grow),
            // -l does not limit calls that arrive beside those that we make.
            concurrent_max: self.concurrent_max.filter(|_| roles.is_client != roles.answers),
            of_call: pool::call_bytes(Footprint::of(programs), roles.answers)
                + connections
                + media::call_bytes(config, programs),
            part: terms.part,
            workers: workers as u64,
        };
        sizing.pool()
    }
}

/// Tells whether the one connection for all calls leaves from the port of `-p`, as in SIPp.
fn is_port_of_connections(config: &RunConfig, roles: Roles) -> bool {
    roles.is_client
        && config.transport.is_stream()
        && !config.transport.is_multi()
        && config.local_port.is_some_and(|port| port != 0)
}

/// The number of workers. Each of `alone` is a condition under which one worker is used, with its
/// reason; `for_connections` is another condition.
fn count_workers(
    config: &RunConfig,
    programs: &Programs,
    limits: CallLimits,
    alone: [(bool, &str); 2],
    for_connections: bool,
    notices: &mut Vec<String>,
) -> usize {
    let is_client = programs.main.mode == Mode::Client;
    let one = |count: usize, is_alone: bool, why: &str, notices: &mut Vec<String>| {
        if is_alone && config.workers.is_some_and(|workers| workers > 1) {
            notices.push(format!("{why}: one worker is used"));
        }
        if is_alone { 1 } else { count }
    };
    let mut count = workers(config, programs, notices);
    for (is_alone, why) in alone {
        count = one(count, is_alone, why, notices);
    }
    let count = sharing_workers(count, limits.concurrent_max, config.users);
    let count = connected_workers(count, config, is_client, notices);
    one(count, for_connections, "-p: only one connection can use a local port", notices)
}

/// The data for scenarios, and the addresses to which the run itself sends.
fn data_and_places(
    config: &RunConfig,
    programs: &Programs,
    tables: &Tables,
    addresses: &Addresses,
    third_party: Option<&ThirdPartyPlan>,
    rules: SentRules,
    notices: &mut Vec<String>,
) -> Result<(DataConfig, Vec<SocketAddr>), RunError> {
    // The address is judged below, together with its port.
    let resolve_host = |host: &str| {
        let host = HostPort { host: host.to_owned(), port: 5060 };
        pick(resolve_all(&host)?, &host, Some(addresses.local)).map(|address| address.ip())
    };
    let is_kept = |program: &Program| rules.is_kept(program, programs, config);
    let mut data = tables.data(config, programs, is_kept, resolve_host, notices)?;
    let now = sys::realtime_now_ns();
    let refusal = |to| config.reach.for_sent().and_then(|targets| targets.refusal(to, now));
    notices.extend(rules.remarks(config, programs, &data.hosts, refusal));
    let mut places: Vec<SocketAddr> = addresses.next_hop.into_iter().collect();
    places.extend(
        third_party
            .iter()
            .flat_map(|third_party| third_party.peers.iter().filter_map(|peer| peer.address)),
    );
    for program in programs.all() {
        // Each call of a kept scenario is judged when it is turned; no share is held before.
        if is_kept(program) {
            continue;
        }
        let judges = config.reach.for_scenario(program.is_sent);
        let judged = iter::once(&**program);
        places.extend(targets::judge_programs(judges, judged, &data.hosts, config)?);
    }
    targets::set_gates(config, &places, &mut data);
    // A <setdest> may use [remote_host].
    let remote_ip = addresses.remote.map(|remote| remote.ip());
    data.hosts.extend(remote_ip.map(|ip| (addresses.remote_host.clone(), ip)));
    Ok((data, places))
}

fn driver_config(
    config: &RunConfig,
    per_call_sockets: Option<usize>,
    sources: Option<&Sources>,
    streams: Option<&StreamPlan>,
) -> DriverConfig {
    DriverConfig {
        gso: config.gso,
        gro: config.gro,
        sockets_max: per_call_sockets.unwrap_or(0) + sources.map_or(0, |(_, ips)| ips.len()) + 8,
        // Listeners, and connections that are being closed, need entries too.
        streams_max: streams.map_or(8, |streams| 2 * streams.connections_max + 64),
        ..DriverConfig::default()
    }
}

/// The configuration of the workers' engines, without a worker number and a start time.
fn engine_config(
    config: &RunConfig,
    roles: Roles,
    addresses: &Addresses,
    limits: CallLimits,
    (pool, workers): (u64, usize),
    data: DataConfig,
) -> EngineConfig {
    let pool_calls = pool.div_ceil(workers as u64) as usize;
    EngineConfig {
        worker: 0,
        workers,
        seed: config.seed.unwrap_or_else(random_seed),
        pool_calls,
        dead_calls_max: match !roles.answers && config.call_ids == CallIds::Own {
            true => 1,
            false => (pool::ENDED_PER_CALL as usize * pool_calls).min(DEAD_CALLS),
        },
        blob_bytes_max: (pool_calls * pool::TEXT_BYTES as usize).max(pool::TEXTS_LEAST as usize),
        concurrent_max: limits.concurrent_max,
        calls_total: limits.calls_total,
        arrivals: arrivals(config, roles.is_client),
        start_ns: 0,
        wall_offset_ns: 0,
        rules: config.rules.clone(),
        trace: Kinds::NONE,
        environment: environment(config, addresses),
        data,
    }
}

fn environment(config: &RunConfig, addresses: &Addresses) -> Environment {
    Environment {
        service: config.service.clone(),
        protocol: protocol(config.transport),
        local_ip: addresses.local,
        local_port: None,
        media_ip: config.media.ip.unwrap_or(addresses.local),
        media_is_relayed: config.turn.server.is_some(),
        media_port: config.media.port_min,
        remote_host: addresses.remote_host.clone(),
        remote: addresses.remote,
        next_hop: addresses.next_hop,
        pid: sys::process_id(),
        users: config.users,
    }
}

/// Checks that there is a global variable for each `-set`.
pub(super) fn check_sets(config: &RunConfig, programs: &Programs) -> Result<(), RunError> {
    let is_known = |name| programs.all().any(|program| program.global_variables.contains(name));
    match config.rules.sets.iter().find(|(name, _)| !is_known(name)) {
        Some((name, _)) => Err(RunError::Set { name: name.clone() }),
        None => Ok(()),
    }
}

fn driver(config: &RunConfig) -> Result<(bool, Option<String>), RunError> {
    let choice = match config.io {
        IoChoice::Auto => probe::IoChoice::Auto,
        IoChoice::Uring => probe::IoChoice::Uring,
        IoChoice::Syscall => probe::IoChoice::Syscall,
    };
    match choice.resolve() {
        Ok(probe::Resolved::Uring(_)) => Ok((true, None)),
        Ok(probe::Resolved::Syscall(notice)) => Ok((false, notice)),
        Err(refusal) => Err(RunError::Uring(refusal.to_string())),
    }
}

fn workers(config: &RunConfig, programs: &Programs, notices: &mut Vec<String>) -> usize {
    const WORKERS_MAX: usize = 256;
    let default = sys::online_cpus().len().saturating_sub(1).max(1);
    let workers = config.workers.unwrap_or(default).clamp(1, WORKERS_MAX);
    if workers > 1 && programs.all().any(|program| program.writes_shared_variables) {
        notices.push(
            "the scenario writes global or user variables, which calls share: one worker is used"
                .to_owned(),
        );
        return 1;
    }
    workers
}

/// Number of workers that get a share of the open calls and users. A worker without a share would
/// withhold each call in its turn, and never end.
fn sharing_workers(workers: usize, concurrent_max: Option<u64>, users: Option<u64>) -> usize {
    let shares = concurrent_max.unwrap_or(u64::MAX).min(users.unwrap_or(u64::MAX)).max(1);
    workers.min(usize::try_from(shares).unwrap_or(usize::MAX))
}

/// Checks that the transport's name is meant for the role of the run.
fn check_role(config: &RunConfig, is_client: bool) -> Result<(), RunError> {
    let whom = match config.transport_for {
        Some(TransportFor::Clients) if !is_client => "scenarios that make calls",
        Some(TransportFor::Servers) if is_client => "scenarios that answer calls",
        _ => return Ok(()),
    };
    Err(RunError::TransportRole { whom, code: config.transport.code() })
}

fn protocol(transport: Transport) -> Protocol {
    let named = |protocol: &Protocol| protocol.name() == transport.protocol();
    Protocol::ALL.into_iter().find(named).unwrap_or_default()
}

/// A connection stays with the worker that accepted it, so limits of a server cannot be split: all
/// calls may come over one connection.
fn connected_workers(
    workers: usize,
    config: &RunConfig,
    is_client: bool,
    notices: &mut Vec<String>,
) -> usize {
    let has_limit = matches!(config.calls_total, CallLimit::Count(_))
        || matches!(config.concurrent_max, ConcurrencyLimit::Count(_));
    if workers > 1 && config.transport.is_stream() && !is_client && has_limit {
        notices.push(
            "-m and -l of a server count all connections together: one worker is used".to_owned(),
        );
        return 1;
    }
    workers
}

/// The settings and the number of connections.
fn streams(
    config: &RunConfig,
    roles: Roles,
    addresses: &Addresses,
    pool: u64,
    limits: CallLimits,
    workers: usize,
    notices: &mut Vec<String>,
) -> Result<StreamPlan, RunError> {
    let is_client = roles.is_client;
    let per_call = is_client && config.transport.is_multi();
    let wanted = match (is_client, per_call) {
        (true, true) => sockets_of_calls(config, pool, limits.pool_total, PEERS)?,
        (true, false) => workers as u64,
        // The number of peers' connections is unknown. A call may return on a new one before we
        // notice the end of the old one.
        (false, _) => (2 * pool + PEERS).min(1 << 20),
    };
    // Peers may connect to a client too.
    let needed = if is_client { wanted + PEERS } else { wanted };
    let connections_max = match is_client {
        true => {
            check_files(config, needed)?;
            needed
        }
        false => needed.min(affordable_files(config, needed)).max(1),
    };
    let tls = match config.transport.uses_tls() {
        true => Some(super::tls::settings(config, is_client, notices)?),
        false => None,
    };
    let tickets = TlsConfig::tickets().map_err(|what| RunError::Tls { what })?;
    let plan = StreamPlan {
        tls,
        tickets,
        websocket: config.transport.is_websocket(),
        remote: addresses.next_hop.filter(|_| is_client),
        remote_name: config.next_hop().map(|hop| hop.host.clone()).unwrap_or_default(),
        per_call: per_call.then_some((wanted as usize).div_ceil(workers)),
        connections_max: (connections_max as usize).div_ceil(workers),
        reconnect: Reconnect {
            max: config.reconnect.max,
            fails_calls: config.reconnect.fails_calls,
            sleep_ns: config.reconnect.sleep_ms.saturating_mul(1_000_000),
        },
        limits: Limits::default(),
    };
    // An invalid name of the peer is found now, and not by a worker.
    plan.session()
        .map_err(|reason| RunError::RemoteName { code: config.transport.code(), reason })?;
    Ok(plan)
}

/// Number of sockets, or connections, for calls that have one each, in addition to `others`: one
/// for each open call. For calls that only a reload can add, it is as many as the system allows.
fn sockets_of_calls(
    config: &RunConfig,
    pool: u64,
    calls_total: Option<u64>,
    others: u64,
) -> Result<u64, RunError> {
    let most = u64::from(config.max_sockets).min(pool);
    let needed = calls_total.map_or(most, |total| most.min(total.max(1)));
    check_files(config, needed + others)?;
    if needed == most {
        return Ok(most);
    }
    let affordable = affordable_files(config, most + others).saturating_sub(others);
    Ok(affordable.clamp(needed, most))
}

/// Descriptors that are available for connections that peers open.
pub(super) fn affordable_files(config: &RunConfig, wanted: u64) -> u64 {
    let limit = match config.skip_rlimit {
        true => sys::nofile_limit(),
        false => sys::raise_nofile_limit(wanted + SPARE_FILES).or_else(|_| sys::nofile_limit()),
    };
    limit.unwrap_or(1024).saturating_sub(SPARE_FILES)
}

/// CPUs to pin to. A single worker is left to the scheduler by default: on a small host, two
/// processes would otherwise compete for one core.
fn cpus(config: &RunConfig, workers: usize) -> Vec<usize> {
    if !config.cpus.is_empty() {
        return config.cpus.clone();
    }
    if workers == 1 {
        return Vec::new();
    }
    let mut cpus = sys::online_cpus();
    // The first CPU is left to the control side.
    if cpus.len() > workers {
        cpus.remove(0);
    }
    cpus
}

/// A sentence about requested CPUs that cannot be used: there is no such CPU, or a sandbox forbids
/// to select one.
fn refused_cpus(wanted: &[usize]) -> Option<String> {
    if wanted.is_empty() {
        return None;
    }
    let wanted = wanted.to_vec();
    let refused = thread::spawn(move || {
        let pin = |cpu| sys::pin_current_thread(cpu).err().map(|error| (cpu, error));
        wanted.into_iter().filter_map(pin).collect::<Vec<_>>()
    });
    let refused = refused.join().unwrap_or_default();
    let (_, error) = refused.first()?;
    let cpus: Vec<String> = refused.iter().map(|(cpu, _)| cpu.to_string()).collect();
    Some(format!(
        "-cpus: workers are not pinned to CPU {}: {error}; choose other CPUs, or check which ones \
         the service manager allows",
        cpus.join(", ")
    ))
}

/// SIPp's limit of open calls for each call per period: three times the offered load, over at least
/// one second per call.
fn limit_per_rate(config: &RunConfig, program: &Program, is_client: bool) -> Option<f64> {
    let applies =
        config.concurrent_max == ConcurrencyLimit::SippRule && is_client && config.users.is_none();
    let default_ms = config.rules.pause_ms;
    let duration_ms = program.pauses_p99_ms(default_ms).max(default_ms as f64).max(1000.0);
    applies.then(|| 3.0 * duration_ms / config.rate_period_ms as f64)
}

/// Checks that a socket for each address fits both limits.
fn check_sources(config: &RunConfig, addresses: usize) -> Result<(), RunError> {
    let most = config.max_sockets as usize;
    if addresses > most {
        return Err(RunError::Limit {
            what: "-t ui".to_owned(),
            needed: format!("more than {most} sockets, one for each address in the -inf file"),
            limit: format!("-max_socket {most}"),
            hint: "raise -max_socket, or remove addresses from the file".to_owned(),
        });
    }
    check_files(config, addresses as u64)
}

/// Checks that the calls' sockets fit the descriptor limit.
fn check_files(config: &RunConfig, sockets: u64) -> Result<(), RunError> {
    if config.skip_rlimit {
        return Ok(());
    }
    let needed = sockets + SPARE_FILES;
    let limit = sys::raise_nofile_limit(needed).or_else(|_| sys::nofile_limit()).unwrap_or(0);
    if limit >= needed {
        return Ok(());
    }
    Err(RunError::Limit {
        what: format!("-t {} with {sockets} sockets", config.transport.code()),
        needed: format!("{needed} file descriptors"),
        limit: limit.to_string(),
        hint: format!(
            "raise it with `ulimit -n {needed}`, or lower -max_socket or -l; calls beyond the \
             last socket share the existing ones"
        ),
    })
}

/// Ports to try in turn. With SO_REUSEPORT (`shared`), a port of another process would be shared
/// with it, and so would its calls. So a port that is free without the option is chosen first.
fn ports(config: &RunConfig, addresses: &Addresses, shared: bool) -> Result<Vec<u16>, RunError> {
    let candidates: Vec<u16> = match config.local_port {
        Some(port) => vec![port],
        None => DEFAULT_PORTS.chain([0]).collect(),
    };
    // The port may be free on other interfaces, which cannot be checked from here.
    if !shared || config.device.is_some() {
        return Ok(candidates);
    }
    let is_stream = config.transport.is_stream();
    let probe = |port| {
        let address = SocketAddr::new(addresses.bind, port);
        let local = match is_stream {
            true => TcpListener::bind(address)?.local_addr()?,
            false => UdpSocket::bind(address)?.local_addr()?,
        };
        io::Result::Ok(local.port())
    };
    let free = match config.local_port {
        Some(port) => bind_again(|| probe(port)),
        None => candidates
            .iter()
            .find_map(|&port| probe(port).ok())
            .ok_or_else(|| io::Error::other("no port is free")),
    };
    match (free, config.local_port) {
        (Ok(port), _) => Ok(vec![port]),
        (Err(source), Some(port)) if source.kind() == io::ErrorKind::AddrInUse => {
            let protocol = if is_stream { "TCP" } else { "UDP" };
            let address = SocketAddr::new(addresses.bind, port);
            Err(LaunchError::Bind { protocol, address, source }.into())
        }
        // Binding will report why the port cannot be used.
        _ => Ok(candidates),
    }
}

fn arrivals(config: &RunConfig, is_client: bool) -> Arrivals {
    if !is_client {
        return Arrivals::Server;
    }
    match config.users {
        Some(users) => Arrivals::Users(users),
        None => Arrivals::Open(RatePlan {
            rate: config.rate,
            period_ns: config.rate_period_ms.max(1) * 1_000_000,
            increase: config.rate_increase,
            interval_ns: config.rate_interval_ms * 1_000_000,
            rate_max: config.rate_max.unwrap_or(0.0),
            quit_at_max: config.quit_at_rate_max,
        }),
    }
}

/// Bits that differ from run to run.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library keys its hash maps from the system's random source.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u64(sys::realtime_now_ns());
    hasher.write_u32(sys::process_id());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_worker_is_left_without_a_share() {
        assert_eq!(sharing_workers(8, None, None), 8);
        assert_eq!(sharing_workers(8, Some(3), None), 3);
        assert_eq!(sharing_workers(8, None, Some(5)), 5);
        assert_eq!(sharing_workers(8, Some(100), Some(2)), 2);
        assert_eq!(sharing_workers(8, Some(0), None), 1);
    }
}
