//! Opening UDP sockets with the options that both kernel drivers rely on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{RxClass, SocketSpec};

/// Opens, binds and connects. The socket blocks: io_uring would otherwise fail an operation with
/// `EAGAIN` instead of waiting for the socket, and the system calls ask for `MSG_DONTWAIT`.
pub(crate) fn open(spec: &SocketSpec, gro: bool) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(spec.local), Type::DGRAM, Some(Protocol::UDP))?;
    let fd = socket.as_raw_fd();
    if spec.local.is_ipv6() {
        // One family per socket: addresses then mean the same on both sides of every event.
        socket.set_only_v6(true)?;
        set(fd, libc::SOL_IPV6, libc::IPV6_RECVERR, 1)?;
    } else {
        set(fd, libc::SOL_IP, libc::IP_RECVERR, 1)?;
    }
    if spec.reuse_port {
        socket.set_reuse_port(true)?;
    }
    set(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    set(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    set_buffers(&socket, spec.receive_buffer_bytes, spec.send_buffer_bytes)?;
    bind_to_device(&socket, spec.device.as_deref())?;
    if gro && spec.rx_class == RxClass::Large {
        // A kernel without it (before 5.0) merely delivers one datagram at a time.
        let _ = set(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
    }
    socket.bind(&spec.local.into())?;
    if let Some(remote) = spec.remote {
        socket.connect(&remote.into())?;
    }
    let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket.into(), local))
}

/// The kernel's count of datagrams dropped at this socket. Unlike the control message it needs no
/// later datagram to carry it.
pub(crate) fn drops(fd: RawFd) -> Option<u32> {
    const WORDS: usize = 9;
    const DROPS: usize = 8;
    let mut words = [0_u32; WORDS];
    let mut bytes = size_of_val(&words) as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` bytes to `words`.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            words.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    (done == 0 && bytes as usize == size_of_val(&words)).then_some(words[DROPS])
}

/// Sets buffer sizes, past the sysctl where permitted; 0 leaves a default.
pub(crate) fn set_buffers(socket: &Socket, receive: usize, send: usize) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    if receive > 0 && force(fd, libc::SO_RCVBUFFORCE, receive).is_err() {
        socket.set_recv_buffer_size(receive)?;
    }
    if send > 0 && force(fd, libc::SO_SNDBUFFORCE, send).is_err() {
        socket.set_send_buffer_size(send)?;
    }
    Ok(())
}

/// Binds to a network interface, if one is named.
pub(crate) fn bind_to_device(socket: &Socket, device: Option<&str>) -> io::Result<()> {
    let Some(device) = device else { return Ok(()) };
    socket.bind_device(Some(device.as_bytes())).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot bind to network interface {device}: {error}"))
    })
}

fn force(fd: RawFd, option: i32, bytes: usize) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, option, i32::try_from(bytes).unwrap_or(i32::MAX))
}

pub(crate) fn set(fd: RawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: passes a live integer and its size.
    let done = unsafe {
        libc::setsockopt(
            fd,
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
