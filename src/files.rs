//! Access to files: the files that a run may read into messages, and write results to.
//!
//! A run at a terminal may do what its user may. In a daemon, the files of the process itself
//! (users, keys, configuration) are refused to every client. A client that came over the API also
//! gets no further than the folders meant for such clients. Files are compared by device and inode
//! and not by their names, so that links are no way around.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::sent_files;

/// A folder below the data directory, for clients of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// Scenarios, and the texts that they include.
    Scenarios,
    /// Injection files, and the lists of instances.
    Injection,
    /// Certificates and keys of SIP over TLS.
    Tls,
    /// All results of runs.
    Results,
}

impl Folder {
    /// All folders.
    pub const ALL: [Self; 4] = [Self::Scenarios, Self::Injection, Self::Tls, Self::Results];

    /// The name of the folder below the data directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scenarios => "scenarios",
            Self::Injection => "injection",
            Self::Tls => "tls",
            Self::Results => "results",
        }
    }

    /// The folder that the file of a command-line option lies in.
    pub fn of_option(option: &str) -> Self {
        match option {
            "sf" | "rxsf" | "oocsf" => Self::Scenarios,
            "inf" | "rxinf" | "slave_cfg" => Self::Injection,
            "tls_cert" | "tls_key" | "tls_ca" | "tls_crl" => Self::Tls,
            _ => Self::Results,
        }
    }
}

/// A file of the process itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFile {
    /// The role of the file, for messages: `the user database`.
    pub role: &'static str,
    /// The place where the file is, or will be.
    pub path: PathBuf,
    /// The kind of the file, which decides on its uses.
    pub kind: OwnKind,
}

/// The ways in which a file is the process's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnKind {
    /// The file is neither read into a message nor written over.
    Secret,
    /// The file is neither read into a message nor written over, but TLS may use it.
    Material,
    /// The file is read by runs, and not written over.
    Input,
    /// The file is written by one run, and not read into a message.
    Output,
}

/// Kinds whose content never gets into a message.
const NOT_READ: [OwnKind; 3] = [OwnKind::Secret, OwnKind::Material, OwnKind::Output];

/// Kinds that a result never replaces. Outputs are told apart by the run that writes them.
pub const NOT_WRITTEN: [OwnKind; 3] = [OwnKind::Secret, OwnKind::Material, OwnKind::Input];

/// The access to files that a run has. All clones share the files of the process, also when these
/// change.
#[derive(Clone, Debug, Default)]
pub struct Access {
    own: Arc<ArcSwap<Vec<OwnFile>>>,
    /// The data directory of the daemon.
    data: Option<Arc<Path>>,
    is_confined: bool,
}

impl PartialEq for Access {
    /// Compares the current protections of two accesses.
    fn eq(&self, other: &Self) -> bool {
        self.own() == other.own()
            && self.data == other.data
            && self.is_confined == other.is_confined
    }
}

impl Eq for Access {}

impl Access {
    /// The access of engines in a configuration: `own` are the files of the process, and scenarios
    /// that clients sent find their files below `data`.
    pub fn of_process(own: Vec<OwnFile>, data: &Path) -> Self {
        let own = Arc::new(ArcSwap::from_pointee(own));
        Self { own, data: Some(data.into()), is_confined: false }
    }

    /// The access of a run at a terminal with the files `own`.
    pub fn of_run(own: Vec<OwnFile>) -> Self {
        Self { own: Arc::new(ArcSwap::from_pointee(own)), ..Self::default() }
    }

    /// The current files of the process.
    pub fn own(&self) -> Arc<Vec<OwnFile>> {
        self.own.load_full()
    }

    /// Replaces the files of the process at once, for all clones and for runs in progress.
    pub fn protect(&self, own: Vec<OwnFile>) {
        self.own.store(Arc::new(own));
    }

    /// The same access for a client of the API: it stays within the folders below the data
    /// directory.
    pub fn confined(&self) -> Self {
        Self { is_confined: true, ..self.clone() }
    }

    /// Tells whether the access is limited to the folders below the data directory.
    pub fn is_confined(&self) -> bool {
        self.is_confined
    }

    /// A folder for clients of the API, if there are such clients.
    pub fn folder(&self, folder: Folder) -> Option<PathBuf> {
        self.data.as_ref().map(|data| data.join(folder.name()))
    }

