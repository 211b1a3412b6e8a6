//! Starting workers: one thread each, sockets bound before the first call, queues connected.
//!
//! Threads are started one after the other, so that the first one's port is known to the others.
//! Every failure is reported before any call is made. Then all begin at the same time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use gossipper_uring::{
    Bell, Driver, DriverConfig, SocketId, SocketSpec, SyscallDriver, UringDriver, Waker, sys,
};
use rtrb::{Consumer, Producer, RingBuffer};
use rustls::server::ProducesTickets;
use thiserror::Error;

use super::answer::ANSWERS;
use super::bind::open_again;
use super::link::Link;
use super::mux::{MuxConfig, Reconnect, StreamMux};
use super::running::{Running, WorkerHandle};
use super::third_party::link::WorkerEnd;
use super::third_party::{self, ThirdPartyError, ThirdPartyPlan};
use super::worker::{
    Handover, Links, NOTES, PerCallSockets, REPORTS, Turn, Undone, Worker, WorkerParts, sip_socket,
};
use crate::engine::{Engine, EngineConfig, Generations, Programs};
use crate::stats::{Layout, Report};
use crate::stream::{Limits, SessionConfig, TlsConfig, TlsSettings};
use crate::trace;

/// Time for which a worker may run before another thread on its core must get a turn: the least
/// that kernels accept, and far more than it needs per look at its sockets.
const SLICE_NS: u64 = 100_000;
/// Capacity of the queue of counter samples per worker.
const SAMPLES: usize = 4;
/// Capacity of a worker's request queue.
const COMMANDS: usize = 64;
/// Capacity of a worker's queue of shell commands.
const SHELL_COMMANDS: usize = 1024;
/// Capacity of the queue of datagrams from one worker to the next.
const HANDOVERS: usize = 4096;

/// The addresses and socket options to bind.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Address; unspecified for all addresses.
    pub ip: IpAddr,
    /// Ports to try in turn; the first free one is taken.
    pub ports: Vec<u16>,
    /// True if all workers share one port (`SO_REUSEPORT`); otherwise each takes the next free one.
    pub shared: bool,
    /// True if a worker's one connection leaves from the port that the worker listens on, which
    /// both then share (`SO_REUSEPORT`).
    pub for_connections: bool,
    /// Socket buffer size in bytes.
    pub buffer_bytes: usize,
    /// Network interface to bind to.
    pub device: Option<String>,
}

/// The settings of the connections that carry messages.
#[derive(Clone)]
pub struct StreamPlan {
    /// TLS settings; `None` without TLS.
    pub tls: Option<TlsSettings>,
    /// Seals the tickets with which TLS sessions are resumed, for all workers.
    pub tickets: Arc<dyn ProducesTickets>,
    /// True if messages travel in WebSockets.
    pub websocket: bool,
    /// The address that a client connects to.
    pub remote: Option<SocketAddr>,
    /// The peer's name as the user wrote it.
    pub remote_name: String,
    /// Most connections that the calls of a worker may have of their own; `None` shares one.
    pub per_call: Option<usize>,
    /// Most connections of a worker at one time.
    pub connections_max: usize,
    /// The reaction to the loss of a connection.
    pub reconnect: Reconnect,
    /// Limits of the bytes that peers may make us store, and of the time for which we wait for
    /// them.
    pub limits: Limits,
}

impl StreamPlan {
    /// The configuration of a worker's sessions.
    ///
    /// # Errors
    /// A sentence about the setting that does not fit.
    pub fn session(&self) -> Result<SessionConfig, String> {
        let tls = match &self.tls {
            None => None,
            Some(settings) => {
                let client = TlsConfig::client(settings)?;
                Some(match settings.identity {
                    None => client,
                    Some(_) => client.with_server(settings, &self.tickets)?,
                })
            }
        };
        let session = SessionConfig::new(tls, self.websocket, self.limits);
        match self.remote {
            None => Ok(session),
            Some(remote) => session
                .with_server(&self.remote_name, remote.port())
                .map_err(|error| error.to_string()),
        }
    }
}

