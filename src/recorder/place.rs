//! The places of recordings: their names, and the folders that they do not leave.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::files::{Access, Folder};
use crate::media::tap::{Begin, Form};

/// The end of a file's name until the recording is whole.
const UNFINISHED: &str = ".part";

/// The folders and names of a run's recordings.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Files that the run may write.
    pub access: Access,
    /// The folder of WAV files of all calls, and of those that a scenario names without one.
    pub audio: Option<PathBuf>,
    /// The folder of pcapng files.
    pub packets: Option<PathBuf>,
    /// The begin of names that are made here: scenario and process.
    pub stem: String,
}

/// A file with its temporary name.
#[derive(Debug)]
pub(super) struct Place {
    access: Access,
    path: PathBuf,
    part: PathBuf,
}

impl Places {
    /// The place of a recording of the workers that `label` tells from others of the run.
    ///
    /// # Errors
    /// The name leads out of the folder for results, where the run must not leave it.
    pub(super) fn of(&self, begin: &Begin<'_>, label: &str) -> Result<Place, String> {
        let (folder, extension) = match begin.form {
            Form::Capture => (self.packets.as_ref(), "pcapng"),
            Form::Mono | Form::Duplex => (self.audio.as_ref(), "wav"),
        };
        let is_named = !begin.name.is_empty();
        let name = match is_named {
            true => PathBuf::from(OsStr::from_bytes(begin.name)),
            false => PathBuf::from(format!("{}{label}_{}.{extension}", self.stem, begin.call)),
        };
        // A client has a say in the names that its scenario gives, and not in the run's own.
        let access = match begin.is_sent && is_named {
            true => self.access.confined(),
            false => self.access.clone(),
        };
        let path = match folder {
            _ if is_named && access.is_confined() => access.place(Folder::Results, &name)?,
            Some(folder) => folder.join(name),
            None => name,
        };
        let mut part = path.clone().into_os_string();
        part.push(UNFINISHED);
        Ok(Place { access, path, part: part.into() })
    }
}

impl Place {
    /// The final name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file under its temporary name, and its folder if that is missing.
    pub(super) fn create(&self) -> io::Result<File> {
        match self.access.open_to_write(&self.part, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = self.path.parent() {
                    self.access.make_folder(folder)?;
                }
                self.access.open_to_write(&self.part, false)
            }
            opened => opened,
        }
    }

    /// Gives the file its name, in place of an earlier one.
    pub(super) fn publish(&self) -> io::Result<()> {
        // A link may have been put there meanwhile.
        self.access.check_replaceable(&self.path)?;
        fs::rename(&self.part, &self.path)
    }

    /// Removes the file.
    pub(super) fn discard(&self) {
        // It is an unfinished file of ours, and another run replaces it.
        let _ = fs::remove_file(&self.part);
    }
}