    /// The place of a file in a folder.
    ///
    /// # Errors
    /// The file is outside of the folder; the text is a sentence.
    pub fn place(&self, folder: Folder, file: &Path) -> Result<PathBuf, String> {
        let name = folder.name();
        let Some(base) = self.folder(folder) else {
            return Err(format!("there is no folder {name:?} here"));
        };
        let inner = file.strip_prefix(&base).unwrap_or(file);
        let is_plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        match inner.components().all(is_plain) && inner.file_name().is_some() {
            true => Ok(base.join(inner)),
            false => Err(format!(
                "{} leads out of the folder {name:?} of the data directory; clients of the API may \
                 name only files in it, without \"..\"",
                file.display()
            )),
        }
    }

    /// Opens a file whose content ends up in messages.
    ///
    /// # Errors
    /// The file cannot be read, is one of the process, or lies outside of the run's access.
    pub fn open_to_read(&self, path: &Path) -> io::Result<File> {
        let file = self.open_within(&[Folder::Scenarios, Folder::Injection], path)?;
        self.refuse_own(&file.metadata()?, &NOT_READ).map(|()| file)
    }

    /// Opens a file below the folder for scenarios, for a scenario that a client sent.
    ///
    /// # Errors
    /// The errors of [`open_to_read`](Self::open_to_read).
    pub fn open_sent(&self, path: &Path) -> io::Result<File> {
        self.confined().open_to_read(path)
    }

    /// Reads a certificate, a key or similar material, which no message carries.
    ///
    /// # Errors
    /// The file cannot be read, or lies outside of the run's access.
    pub fn read_material(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut file = self.open_within(&[Folder::Tls], path)?;
        if self.is_confined {
            self.refuse_own(&file.metadata()?, &[OwnKind::Secret, OwnKind::Output])?;
        }
        file.read_to_end(&mut content)?;
        Ok(content)
    }

    fn open_within(&self, folders: &[Folder], path: &Path) -> io::Result<File> {
        refuse_mark(path)?;
        if !self.is_confined {
            return File::open(path);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        regular(File::from(self.open_beneath(folders, path, flags)?))
    }

    /// Reads a file whose content ends up in messages.
    ///
    /// # Errors
    /// The errors of [`open_to_read`](Self::open_to_read).
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open_to_read(path)?.read_to_end(&mut content)?;
        Ok(content)
    }

    /// Opens a file for results, and makes it if it does not exist. A refused file is not changed.
    ///
    /// # Errors
    /// The file cannot be written, is one of the process, or lies outside of the run's access.
    pub fn open_to_write(&self, path: &Path, is_kept: bool) -> io::Result<File> {
        self.open_with(path, is_kept, 0o666)
    }

    /// Opens a file that only its owner may read, in place of any that was there. Whoever had that
    /// one open does not see what is written.
    ///
    /// # Errors
    /// The errors of [`open_to_write`](Self::open_to_write).
    pub fn open_private(&self, path: &Path) -> io::Result<File> {
        if !self.is_confined
            && let Some(old) = fs::symlink_metadata(path).ok().filter(Metadata::is_file)
        {
            self.check_place(path)?;
            self.refuse_own(&old, &NOT_WRITTEN)?;
            fs::remove_file(path)?;
        }
        let file = self.open_with(path, false, 0o600)?;
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }

    fn open_with(&self, path: &Path, is_kept: bool, mode: u32) -> io::Result<File> {
        self.check_place(path)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(mode);
        let file = match self.is_confined {
            false => options.open(path)?,
            true => {
                self.make_results()?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK;
                regular(File::from(self.open_beneath(&[Folder::Results], path, flags)?))?
            }
        };
        let metadata = file.metadata()?;
        self.refuse_own(&metadata, &NOT_WRITTEN)?;
        if !is_kept && metadata.is_file() {
            file.set_len(0)?;
        }
        Ok(file)
    }

