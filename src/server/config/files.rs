//! Checks of files that a configuration names. They change nothing.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use crate::files::{Access, Folder};
use crate::output::try_file;

/// The reason why a path cannot be used for its purpose: `read`, `write` or `directory`.
pub(super) fn unusable(path: &Path, purpose: &str) -> Option<String> {
    let shown = path.display();
    match purpose {
        "read" => match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                Some(format!("{shown} is a directory; name a file"))
            }
            // Opening a pipe would wait for its other end.
            Ok(metadata) if !metadata.is_file() => None,
            Ok(_) => File::open(path).err().map(|error| cannot("read", path, &error)),
            Err(error) => Some(cannot("read", path, &error)),
        },
        "write" if path.is_dir() => Some(format!("{shown} is a directory; name a file")),
        "directory" if path.exists() && !path.is_dir() => {
            Some(format!("{shown} is not a directory; name one"))
        }
        "directory" if path.is_dir() => None,
        _ => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty())?;
            match fs::metadata(parent) {
                Ok(metadata) if metadata.is_dir() => None,
                // The start creates it.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && parent.parent().is_some_and(Path::is_dir) =>
                {
                    None
                }
                Ok(_) => Some(format!("{} is not a directory", parent.display())),
                Err(error) => Some(format!(
                    "cannot write {shown}: the directory {} {}; create it",
                    parent.display(),
                    reason(&error)
                )),
            }
        }
    }
}

/// Tells whether the path leads to something that is neither a file nor a directory. Reading a
/// pipe, for example, may never end.
pub(super) fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Reads at most `max` bytes and one more, so that the caller sees a file that is too long.
pub(super) fn read_bounded(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(max as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// The reason why a client of the API cannot use a file of `folder`, if it cannot.
pub(super) fn refusal_in_folder(
    access: &Access,
    folder: Folder,
    path: &Path,
    is_folder: bool,
) -> Option<String> {
    let (what, tried) = match folder {
        Folder::Scenarios | Folder::Injection => ("read", access.open_to_read(path).map(|_| ())),
        Folder::Tls => ("read", access.read_material(path).map(|_| ())),
        Folder::Results if is_folder => ("use", access.make_folder(path)),
        Folder::Results => ("write", access.check_replaceable(path).and_then(|()| try_file(path))),
    };
    let (shown, name) = (path.display(), folder.name());
    let error = tried.err()?;
    Some(match (error.kind(), what) {
        (io::ErrorKind::NotFound, "read") => format!(
            "cannot read {shown}: it does not exist; put it into the folder {name:?} of the data \
             directory"
        ),
        _ => format!("cannot {what} {shown}: {error}"),
    })
}

/// A message why a file cannot be used, with advice.
pub(super) fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: it {}; correct the path", path.display(), reason(error))
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be opened by this user".to_owned(),
        _ => format!("cannot be opened ({error})"),
    }
}