/// Everything that is needed to start the workers of a run.
#[derive(Clone)]
pub struct Launch {
    /// Number of workers.
    pub workers: usize,
    /// CPUs to which workers are pinned in turn; empty leaves them unpinned.
    pub cpus: Vec<usize>,
    /// Drivers' configuration.
    pub driver: DriverConfig,
    /// True for io_uring, false for plain system calls.
    pub use_uring: bool,
    /// The listening address.
    pub bind: Bind,
    /// Most sockets per worker that calls may open of their own.
    pub per_call_sockets: Option<usize>,
    /// Addresses to listen on and to make calls from, all on one port, and the column of the first
    /// injection file that selects one of them for a call. Such a run has one worker.
    pub sources: Option<(u16, Vec<IpAddr>)>,
    /// The settings of connections; `None` sends datagrams.
    pub streams: Option<StreamPlan>,
    /// Longest time that a worker lets events gather under load, in nanoseconds; 0 handles each at
    /// once.
    pub grain_ns: u64,
    /// Durations from which a stall is counted as minor, and as major.
    pub watchdog_ns: (u64, u64),
    /// Time in which the dialogs of failed calls may end after the last call.
    pub linger_ns: u64,
    /// The programs of the scenarios.
    pub programs: Programs,
    /// The other instances that control the calls together with this one (3PCC); such a run has one
    /// worker.
    pub third_party: Option<ThirdPartyPlan>,
    /// The names of the measurements.
    pub layout: Arc<Layout>,
    /// True if the scenario runs shell commands.
    pub runs_commands: bool,
    /// True if workers send counters between two reports as well.
    pub samples: bool,
    /// Bytes of each worker's queue of records; 0 if no records will be needed.
    pub record_bytes: usize,
    /// The bell that workers ring when there are records in those queues.
    pub bell: Arc<Bell>,
    /// The engines' configuration; worker, ports and times are filled in per worker.
    pub engine: EngineConfig,
}

impl Launch {
    /// The [`Generations`] of a run with `workers` in all, which decide about exchanges of
    /// programs.
    pub fn generations(&self, workers: usize) -> Generations {
        let (programs, layout) = (self.programs.clone(), Arc::clone(&self.layout));
        Generations::new(programs, layout, &self.engine, workers, self.runs_commands)
    }
}

/// The reason why workers could not be started.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The driver could not be created.
    #[error("cannot start the {driver} driver: {source}")]
    Driver {
        /// The driver's name.
        driver: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The port could not be bound.
    #[error("cannot bind {protocol} {address}: {source}{}", bind_hint(source))]
    Bind {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// The last address that was tried.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The connections to other instances could not be set up.
    #[error(transparent)]
    ThirdParty(#[from] ThirdPartyError),
    /// A thread could not be started, or ended before it was ready.
    #[error("cannot start worker {worker}: {source}")]
    Thread {
        /// Number of the worker.
        worker: usize,
        /// The error of the system.
        source: io::Error,
    },
}

impl LaunchError {
    /// Tells whether another socket has the port.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }
}

fn bind_hint(error: &io::Error) -> &'static str {
    // The driver has put the interface into the error, which then has no error number.
    if error.to_string().contains("network interface") {
        return "\n  hint: see `ip link` for the names of interfaces (-bind_to_device)";
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "\n  hint: another process holds the port; choose another with -p (local_port); \
             `ss -tulpn` names the process"
        }
        io::ErrorKind::AddrNotAvailable => {
            "\n  hint: the address is not one of this host; see `ip addr`, and choose it with -i"
        }
        io::ErrorKind::PermissionDenied => {
            "\n  hint: ports below 1024 need CAP_NET_BIND_SERVICE; choose another with -p; \
             -bind_to_device may need CAP_NET_RAW"
        }
        _ => "",
    }
}

/// The data that a worker's thread needs to build its engine, sent to all at the same time.
struct Begin {
    start_ns: u64,
    handover_out: Option<(Producer<Handover>, Waker)>,
    handover_in: Option<Consumer<Handover>>,
    third_party: Option<WorkerEnd>,
}

/// The report of a worker's thread once its socket is bound: its address, its waker, its thread id.
type Ready = Result<(SocketAddr, Waker, u32), LaunchError>;

/// Starts all workers. They wait for each other, then begin at `Running::start_ns`.
///
/// # Errors
/// The first failure; workers that were already started are ended.
pub fn launch(launch: &Launch) -> Result<Running, LaunchError> {
    match (launch.use_uring, launch.streams.is_some()) {
        (true, false) => launch_on::<UringDriver>(launch),
        (false, false) => launch_on::<SyscallDriver>(launch),
        (true, true) => launch_on::<StreamMux<UringDriver>>(launch),
        (false, true) => launch_on::<StreamMux<SyscallDriver>>(launch),
    }
}

