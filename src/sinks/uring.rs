//! The backend on io_uring. It is the only user of tokio-uring, which is not maintained any more.
//! So it is used only for files, far from any packet, and can be replaced in an hour.

use std::fs::File;
use std::io;

use super::backend::{Backend, Written, advance, sync_result};

/// A position that stands for the file's own: what the kernel takes for files without positions.
const NO_POSITION: u64 = u64::MAX;

/// Writes through the ring of the thread's tokio-uring runtime, within which it must be used.
#[derive(Debug)]
pub(super) struct UringBackend;

impl Backend for UringBackend {
    async fn write(&mut self, file: File, bytes: Vec<u8>, position: Option<u64>) -> Written {
        // The runtime's file closes its descriptor, so it gets a copy.
        let copy = match file.try_clone() {
            Ok(copy) => tokio_uring::fs::File::from_std(copy),
            Err(error) => return Written { file, bytes, written: 0, error: Some(error) },
        };
        let length = bytes.len();
        let mut written = 0;
        let mut error = None;
        let mut buffer = bytes;
        while error.is_none() && written < length {
            use tokio_uring::buf::BoundedBuf as _;
            let at = position.map_or(NO_POSITION, |position| position + written as u64);
            let (result, slice) = copy.write_at(buffer.slice(written..), at).submit().await;
            buffer = slice.into_inner();
            error = advance(&mut written, result).err();
        }
        let closed = copy.close().await;
        Written { file, bytes: buffer, written: written as u64, error: error.or(closed.err()) }
    }

    async fn finish(&mut self, file: File) -> io::Result<()> {
        let file = tokio_uring::fs::File::from_std(file);
        let synced = sync_result(file.sync_data().await);
        file.close().await.and(synced)
    }
}
