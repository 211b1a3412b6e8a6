//! Cost of one packet of RTP for the kernel alone, on one core, over loopback: the ceiling for
//! streams of media.
//!
//! No driver of ours takes part: the program makes the system calls itself, with packets of 20 ms
//! of G.711. It sends a chunk of packets, receives them, and times both halves apart; loopback does
//! the receiver's protocol work during the send. Prints CSV; takes some seconds.
//!
//! `cargo bench -p gossipper-uring --bench rtp_limit [-- <cpu>]`

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use gossipper_uring::sys;

/// Bytes of a packet: 160 of audio behind a header of RTP.
const PACKET: usize = 172;
/// Packets between two looks at the receiving side: those of one tick.
const CHUNK: usize = 200;
/// Messages of one system call.
const BATCH: usize = 64;
/// Packets of a train.
const TRAIN: usize = 50;
/// Ports of each side.
const PORTS: usize = 8_000;
/// Packets of each row, besides those of a first tenth.
const PACKETS: usize = 400_000;

fn main() -> io::Result<()> {
    let cpus = sys::online_cpus();
    // Cargo adds an argument of its own.
    let cpu = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let cpu = cpu.or(cpus.last().copied()).unwrap_or(0);
    sys::pin_current_thread(cpu)?;
    let files = sys::raise_nofile_limit(2 * PORTS as u64 + 200)?;
    if files < 2 * PORTS as u64 + 100 {
        return Err(io::Error::other(format!(
            "{files} files may be open, {} are needed",
            2 * PORTS
        )));
    }
    println!("bench,mode,sockets,send_ns,receive_ns,sum_ns");
    row("ports", PORTS, &ports)?;
    two_cores(&cpus)?;
    row("one address", 1, &one_address)?;
    row("trains", 1, &trains)
}

/// Measures one way to move packets. Three runs; the best one is printed, for a neighbour on the
/// machine makes every other one slower.
fn row(mode: &str, sockets: usize, run: &dyn Fn(&mut Times) -> io::Result<()>) -> io::Result<()> {
    let mut best = (f64::INFINITY, 0.0, 0.0);
    for _ in 0..3 {
        let mut times = Times::default();
        run(&mut times)?;
        if times.sent != PACKETS || times.received != PACKETS {
            let Times { sent, received, .. } = times;
            return Err(io::Error::other(format!(
                "{mode}: {received} of {sent} packets came, {PACKETS} were meant"
            )));
        }
        let send = times.send_ns as f64 / PACKETS as f64;
        let receive = times.receive_ns as f64 / PACKETS as f64;
        if send + receive < best.0 {
            best = (send + receive, send, receive);
        }
    }
    let (sum, send, receive) = best;
    println!("rtp_limit,{mode},{sockets},{send:.1},{receive:.1},{sum:.1}");
    Ok(())
}

#[derive(Default)]
struct Times {
    sent: usize,
    received: usize,
    send_ns: u64,
    receive_ns: u64,
}

impl Times {
    /// Times chunks of packets; those of the first tenth do not count. `send` and `receive` return
    /// the number of packets that they moved.
    fn take(
        &mut self,
        mut send: impl FnMut(usize) -> io::Result<usize>,
        mut receive: impl FnMut(usize) -> io::Result<usize>,
    ) -> io::Result<()> {
        for chunk in 0..(PACKETS + PACKETS / 10) / CHUNK {
            let begun = sys::monotonic_now();
            let sent = send(chunk)?;
            let between = sys::monotonic_now();
            let received = receive(chunk)?;
            if chunk >= PACKETS / 10 / CHUNK {
                self.sent += sent;
                self.received += received;
                self.send_ns += between - begun;
                self.receive_ns += sys::monotonic_now() - between;
            }
        }
        Ok(())
    }
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Two sockets that are connected with each other.
fn pair() -> io::Result<[UdpSocket; 2]> {
    let [one, other] = [socket()?, socket()?];
    one.connect(other.local_addr()?)?;
    other.connect(one.local_addr()?)?;
    Ok([one, other])
}

/// A port of its own for each stream on both sides.
fn ports(times: &mut Times) -> io::Result<()> {
    let pairs: Vec<_> = (0..PORTS).map(|_| pair()).collect::<Result<_, _>>()?;
    let of = |chunk: usize, side: usize| {
        let begin = chunk * CHUNK % PORTS;
        pairs[begin..begin + CHUNK].iter().map(move |pair| &pair[side])
    };
    let packet = [0x55; PACKET];
    times.take(
        |chunk| of(chunk, 0).try_fold(0, |n, socket| socket.send(&packet).map(|_| n + 1)),
        |chunk| {
            let mut buffer = [0; 2048];
            of(chunk, 1).try_fold(0, |n, socket| socket.recv(&mut buffer).map(|_| n + 1))
        },
    )
}

/// Streams in both directions between two threads on cores of their own.
const STREAMS: usize = 2_000;
/// Ticks of a millisecond, of which the first quarter is not measured.
const TICKS: usize = 2_000;
/// Ticks between two packets of a stream.
const GAP: usize = 20;

/// A port of its own for each stream on both sides, which are two threads as two programs would
/// be. Sockets are not connected, as those of calls are not: each packet names its target. Prints
/// the CPU time of a thread for a packet that it sends and one that it receives; the better of
/// three runs, and of both threads.
fn two_cores(cpus: &[usize]) -> io::Result<()> {
    let &[first, .., last] = cpus else { return Ok(()) };
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let pairs: Vec<_> =
            (0..STREAMS).map(|_| Ok([socket()?, socket()?])).collect::<io::Result<_>>()?;
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for [one, other] in pairs {
            let (to_other, to_one) = (other.local_addr()?, one.local_addr()?);
            here.push((one, to_other));
            there.push((other, to_one));
        }
        let begin = std::time::Instant::now() + std::time::Duration::from_millis(20);
        let ends = [(first, here), (last, there)]
            .map(|(cpu, sockets)| std::thread::spawn(move || one_end(cpu, &sockets, begin)));
        for end in ends {
            let cost = end.join().map_err(|_| io::Error::other("a thread panicked"))??;
            best = best.min(cost);
        }
    }
    println!("rtp_limit,ports on two cores,{STREAMS},,,{best:.1}");
    Ok(())
}

