//! Files that are either complete or absent.
//!
//! A reader, or a crash at any moment, finds the previous file or the new one, never half of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The step at which writing a file failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteStep {
    /// Creating the temporary file in the target's directory.
    Create,
    /// Writing or syncing the content.
    Write,
    /// Giving the temporary file the final name, and syncing the directory.
    Publish,
}

impl WriteStep {
    /// The stable snake_case name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Publish => "publish",
        }
    }
}

/// A file could not be written. Its name still belongs to the earlier file, if there was one.
#[derive(Debug, thiserror::Error)]
#[error("cannot {} {}: {source}; {}", step.label(), path.display(), self.advice())]
pub struct WriteFileError {
    /// The file that should have been written.
    pub path: PathBuf,
    /// The step that failed.
    pub step: WriteStep,
    /// The system's error.
    pub source: io::Error,
}

impl WriteFileError {
    /// Advice for the reader of the message.
    fn advice(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::NotFound => "create its directory first",
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                "give the path of a file in an existing directory"
            }
            io::ErrorKind::PermissionDenied => {
                "choose a directory that this user may write to, or change its permissions"
            }
            io::ErrorKind::ReadOnlyFilesystem => "choose a path on a writable file system",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free space there or choose a path on another file system"
            }
            _ => "check the path, or choose another one",
        }
    }
}

/// Writes `path` through `write_content`: into a temporary file beside it, synced, then renamed.
///
/// A symbolic link stays one and its target is replaced. An existing path that is not a regular
/// file (a pipe, a terminal) is appended to, since renaming would put a file in its place. The same
/// is true for an open stream of the process (`/dev/stdout`), which may be a file that another
/// program holds open.
pub fn write_file<F>(path: &Path, write_content: F) -> Result<(), WriteFileError>
where
    F: FnOnce(&mut dyn Write) -> io::Result<()>,
{
    let error = |step| {
        let path = path.to_owned();
        move |source| WriteFileError { path, step, source }
    };
    // Only an existing path can be resolved; a new one is used unchanged.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is_special = fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file());
    if is_special || is_open_stream(path) {
        let mut stream =
            OpenOptions::new().append(true).open(path).map_err(error(WriteStep::Create))?;
        return write_buffered(&mut stream, write_content).map_err(error(WriteStep::Write));
    }
    let (temporary, mut file) = create_beside(&target).map_err(error(WriteStep::Create))?;
    let written = write_buffered(&mut file, write_content)
        .and_then(|()| file.sync_all())
        .map_err(error(WriteStep::Write));
    let published = written.and_then(|()| {
        let renamed = fs::rename(&temporary, &target);
        renamed.and_then(|()| sync_directory_of(&target)).map_err(error(WriteStep::Publish))
    });
    if published.is_err() {
        // The file may have been renamed already; the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    published
}

/// Checks that [`write_file`] can make its file, as far as that is known beforehand.
///
/// # Errors
/// The reason why it cannot.
pub fn try_file(path: &Path) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is_special = fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file());
    if is_special || is_open_stream(path) {
        return OpenOptions::new().append(true).open(path).map(|_| ());
    }
    let (temporary, _) = create_beside(&target)?;
    fs::remove_file(temporary)
}

/// Tells whether `path` names a file descriptor of this process.
fn is_open_stream(path: &Path) -> bool {
    ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|stem| path.starts_with(stem))
}

fn write_buffered<F>(file: &mut File, write_content: F) -> io::Result<()>
where
    F: FnOnce(&mut dyn Write) -> io::Result<()>,
{
    let mut buffered = BufWriter::new(file);
    write_content(&mut buffered)?;
    buffered.flush()
}

/// Creates a new file in the directory of `target`, where a rename cannot cross file systems. Its
/// name starts with a dot, so that a pattern that collects results does not match it.
fn create_beside(target: &Path) -> io::Result<(PathBuf, File)> {
    let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
    let mut attempt = 0;
    loop {
        let temporary = target.with_file_name(format!(".{name}.{}.{attempt}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            // A crashed process with our id left the file behind, or another thread uses it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Makes the rename itself durable.
fn sync_directory_of(target: &Path) -> io::Result<()> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    match File::open(parent.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all()) {
        // Some network file systems cannot sync a directory; the file is in place all the same.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of one test, removed with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("gossipper-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
            let mut names: Vec<_> = entries.map(|e| name(e).into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write_text(path: &Path, text: &str) -> Result<(), WriteFileError> {
        write_file(path, |file| file.write_all(text.as_bytes()))
    }

    #[test]
    fn replaces_the_file_and_leaves_nothing_else() {
        let scratch = Scratch::new("replace");
        let path = scratch.0.join("summary.json");
        write_text(&path, "one").unwrap();
        write_text(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(scratch.names(), ["summary.json"]);
    }

    #[test]
    fn a_failed_write_keeps_the_previous_file() {
        let scratch = Scratch::new("keep");
        let path = scratch.0.join("summary.json");
        write_text(&path, "one").unwrap();
        let failed = write_file(&path, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().step, WriteStep::Write);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(scratch.names(), ["summary.json"]);
    }

    #[test]
    fn a_symbolic_link_stays_one() {
        let scratch = Scratch::new("link");
        let (path, link) = (scratch.0.join("real"), scratch.0.join("link"));
        write_text(&path, "one").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_text(&link, "two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    }

    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        write_text(Path::new("/dev/null"), "gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn an_open_file_reached_through_its_descriptor_is_kept() {
        use std::os::fd::AsRawFd;
        let scratch = Scratch::new("descriptor");
        let path = scratch.0.join("redirected");
        let mut held = File::create(&path).unwrap();
        held.write_all(b"before ").unwrap();
        write_text(&PathBuf::from(format!("/dev/fd/{}", held.as_raw_fd())), "after").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before after");
        assert_eq!(scratch.names(), ["redirected"]);
    }

    #[test]
    fn the_error_names_the_path_and_what_to_do() {
        let error = write_text(Path::new("/nonexistent/summary.json"), "").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("cannot create /nonexistent/summary.json: "), "{text}");
        assert!(text.ends_with("; create its directory first"), "{text}");
        let error = write_text(Path::new("/"), "").unwrap_err();
        assert!(error.to_string().contains("give the path of a file"), "{error}");
    }

    #[test]
    fn a_bare_file_name_means_the_current_directory() {
        assert!(sync_directory_of(Path::new("summary.json")).is_ok());
    }
}
