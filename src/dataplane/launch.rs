//! Starting workers: one thread each, sockets bound before the first call, queues connected.
//!
//! Threads are started one after the other, so that the first one's port is known to the others.
//! Every failure is reported before any call is made. Then all begin at the same time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use gossipper_uring::{Bell, Driver, DriverConfig, SyscallDriver, UringDriver, Waker, sys};
use rustls::server::ProducesTickets;
use thiserror::Error;

use super::network::Network;
use super::running::Running;
use super::third_party::{self, ThirdPartyError, ThirdPartyPlan};
use super::transport::streams::{Reconnect, StreamsConfig};
use super::wiring::{self, Begin, Station};
use super::worker::{Links, Turn, Undone};
use crate::engine::{EngineConfig, Generations, Programs};
use crate::media::{MediaConfig, MediaHandle};
use crate::stats::Layout;
use crate::stream::{Limits, SessionConfig, TlsConfig, TlsSettings};

/// Time for which a worker may run before another thread on its core must get a turn: the least
/// that kernels accept, and far more than it needs per look at its sockets.
const SLICE_NS: u64 = 100_000;

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

impl Bind {
    /// Leaves the ports that the next worker may take, now that one has taken `port`.
    pub fn note_taken(&mut self, port: u16) {
        if self.shared {
            self.ports = vec![port];
        } else {
            self.ports.retain(|&other| other == 0 || other > port);
            self.ports.push(0);
        }
    }
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
    /// Bytes of each worker's queue of copies of media; 0 if nothing is recorded.
    pub copy_bytes: usize,
    /// The bell that workers ring when there are records in those queues.
    pub bell: Arc<Bell>,
    /// The streams of calls; `None` if no scenario has any. Worker and times are filled in per
    /// worker.
    pub media: Option<MediaConfig>,
    /// The engines' configuration; worker, ports and times are filled in per worker.
    pub engine: EngineConfig,
}

impl Launch {
    /// The [`Generations`] of a run with `workers` in all, which decide about exchanges of
    /// programs.
    pub fn generations(&self, workers: usize) -> Generations {
        let (programs, layout) = (self.programs.clone(), Arc::clone(&self.layout));
        let has_media = self.media.is_some();
        Generations::new(programs, layout, &self.engine, workers, self.runs_commands)
            .with_media(has_media)
    }

    /// The configuration of a worker's media, if the run has any.
    pub fn media(&self, begin: Begin) -> Option<MediaConfig> {
        let media = self.media.clone()?;
        let Begin { worker, wall_offset_ns, .. } = begin;
        Some(MediaConfig { worker, workers: self.workers, wall_offset_ns, ..media })
    }

    /// Returns the settings of connections, if the run has any.
    ///
    /// # Errors
    /// A sentence that says which setting the sessions cannot take.
    pub fn streams_config(&self) -> io::Result<Option<StreamsConfig>> {
        let Some(streams) = &self.streams else { return Ok(None) };
        Ok(Some(StreamsConfig {
            session: streams.session().map_err(io::Error::other)?,
            reconnect: streams.reconnect,
            per_call: streams.per_call.is_some(),
            connections_max: streams.connections_max,
            tx_slots: (self.driver.tx_small_slots, self.driver.tx_large_slots),
        }))
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
            "\n  hint: this host does not have the address; choose one of `ip addr` with -i"
        }
        io::ErrorKind::PermissionDenied => {
            "\n  hint: ports below 1024 need CAP_NET_BIND_SERVICE; choose another with -p; \
             -bind_to_device may need CAP_NET_RAW"
        }
        _ => "",
    }
}

/// A worker with bound sockets: its address, its waker, and the kernel's id of its thread.
type Ready = Result<(SocketAddr, Waker, u32), LaunchError>;

/// Starts all workers. They wait for each other, then begin at `Running::start_ns`.
///
/// # Errors
/// The first failure; workers that were already started are ended.
pub fn launch(launch: &Launch) -> Result<Running, LaunchError> {
    match launch.use_uring {
        true => launch_on::<UringDriver>(launch),
        false => launch_on::<SyscallDriver>(launch),
    }
}

/// A driver that can be created from the plan alone.
trait Make: Driver + Sized {
    const NAME: &'static str;
    fn make(launch: &Launch) -> io::Result<Self>;
}

impl Make for UringDriver {
    const NAME: &'static str = "uring";
    fn make(launch: &Launch) -> io::Result<Self> {
        Self::new(&launch.driver)
    }
}