/// A driver that can be created from the plan alone.
trait Make: Link + Sized {
    const NAME: &'static str;
    const PROTOCOL: &'static str;
    fn make(launch: &Launch) -> io::Result<Self>;
}

impl Make for UringDriver {
    const NAME: &'static str = "uring";
    const PROTOCOL: &'static str = "UDP";
    fn make(launch: &Launch) -> io::Result<Self> {
        Self::new(&launch.driver)
    }
}

impl Make for SyscallDriver {
    const NAME: &'static str = "syscall";
    const PROTOCOL: &'static str = "UDP";
    fn make(launch: &Launch) -> io::Result<Self> {
        Self::new(&launch.driver)
    }
}

impl<D: Make> Make for StreamMux<D> {
    const NAME: &'static str = D::NAME;
    const PROTOCOL: &'static str = "TCP";
    fn make(launch: &Launch) -> io::Result<Self> {
        let Some(streams) = &launch.streams else {
            return Err(io::Error::other("nothing is planned for connections"));
        };
        let config = MuxConfig {
            session: streams.session().map_err(io::Error::other)?,
            reconnect: streams.reconnect,
            per_call: streams.per_call.is_some(),
            connections_max: streams.connections_max,
            tx_slots: (launch.driver.tx_small_slots, launch.driver.tx_large_slots),
        };
        Self::new(D::make(launch)?, config)
    }
}

struct Starting {
    begin: mpsc::SyncSender<Begin>,
    waker: Waker,
    handle: WorkerHandle,
}

fn launch_on<D: Make>(launch: &Launch) -> Result<Running, LaunchError> {
    let mut starting: Vec<Starting> = Vec::new();
    let mut bind = launch.bind.clone();
    let mut local = None;
    let undone = Undone::new(launch.workers);
    for worker in 0..launch.workers {
        let (requests_in, requests_out) = RingBuffer::new(COMMANDS);
        // The queue holds reports of an earlier layout and of the next.
        let (report_in, report_out) = RingBuffer::new(2 * REPORTS);
        let (mut empty_in, empty_out) = RingBuffer::new(REPORTS);
        let (samples_in, samples_out) = match launch.samples {
            false => (None, None),
            true => {
                let (samples_in, samples_out) = RingBuffer::new(SAMPLES);
                (Some(samples_in), Some(samples_out))
            }
        };
        let (swap_in, swap_out) = RingBuffer::new(1);
        let (swapped_in, swapped_out) = RingBuffer::new(1);
        let (stop_in, stop_out) = RingBuffer::new(4);
        let (note_in, note_out) = RingBuffer::new(NOTES);
        let (answer_in, answer_out) = RingBuffer::new(ANSWERS);
        for _ in 1..REPORTS {
            // The queue has room for all reports.
            let _ = empty_in.push(Box::new(Report::new(&launch.layout, worker as u16)));
        }
        let (shell_in, shell_out) = match launch.runs_commands {
            false => (None, None),
            true => {
                let (shell_in, shell_out) = RingBuffer::new(SHELL_COMMANDS);
                (Some(shell_in), Some(shell_out))
            }
        };
        let (record_in, record_out) = match launch.record_bytes {
            0 => (None, None),
            bytes => {
                let (record_in, record_out) = trace::queue(bytes);
                (Some(record_in), Some(record_out))
            }
        };
        let links = Links {
            requests: requests_out,
            reports: report_in,
            samples: samples_in,
            empties: empty_out,
            swaps: swap_out,
            swapped: swapped_in,
            stops: stop_in,
            notes: note_in,
            answers: answer_in,
            records: record_in.map(|queue| (queue, Arc::clone(&launch.bell))),
            shell: shell_in,
            control: Some(thread::current()),
            handover_out: None,
            handover_in: None,
            third_party: None,
            undone: undone.clone(),
        };
        let (ready_in, ready_out) = mpsc::sync_channel::<Ready>(1);
        let (begin_in, begin_out) = mpsc::sync_channel::<Begin>(1);
        let plan = launch.clone();
        let worker_bind = bind.clone();
        let thread = thread::Builder::new()
            .name(format!("worker-{worker}"))
            .spawn(move || work::<D>(&plan, worker, &worker_bind, links, &ready_in, &begin_out))
            .map_err(|source| LaunchError::Thread { worker, source })?;
        let (address, waker, thread_id) = ready_out.recv().unwrap_or_else(|_| {
            let source = io::Error::other("the thread ended unexpectedly");
            Err(LaunchError::Thread { worker, source })
        })?;
        local.get_or_insert(address);
        if bind.shared {
            bind.ports = vec![address.port()];
        } else {
            bind.ports.retain(|&port| port == 0 || port > address.port());
            bind.ports.push(0);
        }
        let handle = WorkerHandle {
            requests: requests_in,
            waker: waker.clone(),
            reports: report_out,
            samples: samples_out,
            empties: empty_in,
            swaps: swap_in,
            swapped: swapped_out,
            generation: launch.layout.generation,
            stops: stop_out,
            notes: note_out,
            answers: answer_out,
            records: record_out,
            shell: shell_out,
            thread_id,
            thread: Some(thread),
        };
        starting.push(Starting { begin: begin_in, waker, handle });
    }
    let (third_party, mut third_party_end) = match (&launch.third_party, starting.first()) {
        (Some(plan), Some(first)) => {
            let (third_party, end) = third_party::start(plan, first.waker.clone())?;
            (Some(third_party), Some(end))
        }
        _ => (None, None),
    };
    let start_ns = sys::monotonic_now();
    let mut workers = Vec::new();
    let wakers: Vec<Waker> = starting.iter().map(|worker| worker.waker.clone()).collect();
    let mut circle = circle(&wakers);
    for (worker, starting) in starting.into_iter().enumerate() {
        let (handover_out, handover_in) =
            circle.get_mut(worker).map(std::mem::take).unwrap_or_default();
        // If the thread has ended, joining it reports that.
        let _ = starting.begin.send(Begin {
            start_ns,
            handover_out,
            handover_in,
            third_party: third_party_end.take(),
        });
        workers.push(starting.handle);
    }
    let local = local.unwrap_or(SocketAddr::new(launch.bind.ip, 0));
    Ok(Running { workers, start_ns, local, third_party })
}

