use super::*;

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gossipper-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn spec(&self, name: &str, rotation: Rotation) -> FileSpec {
        FileSpec { path: self.0.join(name), overwrite: true, rotation }
    }

    /// Names and contents, sorted.
    fn files(&self) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes what waits, as a backend does.
fn write(files: &mut Files) {
    use std::os::unix::fs::FileExt as _;
    for output in files.outputs_mut() {
        while let Some((file, piece)) = output.take_piece() {
            file.write_all_at(&piece.bytes, piece.position.unwrap()).unwrap();
            let written = piece.bytes.len() as u64;
            output.give_back(file, piece, written, None);
        }
        assert!(output.take_failure().is_none());
    }
}

fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect()
}

#[test]
fn a_full_file_is_put_aside_and_the_oldest_removed() {
    let scratch = Scratch::new("rotate");
    let rotation = Rotation { size: 10, files: 2, limit: 0 };
    let mut files = Files::default();
    let id = files.open(scratch.spec("a_messages.log", rotation)).unwrap();
    for (entry, unix_s) in [("first 1234\n", 100), ("second 123\n", 100), ("third 1234\n", 101)] {
        files.append(id, entry.as_bytes(), unix_s);
    }
    files.append(id, b"rest\n", 102);
    write(&mut files);
    let expected = [
        ("a_messages.log", "rest\n"),
        ("a_messages_100.1.log", "second 123\n"),
        ("a_messages_101.log", "third 1234\n"),
    ];
    assert_eq!(scratch.files(), owned(&expected));
}

#[test]
fn without_files_to_keep_a_full_file_begins_anew() {
    let scratch = Scratch::new("restart");
    let mut files = Files::default();
    let rotation = Rotation { size: 10, files: 0, limit: 0 };
    let id = files.open(scratch.spec("log", rotation)).unwrap();
    files.append(id, b"0123456789ab", 1);
    write(&mut files);
    files.append(id, b"new", 2);
    write(&mut files);
    assert_eq!(scratch.files(), owned(&[("log", "new")]));
}

#[test]
fn a_file_at_its_limit_takes_no_more() {
    let scratch = Scratch::new("limit");
    let mut files = Files::default();
    let id =
        files.open(scratch.spec("log", Rotation { limit: 10, ..Rotation::default() })).unwrap();
    files.append(id, b"01234567", 1);
    files.append(id, b"too long", 1);
    files.append(id, b"89", 1);
    write(&mut files);
    assert_eq!(scratch.files(), owned(&[("log", "0123456789")]));
}

#[test]
fn a_file_is_replaced_or_continued() {
    let scratch = Scratch::new("append");
    for (overwrite, expected) in [(true, "ab"), (false, "abab"), (true, "ab")] {
        let mut files = Files::default();
        let spec = FileSpec { overwrite, ..scratch.spec("log", Rotation::default()) };
        let id = files.open(spec).unwrap();
        files.append(id, b"a", 1);
        write(&mut files);
        files.append(id, b"b", 1);
        write(&mut files);
        assert_eq!(scratch.files(), owned(&[("log", expected)]));
    }
}

#[test]
fn one_path_is_one_file() {
    let scratch = Scratch::new("same");
    let mut files = Files::default();
    let spec = scratch.spec("log", Rotation::default());
    assert_eq!(files.open(spec.clone()).unwrap(), files.open(spec).unwrap());
}

#[test]
fn what_cannot_be_written_is_counted_and_said_once() {
    let scratch = Scratch::new("lost");
    let mut files = Files::default();
    let id = files.open(scratch.spec("log", Rotation::default())).unwrap();
    let mut told = 0;
    for _ in 0..3 {
        files.append(id, b"0123456789", 1);
        for output in files.outputs_mut() {
            let (file, piece) = output.take_piece().unwrap();
            output.give_back(file, piece, 4, Some(io::ErrorKind::StorageFull.into()));
            told += u32::from(output.take_failure().is_some());
        }
    }
    assert_eq!((told, files.lost_bytes()), (1, 18));
}