    /// Makes a folder for results, and those above it.
    ///
    /// # Errors
    /// The folder cannot be made, or lies outside of the run's access.
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        if !self.is_confined {
            return DirBuilder::new().recursive(true).create(path);
        }
        self.make_results()?;
        let results = self.folder(Folder::Results).unwrap_or_default();
        let mut above = results.clone();
        let inner = path.strip_prefix(&results).map_err(|_| outside(&[Folder::Results]))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        for part in inner.components() {
            let Component::Normal(name) = part else { return Err(outside(&[Folder::Results])) };
            let folder = self.open_beneath(&[Folder::Results], &above, flags)?;
            match rustix::fs::mkdirat(&folder, name, Mode::RWXU | Mode::RGRP | Mode::XGRP) {
                Ok(()) | Err(Errno::EXIST) => above.push(name),
                Err(error) => return Err(error.into()),
            }
        }
        // What was there before may be a file, or a link.
        self.open_beneath(&[Folder::Results], &above, flags).map(drop)
    }

    /// Checks a file that will later be replaced as a whole.
    ///
    /// # Errors
    /// The errors of [`open_to_write`](Self::open_to_write), as far as they show without writing.
    pub fn check_replaceable(&self, path: &Path) -> io::Result<()> {
        self.check_place(path)?;
        if self.is_confined {
            self.make_results()?;
            let parent = path.parent().unwrap_or(path);
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            self.open_beneath(&[Folder::Results], parent, flags)?;
            match self.open_beneath(&[Folder::Results], path, OFlags::PATH) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match fs::metadata(path) {
            Ok(metadata) => self.refuse_own(&metadata, &NOT_WRITTEN),
            Err(_) => Ok(()),
        }
    }

    /// Names the file of the process that is at `path`, if it is of one of `kinds`.
    pub fn own_at(&self, path: &Path, kinds: &[OwnKind]) -> Option<&'static str> {
        if sent_files::is_mark(path) {
            return Some(MARK);
        }
        let metadata = fs::metadata(path).ok();
        let is_it = |own: &&OwnFile| {
            kinds.contains(&own.kind)
                && (own.path == path
                    || metadata.as_ref().is_some_and(|metadata| is_same(metadata, &own.path)))
        };
        self.own.load().iter().find(is_it).map(|own| own.role)
    }

    fn refuse_own(&self, metadata: &Metadata, kinds: &[OwnKind]) -> io::Result<()> {
        let is_it = |own: &&OwnFile| kinds.contains(&own.kind) && is_same(metadata, &own.path);
        self.own.load().iter().find(is_it).map_or(Ok(()), |own| Err(refused(own.role)))
    }

    /// Refuses a name under which the process will make a file of its own.
    fn check_place(&self, path: &Path) -> io::Result<()> {
        refuse_mark(path)?;
        let (Some(name), Some(parent)) = (path.file_name(), directory_of(path)) else {
            return Ok(());
        };
        let is_it = |own: &&OwnFile| {
            own.kind == OwnKind::Secret
                && own.path.file_name() == Some(name)
                && directory_of(&own.path).is_some_and(|of_own| {
                    fs::metadata(of_own).is_ok_and(|metadata| is_same(&metadata, parent))
                })
        };
        self.own.load().iter().find(is_it).map_or(Ok(()), |own| Err(refused(own.role)))
    }

    /// Opens `path` below the one of `folders` that it names, without a link on the way.
    fn open_beneath(&self, folders: &[Folder], path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let bases = folders.iter().filter_map(|folder| self.folder(*folder));
        let within = bases.into_iter().find_map(|base| {
            let inner = path.strip_prefix(&base).ok()?.to_owned();
            Some((base, inner))
        });
        let Some((base, inner)) = within else { return Err(outside(folders)) };
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = rustix::fs::openat(CWD, &base, folder, Mode::empty())?;
        if inner.as_os_str().is_empty() {
            return Ok(base);
        }
        let mode = match flags.contains(OFlags::CREATE) {
            true => Mode::RUSR | Mode::WUSR | Mode::RGRP,
            false => Mode::empty(),
        };
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&base, &inner, flags | OFlags::CLOEXEC, mode, resolve).map_err(
            |error| match error {
                Errno::LOOP | Errno::XDEV => io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "the path contains a link, and links are not followed here",
                ),
                Errno::NOSYS => io::Error::other(
                    "this kernel has no openat2 (Linux 5.6), which keeps clients inside a folder",
                ),
                error => error.into(),
            },
        )
    }

    /// Makes the folder for results, if it does not exist.
    fn make_results(&self) -> io::Result<()> {
        let Some(results) = self.folder(Folder::Results) else { return Ok(()) };
        DirBuilder::new().recursive(true).mode(0o750).create(results)
    }
}

fn outside(folders: &[Folder]) -> io::Error {
    let names: Vec<&str> = folders.iter().map(|folder| folder.name()).collect();
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("only files below {} of the data directory are opened", names.join(", ")),
    )
}

/// Refuses everything but regular files: a pipe would wait for its other end.
fn regular(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// The role of the files that mark a scenario as that of a client.
const MARK: &str = "the mark of a scenario that a client of the API wrote";

/// Refuses such a mark, also to a run at a terminal: it may use the scenario of a client.
fn refuse_mark(path: &Path) -> io::Result<()> {
    if sent_files::is_mark(path) { Err(refused(MARK)) } else { Ok(()) }
}

fn refused(role: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("it is {role}, which no run may use; choose another file"),
    )
}

/// Tells whether `path` leads to the file with `metadata`.
fn is_same(metadata: &Metadata, path: &Path) -> bool {
    let place = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    fs::metadata(path).is_ok_and(|other| place(&other) == place(metadata))
}