impl Make for SyscallDriver {
    const NAME: &'static str = "syscall";
    fn make(launch: &Launch) -> io::Result<Self> {
        Self::new(&launch.driver)
    }
}

/// A worker's thread that has bound its sockets and waits for the others.
struct Starting {
    begin: mpsc::SyncSender<(Begin, Links)>,
    waker: Waker,
    thread_id: u32,
    thread: JoinHandle<io::Result<()>>,
}

fn launch_on<D: Make>(launch: &Launch) -> Result<Running, LaunchError> {
    let mut starting: Vec<Starting> = Vec::new();
    let mut bind = launch.bind.clone();
    let mut local = None;
    for worker in 0..launch.workers {
        let (address, started) = start::<D>(launch, worker, &bind)?;
        local.get_or_insert(address);
        bind.note_taken(address.port());
        starting.push(started);
    }
    let (third_party, mut third_party_end) = match (&launch.third_party, starting.first()) {
        (Some(plan), Some(first)) => {
            let (third_party, end) = third_party::start(plan, first.waker.clone())?;
            (Some(third_party), Some(end))
        }
        _ => (None, None),
    };
    let undone = Undone::new(launch.workers);
    let wakers: Vec<Waker> = starting.iter().map(|worker| worker.waker.clone()).collect();
    let mut workers = Vec::new();
    let mut begins = Vec::new();
    for ((worker, starting), mut neighbours) in
        starting.into_iter().enumerate().zip(wiring::circle(&wakers))
    {
        let Starting { begin, waker, thread_id, thread } = starting;
        neighbours.third_party = third_party_end.take();
        let (links, mut handle) = wiring::queues(launch, worker, waker, neighbours, &undone);
        handle.thread_id = thread_id;
        handle.thread = Some(thread);
        workers.push(handle);
        begins.push((begin, links));
    }
    let start_ns = sys::monotonic_now();
    let wall_offset_ns = sys::realtime_now_ns().saturating_sub(start_ns);
    for (worker, (begin, links)) in begins.into_iter().enumerate() {
        // If the thread has ended, joining it reports that.
        let _ = begin.send((Begin { worker, start_ns, wall_offset_ns }, links));
    }
    let local = local.unwrap_or(SocketAddr::new(launch.bind.ip, 0));
    Ok(Running { workers, start_ns, local, third_party })
}

/// Starts the thread of worker number `worker`, and waits until its sockets are bound.
fn start<D: Make>(
    launch: &Launch,
    worker: usize,
    bind: &Bind,
) -> Result<(SocketAddr, Starting), LaunchError> {
    let (ready_in, ready_out) = mpsc::sync_channel::<Ready>(1);
    let (begin, begin_out) = mpsc::sync_channel(1);
    let (plan, bind) = (launch.clone(), bind.clone());
    let thread = thread::Builder::new()
        .name(format!("worker-{worker}"))
        .spawn(move || work::<D>(&plan, worker, &bind, &ready_in, &begin_out))
        .map_err(|source| LaunchError::Thread { worker, source })?;
    let (address, waker, thread_id) = ready_out.recv().unwrap_or_else(|_| {
        let source = io::Error::other("the thread ended unexpectedly");
        Err(LaunchError::Thread { worker, source })
    })?;
    Ok((address, Starting { begin, waker, thread_id, thread }))
}

/// The body of a worker's thread.
fn work<D: Make>(
    launch: &Launch,
    worker: usize,
    bind: &Bind,
    ready: &mpsc::SyncSender<Ready>,
    begin: &mpsc::Receiver<(Begin, Links)>,
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
        .and_then(|driver| Network::new(driver, launch))
        .map_err(|source| LaunchError::Driver { driver: D::NAME, source })
        .and_then(|network| Station::open(network, launch, bind));
    let station = match opened {
        Ok(station) => station,
        Err(error) => {
            let _ = ready.send(Err(error));
            return Ok(());
        }
    };
    let _ = ready.send(Ok((station.local_addr(), station.waker(), sys::thread_id())));
    // The launcher gave up, because another worker could not start.
    let Ok((begin, links)) = begin.recv() else { return Ok(()) };
    let medium = launch.media(begin).map(|media| MediaHandle::new(media, begin.start_ns));
    let mut worker = station.worker(launch, begin, links, medium)?;
    while worker.turn()? == Turn::Again {}
    Ok(())
}
