//! A file that is being recorded into.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::place::Place;

/// Most bytes of a file: the sizes in a WAV file have 32 bits, and many readers give them a sign.
pub(super) const BYTES_MAX: u64 = 2_000_000_000;

/// A file under its temporary name.
#[derive(Debug)]
pub(super) struct Output {
    place: Place,
    file: File,
}

impl Output {
    /// Makes the file.
    pub(super) fn create(place: Place) -> io::Result<Self> {
        Ok(Self { file: place.create()?, place })
    }

    /// The name that it will have.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Makes the file durable and gives it its name. Returns its size.
    pub(super) fn publish(self) -> io::Result<u64> {
        self.file.sync_data()?;
        let size = self.file.metadata()?.len();
        self.place.publish()?;
        Ok(size)
    }

    /// Removes the file.
    pub(super) fn discard(self) {
        self.place.discard();
    }
}