/// Plays one side of [`two_cores`]. Returns nanoseconds per packet sent and received.
fn one_end(
    cpu: usize,
    sockets: &[(UdpSocket, SocketAddr)],
    begin: std::time::Instant,
) -> io::Result<f64> {
    sys::pin_current_thread(cpu)?;
    sys::set_timer_slack_ns(1_000)?;
    let (packet, mut buffer) = ([0x55; PACKET], [0; 2048]);
    let (mut moved, mut cpu_ns) = (0_u64, 0);
    for tick in 0..TICKS {
        if tick == TICKS / 4 {
            (moved, cpu_ns) = (0, sys::thread_cpu_time_ns());
        }
        let at = begin + std::time::Duration::from_millis(tick as u64);
        std::thread::sleep(at.saturating_duration_since(std::time::Instant::now()));
        let share = STREAMS / GAP;
        let due = &sockets[tick % GAP * share..][..share];
        for (socket, target) in due {
            socket.send_to(&packet, target)?;
        }
        let came = due.iter().filter(|(socket, _)| socket.recv_from(&mut buffer).is_ok());
        moved += (share + came.count()) as u64;
    }
    Ok((sys::thread_cpu_time_ns() - cpu_ns) as f64 / (moved as f64 / 2.0))
}

/// One socket on each side, unconnected, as many streams share them.
fn one_address(times: &mut Times) -> io::Result<()> {
    let [from, to] = [socket()?, socket()?];
    let target = to.local_addr()?;
    let packet = [0x55; PACKET];
    let mut buffers = vec![[0u8; 2048]; BATCH];
    times.take(
        |_| {
            let mut sent = 0;
            while sent < CHUNK {
                sent += send_many(from.as_raw_fd(), &packet, target, BATCH.min(CHUNK - sent))?;
            }
            Ok(sent)
        },
        |_| {
            let mut received = 0;
            while received < CHUNK {
                received += receive_many(to.as_raw_fd(), &mut buffers)?;
            }
            Ok(received)
        },
    )
}

/// One socket on each side, and trains of packets of one length.
fn trains(times: &mut Times) -> io::Result<()> {
    let [from, to] = pair()?;
    set_option(from.as_raw_fd(), libc::UDP_SEGMENT, PACKET as libc::c_int)?;
    set_option(to.as_raw_fd(), libc::UDP_GRO, 1)?;
    let train = [0x55; PACKET * TRAIN];
    let mut buffer = vec![0; 1 << 16];
    times.take(
        |_| {
            let mut sent = 0;
            while sent < CHUNK {
                sent += from.send(&train)? / PACKET;
            }
            Ok(sent)
        },
        |_| {
            let mut received = 0;
            while received < CHUNK {
                received += to.recv(&mut buffer)? / PACKET;
            }
            Ok(received)
        },
    )
}

fn set_option(fd: RawFd, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` outlives the call and has `len` bytes.
    let done = unsafe { libc::setsockopt(fd, libc::SOL_UDP, name, (&raw const value).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends `count` copies of a packet in one system call; returns how many left.
fn send_many(fd: RawFd, packet: &[u8], to: SocketAddr, count: usize) -> io::Result<usize> {
    let SocketAddr::V4(to) = to else { return Err(io::Error::other("not an address of IPv4")) };
    // SAFETY: all bits zero is a valid value of these types.
    let (mut address, mut messages): (libc::sockaddr_in, [libc::mmsghdr; BATCH]) =
        unsafe { (zeroed(), zeroed()) };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = to.port().to_be();
    address.sin_addr.s_addr = u32::from(*to.ip()).to_be();
    // The kernel only reads it.
    let mut part =
        libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
    for message in &mut messages[..count] {
        message.msg_hdr.msg_name = (&raw mut address).cast();
        message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: all that the messages point to outlives the call.
    let sent = unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), count as u32, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives what is there with the addresses of its senders, in one system call.
fn receive_many(fd: RawFd, buffers: &mut [[u8; 2048]]) -> io::Result<usize> {
    // SAFETY: all bits zero is a valid value of these types.
    let (mut addresses, mut parts, mut messages): (
        [libc::sockaddr_in; BATCH],
        [libc::iovec; BATCH],
        [libc::mmsghdr; BATCH],
    ) = unsafe { (zeroed(), zeroed(), zeroed()) };
    for (number, buffer) in buffers.iter_mut().enumerate().take(BATCH) {
        parts[number] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let header = &mut messages[number].msg_hdr;
        header.msg_name = (&raw mut addresses[number]).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        header.msg_iov = &raw mut parts[number];
        header.msg_iovlen = 1;
    }
    let count = buffers.len().min(BATCH) as u32;
    // SAFETY: all that the messages point to outlives the call.
    let received = unsafe {
        libc::recvmmsg(fd, messages.as_mut_ptr(), count, libc::MSG_DONTWAIT, std::ptr::null_mut())
    };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}