type CircleEnds = (Option<(Producer<Handover>, Waker)>, Option<Consumer<Handover>>);

/// Creates a queue from each worker to the next; none for a single worker.
fn circle(wakers: &[Waker]) -> Vec<CircleEnds> {
    let mut ends: Vec<CircleEnds> = wakers.iter().map(|_| (None, None)).collect();
    if wakers.len() > 1 {
        for from in 0..wakers.len() {
            let to = (from + 1) % wakers.len();
            let (producer, consumer) = RingBuffer::new(HANDOVERS);
            ends[from].0 = Some((producer, wakers[to].clone()));
            ends[to].1 = Some(consumer);
        }
    }
    ends
}

/// The body of a worker's thread.
fn work<D: Make>(
    launch: &Launch,
    worker: usize,
    bind: &Bind,
    links: Links,
    ready: &mpsc::SyncSender<Ready>,
    begin: &mpsc::Receiver<Begin>,
) -> io::Result<()> {
    if !launch.cpus.is_empty() {
        // A forbidden CPU costs precision, not correctness; the measured lateness shows it.
        let _ = sys::pin_current_thread(launch.cpus[worker % launch.cpus.len()]);
    }
    // The default slack of 50 µs would be added to every deadline.
    let _ = sys::set_timer_slack_ns(1_000);
    // Threads that write files or serve requests may share a core with a worker. Its calls must not
    // start late because of them.
    let _ = sys::prefer_latency(SLICE_NS);
    let opened = D::make(launch)
        .map_err(|source| LaunchError::Driver { driver: D::NAME, source })
        .and_then(|mut driver| {
            let socket = open_again(|| bind_first(&mut driver, bind, D::PROTOCOL))?;
            let sources = bind_sources(&mut driver, launch, bind, socket)?;
            Ok((driver, socket, sources))
        });
    let (mut driver, main_socket, sources) = match opened {
        Ok((driver, socket, sources)) => {
            let address = driver.local_addr(socket);
            let _ = ready.send(Ok((address, driver.waker(), sys::thread_id())));
            (driver, socket, sources)
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            return Ok(());
        }
    };
    // The launcher gave up, because another worker could not start.
    let Ok(begin) = begin.recv() else { return Ok(()) };
    let mut config = launch.engine.clone();
    config.worker = worker;
    config.workers = launch.workers;
    config.start_ns = begin.start_ns;
    config.wall_offset_ns = sys::realtime_now_ns().saturating_sub(sys::monotonic_now());
    let port = driver.local_addr(main_socket).port();
    let outgoing = outgoing_spec(launch, bind, port);
    let streams = launch.streams.as_ref();
    let per_call = match streams {
        None => launch.per_call_sockets.map(|max| PerCallSockets { spec: outgoing.clone(), max }),
        // The engine applies the limit, because connections are closed with their calls.
        Some(streams) => {
            streams.per_call.map(|_| PerCallSockets { spec: outgoing.clone(), max: usize::MAX })
        }
    };
    let has_port = per_call.is_none() || streams.is_some();
    config.environment.local_port = has_port.then_some(port);
    let mut engine = Engine::new(launch.programs.clone(), &launch.layout, config);
    let mut shared = None;
    match streams {
        Some(streams) => {
            engine.set_listener(main_socket);
            match (streams.per_call, streams.remote) {
                (Some(max), _) => engine.use_connections(max),
                (None, Some(_)) => {
                    let connection = driver.open(&outgoing)?;
                    engine.share_socket(connection);
                    shared = Some(connection);
                }
                (None, None) => engine.share_socket(main_socket),
            }
        }
        None if per_call.is_none() => engine.share_socket(main_socket),
        None => {}
    }
    if let Some((column, _)) = &launch.sources {
        engine.use_sources(*column, sources);
    }
    if let Some(third_party) = &launch.third_party {
        engine.set_peering(third_party.peering);
    }
    let links = Links {
        handover_out: begin.handover_out,
        handover_in: begin.handover_in,
        third_party: begin.third_party,
        ..links
    };
    let mut worker = Worker::new(WorkerParts {
        driver,
        engine,
        links,
        main_socket,
        shared,
        per_call,
        index: worker,
        workers: launch.workers,
        start_ns: begin.start_ns,
        grain_ns: launch.grain_ns,
        watchdog_ns: launch.watchdog_ns,
        linger_ns: launch.linger_ns,
    });
    while worker.turn()? == Turn::Again {}
    Ok(())
}

