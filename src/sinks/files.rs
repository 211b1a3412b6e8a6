//! The files that traces go to: opened early, filled in memory, written by a backend, rotated.
//!
//! The module knows nothing of the content. A file takes whole entries; rotation and the size limit
//! act between two of them.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Seek, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::stats::{TraceKind, Unwritten};

/// Least time between two complaints about one file. A full disk stays full for longer.
const QUIET: Duration = Duration::from_secs(60);

use crate::files::Access;

/// Sizes at which a new file begins (`-ringbuffer_size`, `-ringbuffer_files`), and at which a file
/// takes nothing more (`-max_log_size`). Sizes are in bytes; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Size beyond which a file is put aside under a name with the time in it.
    pub size: u64,
    /// Files put aside that are kept; older ones are removed.
    pub files: usize,
    /// Size beyond which a file takes nothing more.
    pub limit: u64,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Path of the file.
    pub path: PathBuf,
    /// True to replace an existing file; false to append to it.
    pub overwrite: bool,
    /// Size limits.
    pub rotation: Rotation,
}

/// A file that is open, by its place in [`Files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(usize);

/// All open files.
#[derive(Debug, Default)]
pub struct Files {
    access: Access,
    outputs: Vec<Output>,
    /// The kind of the record that the entries now come from.
    kind: Option<TraceKind>,
}

/// The end of an entry that waits to be written, and the kind of its record.
#[derive(Clone, Copy, Debug)]
struct Entry {
    end: usize,
    kind: Option<TraceKind>,
}

/// One file, with the bytes that wait to be written.
#[derive(Debug)]
pub struct Output {
    spec: FileSpec,
    access: Access,
    /// `None` while a backend has it.
    file: Option<File>,
    /// The next position to write at; `None` if the file has no positions (a pipe or a terminal).
    position: Option<u64>,
    pending: Vec<u8>,
    /// The entries of `pending`.
    entries: Vec<Entry>,
    /// Offsets in `pending` behind which the file is rotated, with the time for its name.
    cuts: VecDeque<(usize, u64)>,
    /// Bytes of entries in the file since it was opened or rotated, including waiting ones.
    size: u64,
    /// Files put aside, oldest first.
    rotated: VecDeque<PathBuf>,
    /// The time in the name of the file put aside last, and the number of files with that time.
    last_rotated: (u64, u32),
    /// The last failure since the last complaint.
    failure: Option<io::Error>,
    unwritten: Unwritten,
    /// Entries lost until the last complaint, and the time of that complaint.
    told: u64,
    told_at: Option<Instant>,
}

impl Files {
    /// Holds no file yet. Files must lie where `access` allows.
    pub fn new(access: Access) -> Self {
        Self { access, outputs: Vec::new(), kind: None }
    }

    /// Opens a file, or finds it if it is open.
    ///
    /// # Errors
    /// The error of the system.
    pub fn open(&mut self, spec: FileSpec) -> io::Result<FileId> {
        if let Some(index) = self.outputs.iter().position(|output| output.spec.path == spec.path) {
            return Ok(FileId(index));
        }
        let (file, position) = open(&self.access, &spec.path, !spec.overwrite)?;
        self.outputs.push(Output::new(spec, file, position, self.access.clone()));
        Ok(FileId(self.outputs.len() - 1))
    }

    /// Takes over an open file, such as stderr. It is written in sequence, at the file's own
    /// position. `name` is its name in errors.
    pub fn adopt(&mut self, name: &str, file: File) -> FileId {
        let spec =
            FileSpec { path: PathBuf::from(name), overwrite: false, rotation: Rotation::default() };
        self.outputs.push(Output::new(spec, file, None, self.access.clone()));
        FileId(self.outputs.len() - 1)
    }

    /// The buffer of a file, for one entry; [`Self::end`] must follow.
    pub fn entry(&mut self, id: FileId) -> &mut Vec<u8> {
        &mut self.outputs[id.0].pending
    }

    /// Ends an entry that was begun at `begin` bytes of [`Self::entry`]; `unix_s` is the time of
    /// it in seconds.
    pub fn end(&mut self, id: FileId, begin: usize, unix_s: u64) {
        self.outputs[id.0].end_entry(begin, unix_s, self.kind);
    }

    /// Sets the kind of the record that the next entries come from; `None` if from no single
    /// record.
    pub fn set_kind(&mut self, kind: Option<TraceKind>) {
        self.kind = kind;
    }

    /// Appends a whole entry.
    pub fn append(&mut self, id: FileId, bytes: &[u8], unix_s: u64) {
        let entry = self.entry(id);
        let begin = entry.len();
        entry.extend_from_slice(bytes);
        self.end(id, begin, unix_s);
    }

    /// Bytes that wait to be written.
    pub fn pending_bytes(&self) -> usize {
        self.outputs.iter().map(|output| output.pending.len()).sum()
    }

    /// Returns the counts of entries that could not be written, over all files.
    pub fn unwritten(&self) -> Unwritten {
        let mut all = Unwritten::default();
        self.outputs.iter().for_each(|output| all.add(&output.unwritten));
        all
    }

    /// All files.
    pub fn outputs_mut(&mut self) -> &mut [Output] {
        &mut self.outputs
    }
}

/// The next bytes for a backend to write.
#[derive(Debug)]
pub struct Piece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Position in the file; `None` if the file has no positions.
    pub position: Option<u64>,
    /// The entries in it.
    entries: Vec<Entry>,
    /// The time for the name under which the file is put aside afterwards.
    rotate_at_s: Option<u64>,
}

