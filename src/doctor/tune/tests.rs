use super::*;

/// A root directory with kernel settings of an untuned host, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let scratch = Self(std::env::temp_dir().join(format!("gossipper-tune-{id}-{name}")));
        for (key, value) in [
            ("net/core/rmem_max", "212992"),
            ("net/core/wmem_max", "99999999"),
            ("net/core/netdev_max_backlog", "1000"),
            ("net/core/somaxconn", "4096"),
            ("net/ipv4/ip_local_port_range", "32768\t60999"),
            ("kernel/io_uring_disabled", "2"),
            ("kernel/io_uring_group", "-1"),
        ] {
            scratch.write(&format!("proc/sys/{key}"), &format!("{value}\n"));
        }
        scratch
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_default().trim().to_owned()
    }

    fn carry_out(&self, task: Task) -> (Result<(), TuneError>, String) {
        let mut output = Vec::new();
        let result = Host::new(&self.0, &mut output).carry_out(task);
        (result, String::from_utf8(output).expect("text"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const APPLY: Task = Task::Apply { io_uring: false };

#[test]
fn printing_changes_nothing() {
    let scratch = Scratch::new("print");
    let (result, text) = scratch.carry_out(Task::Print);
    result.expect("printed");
    assert_eq!(text, SETTINGS);
    assert_eq!(scratch.read("proc/sys/net/core/rmem_max"), "212992");
    assert!(settings().count() >= 5);
}

#[test]
fn applying_raises_what_is_lower_and_says_so() {
    let scratch = Scratch::new("apply");
    let (result, text) = scratch.carry_out(APPLY);
    result.expect("applied");
    assert!(text.contains("net.core.rmem_max: 212992 -> 33554432\n"), "{text}");
    assert!(text.contains("net.core.wmem_max: 99999999 is enough\n"), "{text}");
    assert_eq!(scratch.read("proc/sys/net/core/rmem_max"), "33554432");
    assert_eq!(scratch.read("proc/sys/net/core/wmem_max"), "99999999");
    assert_eq!(scratch.read("proc/sys/net/ipv4/ip_local_port_range"), "16384 65535");
    assert_eq!(scratch.read("proc/sys/kernel/io_uring_disabled"), "2", "a matter of policy");
    let lasting = scratch.read(LASTING);
    assert!(lasting.contains("\nnet.core.wmem_max = 99999999\n"), "never lowers: {lasting}");
}

#[test]
fn reverting_brings_everything_back() {
    let scratch = Scratch::new("revert");
    scratch.carry_out(APPLY).0.expect("applied");
    // A second time keeps the values from before the first.
    let (result, text) = scratch.carry_out(APPLY);
    result.expect("applied again");
    assert!(text.contains("nothing to change"), "{text}");
    scratch.write("proc/sys/net/core/somaxconn", "1234\n");
    let (result, text) = scratch.carry_out(Task::Revert);
    result.expect("reverted");
    assert!(text.contains("net.core.somaxconn: left at 1234, because it was changed"), "{text}");
    assert_eq!(scratch.read("proc/sys/net/core/rmem_max"), "212992");
    assert_eq!(scratch.read("proc/sys/net/ipv4/ip_local_port_range"), "32768 60999");
    assert!(!scratch.0.join(LASTING).exists());
    let folder = scratch.0.join(RECORD).parent().expect("a folder").to_owned();
    assert!(!folder.exists(), "the folder of the record is left");
    let (result, _) = scratch.carry_out(Task::Revert);
    assert!(matches!(result, Err(TuneError::NoRecord(_))), "{result:?}");
}

#[test]
fn what_was_only_kept_for_restarts_goes_too() {
    let scratch = Scratch::new("enough");
    scratch.carry_out(APPLY).0.expect("applied");
    fs::remove_file(scratch.0.join(RECORD)).expect("removed");
    let (result, text) = scratch.carry_out(APPLY);
    result.expect("applied again");
    assert!(text.contains("nothing to change"), "{text}");
    scratch.carry_out(Task::Revert).0.expect("reverted");
    assert!(!scratch.0.join(LASTING).exists());
}

#[test]
fn a_file_that_somebody_else_wrote_is_left() {
    let scratch = Scratch::new("foreign");
    scratch.carry_out(APPLY).0.expect("applied");
    scratch.write(LASTING, "net.core.rmem_max = 1\n");
    scratch.carry_out(Task::Revert).0.expect("reverted");
    assert_eq!(scratch.read(LASTING), "net.core.rmem_max = 1");
}

#[test]
fn io_uring_is_allowed_for_our_group_where_there_is_one() {
    let scratch = Scratch::new("group");
    scratch.write("etc/group", "root:x:0:\ngossipper:x:987:\n");
    scratch.carry_out(Task::Apply { io_uring: true }).0.expect("applied");
    assert_eq!(scratch.read("proc/sys/kernel/io_uring_disabled"), "1");
    assert_eq!(scratch.read("proc/sys/kernel/io_uring_group"), "987");
    scratch.carry_out(Task::Revert).0.expect("reverted");
    assert_eq!(scratch.read("proc/sys/kernel/io_uring_disabled"), "2");
    let scratch = Scratch::new("everybody");
    scratch.carry_out(Task::Apply { io_uring: true }).0.expect("applied");
    assert_eq!(scratch.read("proc/sys/kernel/io_uring_disabled"), "0");
}

#[test]
fn a_setting_that_does_not_take_effect_takes_back_the_others() {
    let scratch = Scratch::new("undo");
    let path = scratch.0.join("proc/sys/net/core/netdev_max_backlog");
    fs::remove_file(&path).expect("removed");
    // /dev/null takes every value and keeps none.
    std::os::unix::fs::symlink("/dev/null", &path).expect("a link");
    let (result, _) = scratch.carry_out(APPLY);
    let text = result.expect_err("refused").to_string();
    assert!(text.starts_with("cannot set net.core.netdev_max_backlog to \"65536\": "), "{text}");
    assert_eq!(scratch.read("proc/sys/net/core/rmem_max"), "212992");
    assert!(!scratch.0.join(LASTING).exists() && !scratch.0.join(RECORD).exists());
}

#[test]
fn a_setting_that_this_kernel_lacks_is_left_out() {
    let scratch = Scratch::new("lacks");
    fs::remove_file(scratch.0.join("proc/sys/net/core/somaxconn")).expect("removed");
    let (result, text) = scratch.carry_out(APPLY);
    result.expect("applied");
    assert!(text.contains("net.core.somaxconn: not on this kernel, left out\n"), "{text}");
    assert!(!scratch.read(LASTING).contains("somaxconn"));
}

#[test]
fn a_broken_record_is_named() {
    let scratch = Scratch::new("broken");
    scratch.write(RECORD, "{");
    for task in [APPLY, Task::Revert] {
        let (result, _) = scratch.carry_out(task);
        let text = result.expect_err("refused").to_string();
        assert!(text.contains("tune.json is not a record"), "{text}");
    }
    assert_eq!(scratch.read("proc/sys/net/core/rmem_max"), "212992");
}

#[test]
fn merging_never_lowers() {
    for (now, wanted, expected) in [
        ("1", "2", "2"),
        ("3", "2", "3"),
        ("1024 60999", "16384 65535", "1024 65535"),
        ("odd", "2", "2"),
    ] {
        assert_eq!(merged("net.x", now, wanted), expected);
    }
    assert_eq!(merged("kernel.io_uring_disabled", "2", "0"), "0");
}