/// Tells whether two paths lead to one file. Devices do not count: two programs may write to one
/// terminal.
fn is_same_file(one: &Path, other: &Path) -> bool {
    fs::metadata(one).is_ok_and(|metadata| metadata.is_file() && is_same(&metadata, other))
}

/// Tells whether two names lead to one file, or would once it exists.
pub fn is_one_file(one: &Path, other: &Path) -> bool {
    if one == other || is_same_file(one, other) {
        return true;
    }
    let both = directory_of(one).zip(directory_of(other));
    one.file_name() == other.file_name()
        && both.is_some_and(|(one, other)| {
            fs::metadata(one).is_ok_and(|metadata| is_same(&metadata, other))
        })
}

/// `path` without `..`: resolved as far as it exists, and by its names beyond.
pub fn without_dots(path: &Path) -> PathBuf {
    if !path.components().any(|part| part == Component::ParentDir) {
        return path.to_owned();
    }
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            // Behind a link, the directory above is that of the link's target.
            Component::ParentDir => {
                let here = if resolved.as_os_str().is_empty() { ".".as_ref() } else { &*resolved };
                resolved = fs::canonicalize(here).unwrap_or(resolved);
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    match (directory_of(&resolved).map(fs::canonicalize), resolved.file_name()) {
        (Some(Ok(directory)), Some(name)) => directory.join(name),
        _ => resolved,
    }
}

fn directory_of(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A data directory with a secret, which is removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("files-{name}-{}", std::process::id()));
            for folder in ["", "scenarios", "results"] {
                fs::create_dir_all(path.join(folder)).unwrap();
            }
            fs::write(path.join("users.db"), "secret").unwrap();
            fs::write(path.join("scenarios/text"), "text").unwrap();
            Self(path)
        }

        fn join(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn access(&self) -> Access {
            let own = |name: &str, kind| OwnFile { role: "ours", path: self.join(name), kind };
            let own = vec![
                own("users.db", OwnKind::Secret),
                own("users.db-wal", OwnKind::Secret),
                own("scenarios/text", OwnKind::Input),
                own("results/log", OwnKind::Output),
            ];
            Access::of_process(own, &self.0)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[track_caller]
    fn assert_refused<T>(result: io::Result<T>) {
        let error = result.err().expect("it is refused");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    }

    #[test]
    fn a_client_makes_folders_below_the_results_only() {
        let scratch = Scratch::new("folders");
        let (access, confined) = (scratch.access(), scratch.access().confined());
        symlink(scratch.join("scenarios"), scratch.join("results/soft")).unwrap();
        for name in ["x", "scenarios/x", "results/../x", "results/soft", "results/soft/x"] {
            assert_refused(confined.make_folder(&scratch.join(name)));
        }
        assert!(!scratch.join("x").exists() && !scratch.join("scenarios/x").exists());
        fs::write(scratch.join("results/file"), "").unwrap();
        assert!(confined.make_folder(&scratch.join("results/file")).is_err());
        for _ in 0..2 {
            confined.make_folder(&scratch.join("results/a/b")).unwrap();
            access.make_folder(&scratch.join("x/y")).unwrap();
        }
        assert!(scratch.join("results/a/b").is_dir() && scratch.join("x/y").is_dir());
    }

    #[test]
    fn files_of_the_process_are_refused_under_every_name() {
        let scratch = Scratch::new("own");
        let access = scratch.access();
        fs::hard_link(scratch.join("users.db"), scratch.join("scenarios/hard")).unwrap();
        fs::hard_link(scratch.join("users.db"), scratch.join("results/hard")).unwrap();
        symlink(scratch.join("users.db"), scratch.join("scenarios/soft")).unwrap();
        for access in [access.clone(), access.confined()] {
            for name in ["users.db", "scenarios/hard", "scenarios/soft", "scenarios/../users.db"] {
                assert_refused(access.read(&scratch.join(name)));
            }
            let not_there = ["users.db-wal", "results/../users.db-wal"];
            let written = ["users.db", "results/hard", "scenarios/soft", "scenarios/text"];
            for name in written.into_iter().chain(not_there) {
                assert_refused(access.open_to_write(&scratch.join(name), false));
                assert_refused(access.check_replaceable(&scratch.join(name)));
            }
            assert_eq!(access.read(&scratch.join("scenarios/text")).unwrap(), b"text");
        }
        assert_eq!(fs::read(scratch.join("users.db")).unwrap(), b"secret");
        assert_eq!(fs::read(scratch.join("scenarios/text")).unwrap(), b"text");
        assert!(!scratch.join("users.db-wal").exists());
        fs::write(scratch.join("results/log"), "a log").unwrap();
        assert_refused(access.read(&scratch.join("results/log")));
        assert!(access.open_to_write(&scratch.join("results/log"), true).is_ok());
        assert_eq!(fs::read(scratch.join("results/log")).unwrap(), b"a log");
    }

    #[test]
    fn a_client_of_the_api_stays_in_its_folders() {
        let scratch = Scratch::new("confined");
        let access = scratch.access().confined();
        fs::write(scratch.join("other"), "other").unwrap();
        symlink(scratch.join("other"), scratch.join("scenarios/out")).unwrap();
        symlink(scratch.join(""), scratch.join("results/up")).unwrap();
        for name in ["other", "scenarios/out", "scenarios/../other", "results/log"] {
            assert_refused(access.read(&scratch.join(name)));
        }
        for name in ["other", "results/up/new", "scenarios/new", "results/../new"] {
            assert_refused(access.open_to_write(&scratch.join(name), false));
            assert_refused(access.check_replaceable(&scratch.join(name)));
        }
        assert!(access.open_to_write(&scratch.join("results/new"), false).is_ok());
        assert!(access.check_replaceable(&scratch.join("results/summary")).is_ok());
        assert!(access.check_replaceable(&scratch.join("results/none/summary")).is_err());
        for path in ["../other", "a/../../b", "/etc/passwd", "", "."] {
            assert!(access.place(Folder::Scenarios, Path::new(path)).is_err(), "{path}");
        }
        let inner = Ok(scratch.join("scenarios/a/b"));
        assert_eq!(access.place(Folder::Scenarios, Path::new("a/b")), inner);
        assert_eq!(access.place(Folder::Scenarios, &scratch.join("scenarios/a/b")), inner);
    }

    #[test]
    fn files_that_the_process_has_later_are_kept_from_runs_that_go_on() {
        let scratch = Scratch::new("later");
        let access = scratch.access();
        let (running, client) = (access.clone(), access.confined());
        fs::write(scratch.join("key.pem"), "key").unwrap();
        fs::write(scratch.join("scenarios/key.pem"), "key").unwrap();
        assert!(running.open_to_read(&scratch.join("key.pem")).is_ok());
        let own = |name| OwnFile { role: "new", path: scratch.join(name), kind: OwnKind::Secret };
        access.protect(vec![own("key.pem"), own("scenarios/key.pem"), own("new.db")]);
        assert_refused(running.open_to_read(&scratch.join("key.pem")));
        assert_refused(client.open_to_read(&scratch.join("scenarios/key.pem")));
        assert_refused(running.open_to_write(&scratch.join("new.db"), false));
        assert_eq!(running, access);
        assert_ne!(client, access);
    }

    #[test]
    fn marks_of_clients_scenarios_are_refused_to_everybody() {
        let scratch = Scratch::new("marks");
        let mark = scratch.join("results/.a.xml.sent-by-api");
        fs::write(&mark, "a mark").unwrap();
        symlink(&mark, scratch.join("results/link")).unwrap();
        for access in [Access::default(), scratch.access(), scratch.access().confined()] {
            for path in [&mark, &scratch.join("results/link")] {
                assert_refused(access.read(path));
                assert_refused(access.read_material(path));
                assert_refused(access.open_to_write(path, false));
                assert_refused(access.check_replaceable(path));
                assert!(access.own_at(path, &[]).is_some());
            }
            assert_refused(access.open_to_write(&scratch.join("results/.b.sent-by-api"), false));
        }
        assert_eq!(fs::read(&mark).unwrap(), b"a mark");
    }

    #[test]
    fn names_of_one_file_are_recognised() {
        let scratch = Scratch::new("one");
        symlink(scratch.join("results"), scratch.join("also")).unwrap();
        assert!(is_one_file(&scratch.join("results/a"), &scratch.join("also/a")));
        assert!(is_one_file(&scratch.join("users.db"), &scratch.join("also/../users.db")));
        assert!(!is_one_file(&scratch.join("results/a"), &scratch.join("scenarios/a")));
        let shown = without_dots(&scratch.join("scenarios/../users.db"));
        assert_eq!(shown, fs::canonicalize(scratch.join("users.db")).unwrap());
        // The result does not change once the path exists.
        let later = scratch.join("scenarios/../new/data");
        let before = without_dots(&later);
        fs::create_dir_all(&later).unwrap();
        assert_eq!(before, without_dots(&later));
        assert_eq!(before, fs::canonicalize(&later).unwrap());
    }
}
