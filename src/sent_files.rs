//! Marks of scenario files that clients of the API wrote.
//!
//! A client's scenario may do less than one of the host's user, in every run that reads it. So the
//! SHA-256 of the text that a client writes into `NAME` is kept beside it, in `.NAME.sent-by-api`.
//! The mark moves with its folder, and counts for every process that reads the file. A file with
//! another content was replaced without the API: it counts as the user's again.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::output::write_file;

/// The end of the name of a mark.
const SUFFIX: &str = ".sent-by-api";

/// Most sums in a mark. The mark of a file is read after the file itself, and in between clients do
/// not write to the file as often as this.
const SUMS_MAX: usize = 16;

/// Most bytes of a mark that are read.
const BYTES_MAX: u64 = 64 << 10;

/// Tries to lock a folder that another process has locked, and the time between two.
const TRIES: u32 = 50;
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// The content of a mark.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    comment: String,
    /// The sums of the texts that clients wrote, the last one last.
    sha256: Vec<String>,
}

/// The place of the mark of the scenario file `path`. Links are followed first.
fn mark_of(path: &Path) -> Option<PathBuf> {
    let file = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = OsString::from(".");
    name.push(file.file_name()?);
    name.push(SUFFIX);
    Some(file.with_file_name(name))
}

/// The name of the mark of the scenario file `path`, for messages.
pub fn mark_name(path: &Path) -> String {
    let name = mark_of(path).and_then(|mark| mark.file_name().map(OsStr::to_owned));
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// Tells whether `path` is, or leads to, a mark: no run reads or writes one.
pub fn is_mark(path: &Path) -> bool {
    let is_one = |path: &Path| {
        let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
        name.starts_with(b".") && name.ends_with(SUFFIX.as_bytes())
    };
    is_one(path) || fs::canonicalize(path).is_ok_and(|path| is_one(&path))
}

/// Tells whether a client of the API wrote `content` into the file at `path`. `content` was read
/// from there before.
///
/// # Errors
/// If this is unknown, because the mark cannot be read.
pub fn is_sent(path: &Path, content: &[u8]) -> io::Result<bool> {
    let Some(mark) = mark_of(path) else { return Ok(false) };
    let sums = sums_of(&mark)?;
    Ok(!sums.is_empty() && sums.contains(&fingerprint(content)))
}

/// Notes that a client is about to write `content` into the file at `path`. The sum of the present
/// content stays in the mark, as the write may fail.
///
/// # Errors
/// If the mark cannot be written: then the file must not be written, either.
pub fn note(path: &Path, content: &[u8]) -> io::Result<()> {
    let mark = mark_of(path).ok_or(io::ErrorKind::IsADirectory)?;
    let _lock = lock_folder_of(&mark)?;
    let mut sums = sums_of(&mark)?;
    let current = fs::read(path).ok().map(|current| fingerprint(&current));
    let sum = fingerprint(content);
    // Writing the text that is there already changes nothing, nor whose text it is.
    if current.as_ref() == Some(&sum) {
        return Ok(());
    }
    sums.retain(|known| *known != sum);
    while sums.len() >= SUMS_MAX {
        let oldest = sums.iter().position(|known| current.as_ref() != Some(known));
        sums.remove(oldest.unwrap_or(0));
    }
    sums.push(sum);
    let comment = "SHA-256 of what clients of the API wrote into the scenario file. With this \
                   content it may do no more than other scenarios of clients. Without this mark, \
                   it may do all.";
    let text = serde_json::to_vec_pretty(&Mark { comment: comment.to_owned(), sha256: sums })
        .map_err(io::Error::from)?;
    write_file(&mark, |out| out.write_all(&text)).map_err(|error| {
        let source = error.source;
        let why = format!(
            "{} beside the scenario file cannot be written ({source}); see to the permissions and \
             the room of its folder",
            name_of(&mark)
        );
        io::Error::new(source.kind(), why)
    })
}

/// The sums of a mark; none if it is not there.
fn sums_of(mark: &Path) -> io::Result<Vec<String>> {
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(mark) {
        Ok(file) => file,
        Err(error) if cannot_be_there(&error) => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(mark, &error.to_string())),
    };
    let mut text = Vec::new();
    let read = match file.metadata().map(|metadata| metadata.is_file()) {
        Ok(false) => return Err(unreadable(mark, "it is not a regular file")),
        Ok(true) => file.take(BYTES_MAX).read_to_end(&mut text),
        Err(error) => Err(error),
    };
    read.map_err(|error| unreadable(mark, &error.to_string()))?;
    let read: Mark =
        serde_json::from_slice(&text).map_err(|error| unreadable(mark, &error.to_string()))?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_sum = |sum: &String| sum.len() == 64 && sum.bytes().all(is_digit);
    match !read.sha256.is_empty() && read.sha256.iter().all(is_sum) {
        true => Ok(read.sha256),
        false => Err(unreadable(mark, "sha256 must list sums of 64 hexadecimal digits")),
    }
}

