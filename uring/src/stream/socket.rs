//! Opening TCP sockets with the options that both kernel drivers rely on.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{ConnectSpec, ListenSpec};
use crate::socket::{bind_to_device, set, set_buffers};

/// A listening socket. Accepted sockets inherit its options.
pub(crate) fn listen(spec: &ListenSpec, nonblocking: bool) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(spec.local), Type::STREAM, Some(Protocol::TCP))?;
    if spec.local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier run may still be in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if spec.reuse_port {
        socket.set_reuse_port(true)?;
    }
    prepare(&socket, spec.device.as_deref(), spec.receive_buffer_bytes, spec.send_buffer_bytes)?;
    socket.set_nonblocking(nonblocking)?;
    socket.bind(&spec.local.into())?;
    socket.listen(i32::try_from(spec.backlog).unwrap_or(i32::MAX).max(1))?;
    Ok(socket.into())
}

/// Opens a socket that is ready to connect.
pub(crate) fn outgoing(spec: &ConnectSpec, nonblocking: bool) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(spec.remote), Type::STREAM, Some(Protocol::TCP))?;
    prepare(&socket, spec.device.as_deref(), spec.receive_buffer_bytes, spec.send_buffer_bytes)?;
    socket.set_nonblocking(nonblocking)?;
    if let Some(local) = spec.local {
        socket.set_reuse_address(true)?;
        if spec.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if local.port() == 0 {
            // The port is then chosen on connecting, and need be free for that peer only.
            let fd = socket.as_raw_fd();
            let _ = set(fd, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1);
        }
        socket.bind(&local.into())?;
    }
    Ok(socket.into())
}

/// The address that a socket is bound to.
pub(crate) fn local_addr(fd: &OwnedFd) -> Option<SocketAddr> {
    SockRef::from(fd).local_addr().ok()?.as_socket()
}

/// The address that a socket is connected to.
pub(crate) fn peer_addr(fd: &OwnedFd) -> Option<SocketAddr> {
    SockRef::from(fd).peer_addr().ok()?.as_socket()
}

/// Makes closing the last reference to the socket send a reset.
pub(crate) fn reset_on_close(fd: &OwnedFd) {
    // Fails only for descriptors that are no sockets.
    let _ = SockRef::from(fd).set_linger(Some(Duration::ZERO));
}

/// Sends a FIN after the bytes that the kernel still has to send.
pub(crate) fn finish(fd: &OwnedFd) {
    // A socket that is not connected any more needs no FIN.
    let _ = SockRef::from(fd).shutdown(std::net::Shutdown::Write);
}

/// Ends both directions: a pending receive delivers the bytes that are there, then the end of the
/// stream.
pub(crate) fn end(fd: &OwnedFd) {
    // A socket that is not connected any more needs no end.
    let _ = SockRef::from(fd).shutdown(std::net::Shutdown::Both);
}

/// The error that a connect ended with, or 0.
pub(crate) fn take_error(fd: RawFd) -> i32 {
    let mut errno = 0_i32;
    let mut bytes = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most four bytes to a live integer.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut errno).cast(),
            &raw mut bytes,
        )
    };
    if done == 0 { errno } else { crate::kernel::errno() }
}

fn prepare(
    socket: &Socket,
    device: Option<&str>,
    receive_buffer_bytes: usize,
    send_buffer_bytes: usize,
) -> io::Result<()> {
    // A message is written at once; waiting for more would only delay it.
    socket.set_tcp_nodelay(true)?;
    set(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    set_buffers(socket, receive_buffer_bytes, send_buffer_bytes)?;
    bind_to_device(socket, device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel;
    use std::net::{Ipv4Addr, TcpStream};

    #[test]
    fn accepted_and_connected_sockets_have_the_options_that_we_rely_on() {
        let spec = ListenSpec::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = listen(&spec, false).expect("listen");
        let at = local_addr(&listener).expect("address");
        let peer = TcpStream::connect(at).expect("connect");
        let accepted = kernel::accept(listener.as_raw_fd()).expect("accept");
        assert_eq!(peer_addr(&accepted), peer.local_addr().ok());
        let outgoing = outgoing(&ConnectSpec::new(at), false).expect("socket");
        for fd in [&accepted, &outgoing] {
            assert!(SockRef::from(fd).tcp_nodelay().expect("option"));
            let mut stamps = 0_i32;
            let mut bytes = size_of::<i32>() as libc::socklen_t;
            // SAFETY: the kernel writes at most four bytes to a live integer.
            let done = unsafe {
                libc::getsockopt(
                    fd.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_TIMESTAMPNS,
                    (&raw mut stamps).cast(),
                    &raw mut bytes,
                )
            };
            assert_eq!((done, stamps), (0, 1));
        }
    }
}
