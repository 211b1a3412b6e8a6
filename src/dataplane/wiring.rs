//! A worker put together: its queues, its sockets on a driver, its engine.
//!
//! Only this module knows the parts of a worker. The product's threads (`launch`)
//! and the simulator of the tests go through it, so that tests simulate the worker of the product.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;

use gossipper_uring::{Driver, SocketId, SocketSpec, Waker};
use rtrb::{Consumer, Producer, RingBuffer};

use super::bind::open_again;
use super::launch::{Bind, Launch, LaunchError};
use super::network::Network;
use super::running::{Requests, WorkerHandle};
use super::third_party::link::WorkerEnd;
use super::transport::udp::sip_socket;
use super::worker::{
    ANSWERS, Handover, Links, NOTES, PerCallSockets, REPORTS, Stops, Undone, Worker, WorkerParts,
};
use crate::engine::{Engine, Sockets};
use crate::media::Medium;
use crate::stats::Report;
use crate::trace::{self, RecordsIn, RecordsOut};

/// Capacity of a worker's queue of counter samples.
const SAMPLES: usize = 4;
/// Capacity of a worker's queue of requests.
const REQUESTS: usize = 64;
/// Capacity of a worker's queue of demands to stop the run.
const STOPS: usize = 4;
/// Capacity of a worker's queue of shell commands.
const SHELL_COMMANDS: usize = 1024;
/// Capacity of the queue of datagrams from one worker to the next.
const HANDOVERS: usize = 4096;

/// A worker's ends of the queues to other workers and other instances.
#[derive(Default)]
pub struct Neighbours {
    /// Datagrams for the next worker in the circle, and the handle that wakes it.
    pub handover_out: Option<(Producer<Handover>, Waker)>,
    /// Datagrams from the previous worker in the circle.
    pub handover_in: Option<Consumer<Handover>>,
    /// Commands from and to other instances, and news of them.
    pub third_party: Option<WorkerEnd>,
}

/// Creates a queue from each worker to the next; none for a single worker.
pub fn circle(wakers: &[Waker]) -> Vec<Neighbours> {
    let mut circle: Vec<Neighbours> = wakers.iter().map(|_| Neighbours::default()).collect();
    if wakers.len() > 1 {
        for from in 0..wakers.len() {
            let to = (from + 1) % wakers.len();
            let (producer, consumer) = RingBuffer::new(HANDOVERS);
            circle[from].handover_out = Some((producer, wakers[to].clone()));
            circle[to].handover_in = Some(consumer);
        }
    }
    circle
}

/// Creates the queues between worker number `worker`, which `waker` wakes, and the calling thread,
/// which is the control side. Returns the ends of both sides.
pub fn queues(
    launch: &Launch,
    worker: usize,
    waker: Waker,
    neighbours: Neighbours,
    undone: &Undone,
) -> (Links, WorkerHandle) {
    let (requests_in, requests) = RingBuffer::new(REQUESTS);
    // The queue holds reports of an earlier layout and of the next.
    let (reports, reports_out) = RingBuffer::new(2 * REPORTS);
    let (mut empties_in, empties) = RingBuffer::new(REPORTS);
    for _ in 1..REPORTS {
        // The queue has room for all reports.
        let _ = empties_in.push(Box::new(Report::new(&launch.layout, worker as u16)));
    }
    let (samples, samples_out) = where_wanted(launch.samples, SAMPLES);
    let (swaps_in, swaps) = RingBuffer::new(1);
    let (swapped, swapped_out) = RingBuffer::new(1);
    let (stops, stops_out) = RingBuffer::new(STOPS);
    let (notes, notes_out) = RingBuffer::new(NOTES);
    let (answers, answers_out) = RingBuffer::new(ANSWERS);
    let (shell, shell_out) = where_wanted(launch.runs_commands, SHELL_COMMANDS);
    let (records, records_out) = bytes_where_wanted(launch.record_bytes);
    let records = records.map(|records| (records, Arc::clone(&launch.bell)));
    let (copies, copies_out) = bytes_where_wanted(launch.copy_bytes);
    let Neighbours { handover_out, handover_in, third_party } = neighbours;
    let links = Links {
        requests,
        reports,
        samples,
        empties,
        swaps,
        swapped,
        stops: Stops::new(stops),
        notes,
        answers,
        shell,
        records,
        copies,
        control: thread::current(),
        handover_out,
        handover_in,
        third_party,
        undone: undone.clone(),
    };
    let handle = WorkerHandle {
        requests: Requests::new(requests_in),
        waker,
        reports: reports_out,
        samples: samples_out,
        empties: empties_in,
        swaps: swaps_in,
        swapped: swapped_out,
        generation: launch.layout.generation,
        stops: stops_out,
        notes: notes_out,
        answers: answers_out,
        records: records_out,
        copies: copies_out,
        shell: shell_out,
        thread_id: 0,
        thread: None,
    };
    (links, handle)
}

/// A queue of `bytes`, if that is not 0.
fn bytes_where_wanted(bytes: usize) -> (Option<RecordsIn>, Option<RecordsOut>) {
    match bytes {
        0 => (None, None),
        bytes => {
            let (bytes_in, bytes_out) = trace::queue(bytes);
            (Some(bytes_in), Some(bytes_out))
        }
    }
}

fn where_wanted<T>(wanted: bool, capacity: usize) -> (Option<Producer<T>>, Option<Consumer<T>>) {
    match wanted {
        false => (None, None),
        true => {
            let (producer, consumer) = RingBuffer::new(capacity);
            (Some(producer), Some(consumer))
        }
    }
}