/// Tells whether an error means that there is no such file, or that there cannot be one.
fn cannot_be_there(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG))
}

fn unreadable(mark: &Path, why: &str) -> io::Error {
    io::Error::other(format!(
        "{}, the mark beside it that shows which texts API clients wrote, cannot be read ({why}); \
         repair the mark, or remove it if the text is yours",
        name_of(mark)
    ))
}

fn name_of(mark: &Path) -> String {
    mark.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Locks the folder of a mark against other processes with an API. Some network file systems have
/// no lock for folders; there only the order within this process counts.
fn lock_folder_of(mark: &Path) -> io::Result<Option<File>> {
    let parent = mark.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = File::open(parent.unwrap_or(Path::new(".")))?;
    for _ in 0..TRIES {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(folder)),
            Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(TRY_AGAIN),
            Err(_) => return Ok(None),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "another program has locked the folder of the scenario file; try again later",
    ))
}

/// The SHA-256 of a text, in hexadecimal digits.
pub fn fingerprint(text: &[u8]) -> String {
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
        let has = |path: &Path, text: &str| is_sent(path, text.as_bytes()).unwrap();
        let put = |text: &str| {
            note(&link, text.as_bytes()).unwrap();
            fs::write(&file, text).unwrap();
        };
        // The present text stays the user's.
        put("mine");
        assert!(!has(&file, "mine") && !folder.join(".a.xml.sent-by-api").exists());
        put("theirs");
        assert!(has(&file, "theirs") && has(&link, "theirs"));
        assert!(!has(&file, "mine") && !has(&folder.join("b.xml"), "theirs"));
        // A reader of the earlier text who asks later gets the right answer, even after a failed
        // write.
        for number in 0..SUMS_MAX - 1 {
            note(&file, number.to_string().as_bytes()).unwrap();
            assert!(has(&file, "theirs") && has(&file, &number.to_string()), "{number}");
        }
        // The oldest sums go, but never that of the present content.
        note(&file, b"more").unwrap();
        assert!(has(&file, "theirs") && has(&file, "more") && !has(&file, "0"));
        fs::write(&file, "mine again").unwrap();
        assert!(!has(&file, "mine again"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_mark_moves_with_its_folder() {
        let folder = scratch("moved");
        fs::create_dir(folder.join("here")).unwrap();
        note(&folder.join("here/a.xml"), b"theirs").unwrap();
        fs::rename(folder.join("here"), folder.join("there")).unwrap();
        assert!(is_sent(&folder.join("there/a.xml"), b"theirs").unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_mark_that_cannot_be_read_or_written_is_no_empty_one() {
        let folder = scratch("broken");
        let (file, mark) = (folder.join("a.xml"), folder.join(".a.xml.sent-by-api"));
        let texts = ["", "{", "{}", r#"{"comment": "", "sha256": []}"#];
        let other = [r#"{"comment": "", "sha256": ["ABCD"]}"#];
        for text in texts.into_iter().chain(other) {
            fs::write(&mark, text).unwrap();
            for error in [is_sent(&file, b"").unwrap_err(), note(&file, b"x").unwrap_err()] {
                let error = error.to_string();
                assert!(error.contains(".a.xml.sent-by-api, the mark"), "{text}: {error}");
            }
        }
        fs::remove_file(&mark).unwrap();
        fs::create_dir(&mark).unwrap();
        assert!(is_sent(&file, b"").is_err() && note(&file, b"x").is_err());
        // A name that is too long for a mark has none.
        let long = folder.join("x".repeat(250));
        assert!(!is_sent(&long, b"").unwrap());
        assert!(note(&long, b"x").is_err());
        // A path that is no file of a folder has none, either.
        assert!(
            !is_sent(Path::new("/dev/null"), b"").unwrap()
                && !is_sent(&file.join("a"), b"").unwrap()
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_mark_is_known_by_its_name() {
        let folder = scratch("name");
        note(&folder.join("a.xml"), b"theirs").unwrap();
        symlink(folder.join(".a.xml.sent-by-api"), folder.join("link")).unwrap();
        assert!(is_mark(&folder.join(".a.xml.sent-by-api")) && is_mark(&folder.join("link")));
        assert!(!is_mark(&folder.join("a.xml")) && !is_mark(&folder.join("a.sent-by-api")));
        fs::remove_dir_all(&folder).unwrap();
    }
}
