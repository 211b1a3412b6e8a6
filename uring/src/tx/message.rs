//! Structures that the kernel reads to send a train: message header, name, control message and
//! iovecs. Their addresses stay put until the send is complete.

use std::io;
use std::net::SocketAddr;
use std::ptr;

use super::NONE;
use crate::addr::{self, NAME_BYTES};
use crate::cmsg::{self, SEGMENT_BYTES};
use crate::region::Region;

/// Most segments in a train, and so entries of an iovec table.
const SEGMENTS: usize = 64;

/// One train's header block. Two cache lines, so that a train of one touches no more than it must.
#[repr(C, align(128))]
struct Block {
    header: libc::msghdr,
    name: [u8; NAME_BYTES],
    name_bytes: u32,
    control: [u8; SEGMENT_BYTES],
    only: libc::iovec,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Block>() == 128);

/// The parts of a train of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    pub(crate) data: *const u8,
    pub(crate) bytes: u32,
    /// Null when the socket is connected to the destination.
    pub(crate) name: *const u8,
    pub(crate) name_bytes: u32,
}

/// Header blocks, one per train, and iovec tables for those with more than one datagram.
#[derive(Debug)]
pub(super) struct Messages {
    blocks: Region,
    tables: Region,
    free_tables: Vec<u32>,
    table_of: Box<[u32]>,
}

impl Messages {
    pub(super) fn new(trains: usize) -> io::Result<Self> {
        // A table serves a train of two or more, so half as many suffice.
        let tables = trains / 2 + 1;
        Ok(Self {
            blocks: Region::new(trains * size_of::<Block>())?,
            tables: Region::new(tables * SEGMENTS * size_of::<libc::iovec>())?,
            free_tables: (0..tables as u32).rev().collect(),
            table_of: vec![NONE; trains].into_boxed_slice(),
        })
    }

    /// Sets the destination name of train `id`; `None` for a connected socket.
    pub(super) fn name(&mut self, id: u32, destination: Option<&SocketAddr>) {
        let block = self.block(id);
        // SAFETY: `block` is in bounds, aligned and zero-initialised; the train was just opened, so
        // the kernel does not read it, and no other reference exists.
        let (name, name_bytes) = unsafe { (&mut (*block).name, &mut (*block).name_bytes) };
        *name_bytes = destination.map_or(0, |address| addr::encode(address, name));
    }

    /// The name of train `id` and its length; null for a connected socket.
    pub(super) fn name_of(&self, id: u32) -> (*const u8, u32) {
        let block = self.block(id);
        // SAFETY: in bounds, aligned and initialised; only read here.
        unsafe {
            match (*block).name_bytes {
                0 => (ptr::null(), 0),
                bytes => ((&raw const (*block).name).cast(), bytes),
            }
        }
    }

    /// Gives train `id`, so far of one datagram, a table that begins with that datagram.
    pub(super) fn start_table(&mut self, id: u32, first: *mut u8, length: u32) {
        let Some(table) = self.free_tables.pop() else {
            unreachable!("half as many tables as slots, and every table holds two slots")
        };
        self.table_of[id as usize] = table;
        self.append(id, 0, first, length);
    }

    /// Writes entry `position` of the table of train `id`.
    pub(super) fn append(&mut self, id: u32, position: u16, data: *mut u8, length: u32) {
        let table = self.table(self.table_of[id as usize]);
        assert!(usize::from(position) < SEGMENTS, "train past its table");
        // SAFETY: the table has SEGMENTS entries, and the train is not yet in the kernel.
        unsafe {
            table
                .add(usize::from(position))
                .write(libc::iovec { iov_base: data.cast(), iov_len: length as usize });
        }
    }

    /// Builds the header of train `id`.
    pub(super) fn build(
        &mut self,
        id: u32,
        count: u16,
        length: u32,
        first: *mut u8,
    ) -> *const libc::msghdr {
        let block = self.block(id);
        let table = (count > 1).then(|| self.table(self.table_of[id as usize]));
        // SAFETY: the block is in bounds, aligned and initialised, and the train is not in the
        // kernel, so nothing else reads or writes it. All-zero is a valid msghdr.
        unsafe {
            let mut header: libc::msghdr = std::mem::zeroed();
            if (*block).name_bytes > 0 {
                header.msg_name = (&raw mut (*block).name).cast();
                header.msg_namelen = (*block).name_bytes;
            }
            if let Some(table) = table {
                cmsg::encode_segment(length as u16, &mut (*block).control);
                header.msg_iov = table;
                header.msg_iovlen = count.into();
                header.msg_control = (&raw mut (*block).control).cast();
                header.msg_controllen = SEGMENT_BYTES as _;
            } else {
                (*block).only = libc::iovec { iov_base: first.cast(), iov_len: length as usize };
                header.msg_iov = &raw mut (*block).only;
                header.msg_iovlen = 1;
            }
            (*block).header = header;
            &raw const (*block).header
        }
    }

    /// Forgets the table of train `id`, which is free again.
    pub(super) fn release(&mut self, id: u32) {
        let table = std::mem::replace(&mut self.table_of[id as usize], NONE);
        if table != NONE {
            self.free_tables.push(table);
        }
    }

    pub(super) fn leak(&mut self) {
        self.blocks.leak();
        self.tables.leak();
    }

    fn block(&self, id: u32) -> *mut Block {
        self.blocks.at(id as usize * size_of::<Block>()).cast()
    }

    fn table(&self, table: u32) -> *mut libc::iovec {
        self.tables.at(table as usize * SEGMENTS * size_of::<libc::iovec>()).cast()
    }
}
