//! Backends that write bytes to disk: io_uring, or plain system calls where io_uring is forbidden.
//! Both are used from one thread, and both wait until their bytes are written.

use std::fs::File;
use std::future::Future;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Writes to files. A file without positions is written in sequence.
pub(super) trait Backend {
    /// Writes all of `bytes`; returns the file, the buffer, and the bytes written before an error.
    async fn write(&mut self, file: File, bytes: Vec<u8>, position: Option<u64>) -> Written;

    /// Makes a file durable and closes it.
    async fn finish(&mut self, file: File) -> io::Result<()>;
}

/// The outcome of a write.
pub(super) struct Written {
    pub(super) file: File,
    pub(super) bytes: Vec<u8>,
    pub(super) written: u64,
    pub(super) error: Option<io::Error>,
}

/// Adds what one write wrote to `written`. An interrupted write is repeated.
///
/// # Errors
/// The write failed, or wrote nothing.
pub(super) fn advance(written: &mut usize, result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Ok(count) => {
            *written += count;
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
    }
}

/// Plain system calls.
#[derive(Debug)]
pub(super) struct StdBackend;

impl Backend for StdBackend {
    async fn write(&mut self, mut file: File, bytes: Vec<u8>, position: Option<u64>) -> Written {
        let mut written = 0;
        let mut error = None;
        while error.is_none() && written < bytes.len() {
            let rest = &bytes[written..];
            let result = match position {
                Some(position) => file.write_at(rest, position + written as u64),
                None => file.write(rest),
            };
            error = advance(&mut written, result).err();
        }
        Written { file, bytes, written: written as u64, error }
    }

    async fn finish(&mut self, file: File) -> io::Result<()> {
        sync_result(file.sync_data())
    }
}

/// The result of a sync. Pipes and terminals cannot be made durable, which is no error.
pub(super) fn sync_result(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

/// Runs a future of [`StdBackend`], which never waits.
pub(super) fn run_ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
