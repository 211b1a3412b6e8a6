use super::*;

/// A directory that is removed with the test.
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

/// Writes the waiting bytes, like a backend does.
fn write(files: &mut Files) {
    use std::os::unix::fs::FileExt as _;
    for output in files.outputs_mut() {
        while let Some((file, piece)) = output.take_piece() {
            file.write_all_at(&piece.bytes, piece.position.unwrap()).unwrap();
            let written = piece.bytes.len() as u64;
            output.give_back(file, piece, written, None);
        }
        assert_eq!(output.take_complaint(Instant::now(), true), None);
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
fn what_cannot_be_written_is_counted_by_kind_and_said_once_a_minute() {
    let scratch = Scratch::new("lost");
    let mut files = Files::default();
    let id = files.open(scratch.spec("log", Rotation::default())).unwrap();
    let begin = Instant::now();
    let mut told = Vec::new();
    // Two minutes on a disk that takes the first four bytes each time.
    for second in 0..120 {
        for kind in [Some(TraceKind::Log), Some(TraceKind::Late), None] {
            files.set_kind(kind);
            files.append(id, b"012", 1);
        }
        for output in files.outputs_mut() {
            let (file, piece) = output.take_piece().unwrap();
            output.give_back(file, piece, 4, Some(io::ErrorKind::StorageFull.into()));
            told.extend(output.take_complaint(begin + Duration::from_secs(second), false));
        }
    }
    let unwritten = files.unwritten();
    let counts = [TraceKind::Log, TraceKind::Late].map(|kind| unwritten.records.count(kind));
    assert_eq!((counts, unwritten.rows, unwritten.bytes), ([0, 120], 120, 600));
    let last = files.outputs_mut()[0].take_complaint(begin, true);
    told.extend(last);
    let path = scratch.0.join("log").display().to_string();
    let expected = [
        "; 2 entries are lost so far; later losses are counted",
        "; 120 more entries are lost, 122 in all",
        "; 118 more entries are lost, 240 in all",
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, end) in told.iter().zip(expected) {
        assert!(
            told.starts_with(&format!("cannot write {path}: ")) && told.ends_with(end),
            "{told}"
        );
    }
    // Without a failure there is no complaint.
    assert_eq!(files.outputs_mut()[0].take_complaint(begin + 9 * QUIET, false), None);
}

#[test]
fn entries_of_a_file_that_is_put_aside_are_told_from_those_behind_them() {
    let scratch = Scratch::new("cut");
    let mut files = Files::default();
    let rotation = Rotation { size: 10, files: 2, limit: 0 };
    let id = files.open(scratch.spec("log", rotation)).unwrap();
    for kind in [TraceKind::Log, TraceKind::Late, TraceKind::Error] {
        files.set_kind(Some(kind));
        files.append(id, b"0123456", 1);
    }
    let output = &mut files.outputs_mut()[0];
    // Two entries and the end of the file, and one behind it.
    let (file, piece) = output.take_piece().unwrap();
    output.give_back(file, piece, 7, Some(io::ErrorKind::StorageFull.into()));
    let (file, piece) = output.take_piece().unwrap();
    output.give_back(file, piece, 7, None);
    let lost: Vec<_> = files.unwritten().records.nonzero().collect();
    assert_eq!(lost, [(TraceKind::Late, 1)]);
}