/// A network with the sockets of a worker that does not exist yet.
pub struct Station<D: Driver> {
    network: Network<D>,
    bind: Bind,
    main_socket: SocketId,
    sources: Vec<(IpAddr, SocketId)>,
}

/// The start of a worker: its time, and its place among the workers of the run.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    /// Index of the worker.
    pub worker: usize,
    /// Start of the run on the monotonic clock.
    pub start_ns: u64,
    /// Unix time minus monotonic time.
    pub wall_offset_ns: u64,
}

impl<D: Driver> Station<D> {
    /// Opens the sockets that a worker has from its start, on the first port that is free.
    ///
    /// # Errors
    /// The address that could not be bound.
    pub fn open(
        mut network: Network<D>,
        launch: &Launch,
        bind: &Bind,
    ) -> Result<Self, LaunchError> {
        let protocol = if launch.streams.is_some() { "TCP" } else { "UDP" };
        let main_socket = open_again(|| bind_first(&mut network, bind, protocol))?;
        let sources = bind_sources(&mut network, launch, bind, main_socket)?;
        Ok(Self { network, bind: bind.clone(), main_socket, sources })
    }

    /// The address of the main socket.
    pub fn local_addr(&self) -> SocketAddr {
        self.network.sip_addr(self.main_socket)
    }

    /// A handle that wakes the worker.
    pub fn waker(&self) -> Waker {
        self.network.waker()
    }

    /// Creates the worker, which shares its driver with `medium`.
    ///
    /// # Errors
    /// The one connection of all calls could not be opened.
    pub fn worker<M: Medium>(
        mut self,
        launch: &Launch,
        begin: Begin,
        links: Links,
        medium: M,
    ) -> io::Result<Worker<D, M>> {
        let mut config = launch.engine.clone();
        config.worker = begin.worker;
        config.workers = launch.workers;
        config.start_ns = begin.start_ns;
        config.wall_offset_ns = begin.wall_offset_ns;
        let port = self.local_addr().port();
        let outgoing = outgoing_spec(launch, &self.bind, port);
        let per_call = match &launch.streams {
            None => launch.per_call_sockets,
            // The engine applies the limit, because connections are closed with their calls.
            Some(streams) => streams.per_call.map(|_| usize::MAX),
        };
        let per_call = per_call.map(|max| PerCallSockets { spec: outgoing.clone(), max });
        let has_port = per_call.is_none() || launch.streams.is_some();
        config.environment.local_port = has_port.then_some(port);
        let mut engine = Engine::new(launch.programs.clone(), &launch.layout, config);
        engine.set_media(medium.media());
        engine.set_sockets(self.sockets(launch, &outgoing)?);
        if let Some(third_party) = &launch.third_party {
            engine.set_peering(third_party.peering);
        }
        Ok(Worker::new(WorkerParts {
            network: self.network,
            engine,
            medium,
            links,
            main_socket: self.main_socket,
            per_call,
            index: begin.worker,
            workers: launch.workers,
            start_ns: begin.start_ns,
            grain_ns: launch.grain_ns,
            watchdog_ns: launch.watchdog_ns,
            linger_ns: launch.linger_ns,
        }))
    }
}

impl<D: Driver> Station<D> {
    /// The sockets of the engine's calls. Opens the one connection of all of them, if there is one.
    fn sockets(&mut self, launch: &Launch, outgoing: &SocketSpec) -> io::Result<Sockets> {
        let listener = self.main_socket;
        if let Some(streams) = &launch.streams {
            return Ok(match (streams.per_call, streams.remote) {
                (Some(max), _) => Sockets::Connections { listener, max },
                (None, Some(_)) => {
                    let connection = self.network.open_sip(outgoing)?;
                    Sockets::OneConnection { listener, connection }
                }
                (None, None) => Sockets::Accepted { listener },
            });
        }
        if let Some((column, _)) = launch.sources {
            let sockets = std::mem::take(&mut self.sources);
            return Ok(Sockets::BySource { column, sockets });
        }
        Ok(match launch.per_call_sockets {
            Some(_) => Sockets::PerCall,
            None => Sockets::Shared(self.main_socket),
        })
    }
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
    network: &mut Network<D>,
    launch: &Launch,
    bind: &Bind,
    main_socket: SocketId,
) -> Result<Vec<(IpAddr, SocketId)>, LaunchError> {
    let Some((_, ips)) = &launch.sources else { return Ok(Vec::new()) };
    let main = network.sip_addr(main_socket);
    let mut sockets = vec![(main.ip(), main_socket)];
    for &ip in ips.iter().filter(|&&ip| ip != main.ip()) {
        let address = SocketAddr::new(ip, main.port());
        let mut spec = sip_socket(address, bind.buffer_bytes, bind.shared);
        spec.device.clone_from(&bind.device);
        let protocol = "UDP";
        let failed = |source| LaunchError::Bind { protocol, address, source };
        let socket = open_again(|| network.open_sip(&spec).map_err(failed))?;
        sockets.push((ip, socket));
    }
    Ok(sockets)
}

/// Opens the main socket on the first port that is free.
fn bind_first<D: Driver>(
    network: &mut Network<D>,
    bind: &Bind,
    protocol: &'static str,
) -> Result<SocketId, LaunchError> {
    let mut last = None;
    for &port in &bind.ports {
        let address = SocketAddr::new(bind.ip, port);
        let shared = bind.shared || bind.for_connections;
        let mut spec = sip_socket(address, bind.buffer_bytes, shared);
        spec.device.clone_from(&bind.device);
        match network.open_sip(&spec) {
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
