//! Scenario files that clients of the API wrote: which they are, and what was written.
//!
//! A client's scenario may do less than the administrator's, by whatever way an engine comes to
//! it. So the daemon keeps, below its data directory, the place and the SHA-256 of what clients
//! wrote into scenario files. A file with another content was replaced by somebody who has a way to
//! it without the API: it is the administrator's again.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::files::is_one_file;
use crate::output::write_file;

/// The name of the list in the data directory.
const NAME: &str = "sent-scenarios.json";

/// Most files in the list: each was once the scenario file of a configuration.
const ROWS_MAX: usize = 1000;

/// Most bytes of the list that are read.
const BYTES_MAX: u64 = 8 << 20;

/// The scenario files that clients of the API wrote.
#[derive(Debug, Default)]
pub struct SentFiles {
    /// The file with the list; without one, it is gone with the process.
    place: Option<PathBuf>,
    /// The list of a process that has no such file. Also keeps two from writing at a time.
    rows: Mutex<Vec<Row>>,
}

/// What a client wrote into a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    path: String,
    sha256: String,
}

/// The content of the file with the list.
#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    comment: String,
    files: Vec<Row>,
}

impl SentFiles {
    /// The list that is kept in a data directory.
    pub fn below(data: &Path) -> Self {
        Self { place: Some(Self::place_below(data)), ..Self::default() }
    }

    /// The place of the list that is kept in a data directory.
    pub fn place_below(data: &Path) -> PathBuf {
        data.join(NAME)
    }

    /// Tells whether a client wrote `content` into the file at `path`.
    ///
    /// # Errors
    /// If nobody knows, because the list cannot be read.
    pub fn has(&self, path: &Path, content: &[u8]) -> io::Result<bool> {
        let rows = self.load(&self.lock())?;
        if rows.is_empty() {
            return Ok(false);
        }
        let sha256 = fingerprint(content);
        let is_it = |row: &Row| row.sha256 == sha256 && is_one_file(Path::new(&row.path), path);
        Ok(rows.iter().any(is_it))
    }

    /// Notes that a client is about to write `content` into the file at `path`. What is there by
    /// then is known still, as the write may fail.
    ///
    /// # Errors
    /// If the list cannot be written: then the file must not be, either.
    pub fn note(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut kept = self.lock();
        let mut rows = self.load(&kept)?;
        let current = fs::read(path).ok().map(|current| fingerprint(&current));
        let sha256 = fingerprint(content);
        // Who writes what is there already takes nothing away from whose it is.
        if current.as_ref() == Some(&sha256) {
            return Ok(());
        }
        rows.retain(|row| {
            current.as_ref() == Some(&row.sha256) || !is_one_file(Path::new(&row.path), path)
        });
        let path = fs::canonicalize(path).or_else(|_| std::path::absolute(path))?;
        let path = path.into_os_string().into_string().map_err(|_| {
            io::Error::other("the name of the scenario file is not UTF-8; rename the file")
        })?;
        rows.push(Row { path, sha256 });
        if rows.len() > ROWS_MAX {
            return Err(io::Error::other(format!(
                "{NAME} in the data directory has {ROWS_MAX} entries; remove those of files that \
                 are gone"
            )));
        }
        self.save(&mut kept, rows)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Row>> {
        // Every change of it is complete at any time.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list as of now: another process with this data directory may have changed it.
    fn load(&self, kept: &[Row]) -> io::Result<Vec<Row>> {
        let Some(place) = &self.place else { return Ok(kept.to_vec()) };
        let mut text = Vec::new();
        let read = File::open(place).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut text));
        let list = match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(_) => serde_json::from_slice(&text).map_err(io::Error::from),
        };
        let list: List = list.map_err(|error| {
            let why = format!(
                "{NAME} in the data directory, which tells files of API clients from yours, cannot \
                 be read ({error}); mend it, or remove it if you wrote all scenario files"
            );
            io::Error::new(error.kind(), why)
        })?;
        Ok(list.files)
    }

    fn save(&self, kept: &mut Vec<Row>, rows: Vec<Row>) -> io::Result<()> {
        let Some(place) = &self.place else {
            *kept = rows;
            return Ok(());
        };
        let comment = "Scenario files that clients of the API wrote. With this content, they may \
                       do no more than other scenarios of clients.";
        let list = List { comment: comment.to_owned(), files: rows };
        let text = serde_json::to_vec_pretty(&list).map_err(io::Error::from)?;
        if let Some(data) = place.parent() {
            DirBuilder::new().recursive(true).mode(0o750).create(data)?;
        }
        write_file(place, |out| out.write_all(&text)).map_err(|error| {
            let (kind, why) = (error.source.kind(), error.source);
            let why =
                format!("{NAME} in the data directory cannot be written ({why}); see data_dir");
            io::Error::new(kind, why)
        })
    }
}

/// The SHA-256 of a text, in hexadecimal digits.
fn fingerprint(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sent-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn what_a_client_wrote_is_known_until_somebody_else_replaces_it() {
        let folder = scratch("known");
        let (file, link) = (folder.join("a.xml"), folder.join("link.xml"));
        fs::write(&file, "mine").unwrap();
        symlink(&file, &link).unwrap();
        let data = folder.join("data");
        let has = |path: &Path, text: &str| {
            // As after a restart.
            SentFiles::below(&data).has(path, text.as_bytes()).unwrap()
        };
        let put = |text: &str| {
            SentFiles::below(&data).note(&link, text.as_bytes()).unwrap();
            fs::write(&file, text).unwrap();
        };
        // What is there stays whose it was.
        put("mine");
        assert!(!has(&file, "mine"));
        put("theirs");
        assert!(has(&file, "theirs") && has(&link, "theirs"));
        assert!(!has(&file, "mine") && !has(&folder.join("b.xml"), "theirs"));
        // A write that fails leaves the one before, which is known still.
        SentFiles::below(&data).note(&file, b"lost").unwrap();
        assert!(has(&file, "theirs") && has(&file, "lost"));
        put("theirs, too");
        assert!(has(&file, "theirs, too") && !has(&file, "lost"));
        fs::write(&file, "mine again").unwrap();
        put("last");
        assert!(has(&file, "last") && !has(&file, "theirs, too") && !has(&file, "mine again"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_list_that_cannot_be_read_or_written_is_no_empty_one() {
        let folder = scratch("broken");
        let file = folder.join("a.xml");
        fs::write(folder.join(NAME), "{").unwrap();
        let list = SentFiles::below(&folder);
        for error in [list.has(&file, b"").unwrap_err(), list.note(&file, b"x").unwrap_err()] {
            assert!(error.to_string().contains("mend it"), "{error}");
        }
        // A file where the data directory should be.
        fs::write(&file, "").unwrap();
        assert!(SentFiles::below(&file).note(&file, b"x").is_err());
        let here = SentFiles::default();
        here.note(&file, b"x").unwrap();
        assert!(here.has(&file, b"x").unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }
}
