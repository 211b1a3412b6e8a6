//! Files that only their owner may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Permissions of the files: for the owner only.
const MODE: u32 = 0o600;

/// Writes `path` whole or not at all. The file is readable by its owner only at every moment.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    // A file left by a crash may have other permissions.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = create(&temporary).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory_of(path))?.sync_all()
    });
    if written.is_err() {
        // It may have been renamed already; the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Makes an empty file, if there is none.
pub(super) fn create_if_absent(path: &Path) -> io::Result<()> {
    match create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map(|_| ()),
    }
}

/// Takes the permissions of others from an existing file.
pub(super) fn restrict(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))
}

/// Creates `path` for its owner only; the file must not exist.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    give_to_owner_of_directory(&file, path);
    Ok(file)
}

/// Gives a file to the owner of its directory. The service could not read a file of root's in its
/// own folder. It goes by the open file, as that owner may replace the name meanwhile.
fn give_to_owner_of_directory(file: &File, path: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    if let Ok(directory) = fs::metadata(directory_of(path)) {
        // Without the right to give files away it stays root's; opening it will report that.
        let _ = fchown(file, Some(directory.uid()), Some(directory.gid()));
    }
}

fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{}", std::process::id())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::auth::scratch::Scratch;

    #[test]
    fn a_file_is_replaced_whole_and_for_its_owner_only() {
        let scratch = Scratch::new();
        let path = scratch.join("secret");
        fs::write(&path, "old and readable by all").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(scratch.names(), ["secret"]);
    }

    #[test]
    fn an_existing_file_is_restricted_and_kept() {
        let scratch = Scratch::new();
        let path = scratch.join("database");
        fs::write(&path, "content").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        create_if_absent(&path).unwrap();
        restrict(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "content");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("taken")).unwrap();
        assert!(write(&scratch.join("taken"), "text").is_err());
        assert!(write(&scratch.join("missing/file"), "text").is_err());
        assert_eq!(scratch.names(), ["taken"]);
    }
}