impl Output {
    fn new(spec: FileSpec, file: File, position: Option<u64>, access: Access) -> Self {
        Self {
            file: Some(file),
            position,
            pending: Vec::new(),
            entries: Vec::new(),
            cuts: VecDeque::new(),
            size: position.unwrap_or(0),
            rotated: VecDeque::new(),
            last_rotated: (0, 0),
            failure: None,
            unwritten: Unwritten::default(),
            told: 0,
            told_at: None,
            spec,
            access,
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.spec.path
    }

    fn end_entry(&mut self, begin: usize, unix_s: u64, kind: Option<TraceKind>) {
        let Rotation { size, limit, .. } = self.spec.rotation;
        let length = (self.pending.len() - begin) as u64;
        if limit > 0 && self.size + length > limit {
            // The file is full for good: it keeps whole entries only.
            self.pending.truncate(begin);
            return;
        }
        self.size += length;
        if length > 0 {
            self.entries.push(Entry { end: self.pending.len(), kind });
        }
        if size > 0 && self.size > size {
            self.cuts.push_back((self.pending.len(), unix_s));
            self.size = 0;
        }
    }

    /// The next bytes to write, with the file to write them to.
    pub fn take_piece(&mut self) -> Option<(File, Piece)> {
        if self.pending.is_empty() {
            return None;
        }
        let file = self.file.take()?;
        let position = self.position;
        let (bytes, entries, rotate_at_s) = match self.cuts.pop_front() {
            None => (std::mem::take(&mut self.pending), std::mem::take(&mut self.entries), None),
            Some((cut, unix_s)) => {
                let rest = self.pending.split_off(cut);
                self.cuts.iter_mut().for_each(|(offset, _)| *offset -= cut);
                let whole = self.entries.partition_point(|entry| entry.end <= cut);
                let mut after = self.entries.split_off(whole);
                after.iter_mut().for_each(|entry| entry.end -= cut);
                let entries = std::mem::replace(&mut self.entries, after);
                (std::mem::replace(&mut self.pending, rest), entries, Some(unix_s))
            }
        };
        Some((file, Piece { bytes, position, entries, rotate_at_s }))
    }

    /// Takes back the file after `written` bytes of `piece` were written, then `error`.
    pub fn give_back(&mut self, file: File, piece: Piece, written: u64, error: Option<io::Error>) {
        self.position = self.position.map(|position| position + written);
        self.file = Some(file);
        if let Some(error) = error {
            self.unwritten.bytes += piece.bytes.len() as u64 - written;
            let cut = piece.entries.iter().filter(|entry| entry.end as u64 > written);
            cut.for_each(|entry| self.unwritten.bump(entry.kind));
            self.failure = Some(error);
        }
        if let Some(unix_s) = piece.rotate_at_s
            && let Err(error) = self.rotate(unix_s)
        {
            self.failure = Some(error);
        }
        // The buffer is used again.
        if self.pending.capacity() == 0 {
            self.pending = piece.bytes;
            self.pending.clear();
            self.entries = piece.entries;
            self.entries.clear();
        }
    }

    /// Takes the complaint about failures since the last one. The first is due at once, and then
    /// one about once a minute; `is_last` if there will be no more.
    pub fn take_complaint(&mut self, now: Instant, is_last: bool) -> Option<String> {
        let is_early = self.told_at.is_some_and(|told| now.saturating_duration_since(told) < QUIET);
        if is_early && !is_last {
            return None;
        }
        let failure = self.failure.take()?;
        let lost = self.unwritten.entries();
        let fresh = lost - std::mem::replace(&mut self.told, lost);
        let is_first = self.told_at.replace(now).is_none();
        let mut text = complaint(&self.spec.path, &failure);
        if is_first {
            text += &format!("; {fresh} entries are lost so far; later losses are counted");
        } else {
            text += &format!("; {fresh} more entries are lost, {lost} in all");
        }
        Some(text)
    }

    /// The open file, to make it durable.
    pub fn take_file(&mut self) -> Option<File> {
        self.file.take()
    }

    /// Puts the file aside and begins a new one.
    fn rotate(&mut self, unix_s: u64) -> io::Result<()> {
        if self.position.is_none() {
            return Ok(());
        }
        let keep = self.spec.rotation.files;
        if keep > 0 {
            let same = if self.last_rotated.0 == unix_s { self.last_rotated.1 + 1 } else { 0 };
            self.last_rotated = (unix_s, same);
            let rotated = rotated_name(&self.spec.path, unix_s, same);
            fs::rename(&self.spec.path, &rotated)?;
            self.rotated.push_back(rotated);
            while self.rotated.len() > keep {
                if let Some(oldest) = self.rotated.pop_front() {
                    fs::remove_file(oldest)?;
                }
            }
        }
        let (file, position) = open(&self.access, &self.spec.path, false)?;
        self.file = Some(file);
        self.position = position;
        Ok(())
    }
}

/// The complaint about a file that cannot be written.
pub(super) fn complaint(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// The name `name_1700000000.log`, and `name_1700000000.1.log` for the next one within the second.
fn rotated_name(path: &Path, unix_s: u64, same: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let counter = if same == 0 { String::new() } else { format!(".{same}") };
    let extension = path.extension().map_or(String::new(), |text| {
        let text = text.to_string_lossy();
        format!(".{text}")
    });
    path.with_file_name(format!("{stem}_{unix_s}{counter}{extension}"))
}

fn open(access: &Access, path: &Path, append: bool) -> io::Result<(File, Option<u64>)> {
    let mut file = access.open_to_write(path, append)?;
    if !file.metadata()?.is_file() {
        return Ok((file, None));
    }
    let end = file.seek(io::SeekFrom::End(0))?;
    // A directory that cannot be written to is noticed by now; a full disk is not.
    file.flush()?;
    Ok((file, Some(end)))
}

#[cfg(test)]
mod tests;