/// The socket that calls send from, if that is not the main socket, which is on `port`.
fn outgoing_spec(launch: &Launch, bind: &Bind, port: u16) -> SocketSpec {
    let port = if bind.for_connections { port } else { 0 };
    let mut spec = sip_socket(SocketAddr::new(bind.ip, port), 0, bind.for_connections);
    spec.device.clone_from(&bind.device);
    if let Some(streams) = &launch.streams {
        spec.remote = streams.remote;
        spec.receive_buffer_bytes = bind.buffer_bytes;
        spec.send_buffer_bytes = bind.buffer_bytes;
    }
    spec
}

/// Opens a socket for each source address of calls, on the port of the main socket, which has the
/// first address.
fn bind_sources<D: Driver>(
    driver: &mut D,
    launch: &Launch,
    bind: &Bind,
    main_socket: SocketId,
) -> Result<Vec<(IpAddr, SocketId)>, LaunchError> {
    let Some((_, ips)) = &launch.sources else { return Ok(Vec::new()) };
    let main = driver.local_addr(main_socket);
    let mut sockets = vec![(main.ip(), main_socket)];
    for &ip in ips.iter().filter(|&&ip| ip != main.ip()) {
        let address = SocketAddr::new(ip, main.port());
        let mut spec = sip_socket(address, bind.buffer_bytes, bind.shared);
        spec.device.clone_from(&bind.device);
        let protocol = "UDP";
        let failed = |source| LaunchError::Bind { protocol, address, source };
        let socket = open_again(|| driver.open(&spec).map_err(failed))?;
        sockets.push((ip, socket));
    }
    Ok(sockets)
}

/// Opens the main socket on the first port that is free.
fn bind_first<D: Driver>(
    driver: &mut D,
    bind: &Bind,
    protocol: &'static str,
) -> Result<SocketId, LaunchError> {
    let mut last = None;
    for &port in &bind.ports {
        let address = SocketAddr::new(bind.ip, port);
        let shared = bind.shared || bind.for_connections;
        let mut spec = sip_socket(address, bind.buffer_bytes, shared);
        spec.device.clone_from(&bind.device);
        match driver.open(&spec) {
            Ok(socket) => return Ok(socket),
            Err(source) => {
                let in_use = source.kind() == io::ErrorKind::AddrInUse;
                last = Some(LaunchError::Bind { protocol, address, source });
                if !in_use {
                    break;
                }
            }
        }
    }
    Err(last.unwrap_or_else(|| LaunchError::Bind {
        protocol,
        address: SocketAddr::new(bind.ip, 0),
        source: io::Error::other("no port to try"),
    }))
}
