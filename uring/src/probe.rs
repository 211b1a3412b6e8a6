//! Test of whether this kernel, container and user may use io_uring. A refusal says why not and
//! what to do.

use std::fmt;
use std::fs;
use std::io;

use io_uring::{Probe, opcode};

use crate::sys;
use crate::uring::ring;

/// The oldest kernel with the ring flags that we rely on.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Abilities of the running kernel beyond the minimum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// `uname -r`.
    pub kernel: String,
    /// An absolute deadline can ride on the enter call (6.12).
    pub absolute_deadline: bool,
    /// The submission queue needs no index array (6.6).
    pub no_sqarray: bool,
}

/// The reason why io_uring cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The kernel is too old: it lacks flags or operations that we rely on.
    #[error(
        "kernel {kernel} is too old for io_uring here (6.1 or newer is needed): run with -io syscall"
    )]
    KernelTooOld {
        /// `uname -r`.
        kernel: String,
    },
    /// Compiled out.
    #[error("kernel {kernel} was built without io_uring: run with -io syscall")]
    NotBuilt {
        /// `uname -r`.
        kernel: String,
    },
    /// The sysctl forbids it.
    #[error(
        "kernel {kernel} forbids io_uring (kernel.io_uring_disabled = {value}{group}): \
         \"sysctl -w kernel.io_uring_disabled=0\", or run with -io syscall",
        group = Group(*group)
    )]
    Sysctl {
        /// `uname -r`.
        kernel: String,
        /// 1: only privileged processes and one group may use it; 2: no process may.
        value: u32,
        /// `kernel.io_uring_group`, if set.
        group: Option<u32>,
    },
    /// A seccomp filter forbids it, as container engines do by default.
    #[error(
        "a seccomp filter forbids io_uring (kernel {kernel}; usual in containers): allow \
         io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile, or \
         run with -io syscall"
    )]
    Seccomp {
        /// `uname -r`.
        kernel: String,
    },
    /// Locked memory does not suffice.
    #[error(
        "the ring does not fit the limit on locked memory ({limit_kib} KiB, kernel {kernel}): raise it \
         (\"ulimit -l unlimited\", LimitMEMLOCK=infinity), or run with -io syscall"
    )]
    Memlock {
        /// `uname -r`.
        kernel: String,
        /// `RLIMIT_MEMLOCK` in KiB.
        limit_kib: u64,
    },
    /// An operation is missing.
    #[error("kernel {kernel} lacks the io_uring operation {operation}: run with -io syscall")]
    OperationMissing {
        /// `uname -r`.
        kernel: String,
        /// The name of the operation.
        operation: &'static str,
    },
    /// Any other error.
    #[error("io_uring is not available (kernel {kernel}): {cause}: run with -io syscall")]
    Other {
        /// `uname -r`.
        kernel: String,
        /// The kernel's error text.
        cause: String,
    },
}

/// The driver that the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoChoice {
    /// io_uring where possible, else system calls.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// System calls.
    Syscall,
}

/// The driver that [`IoChoice::resolve`] arrived at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// io_uring, with what the kernel offers.
    Uring(Features),
    /// System calls, with a one-line notice when they are second choice.
    Syscall(Option<String>),
}

impl IoChoice {
    /// Picks the driver. The notice of [`Resolved::Syscall`] names the cause when `Auto` fell back.
    ///
    /// # Errors
    /// The refusal, when io_uring was asked for and cannot be had.
    pub fn resolve(self) -> Result<Resolved, Refusal> {
        self.resolve_with(probe)
    }

    fn resolve_with(
        self,
        probe: impl FnOnce() -> Result<Features, Refusal>,
    ) -> Result<Resolved, Refusal> {
        match self {
            Self::Syscall => Ok(Resolved::Syscall(None)),
            Self::Uring => probe().map(Resolved::Uring),
            Self::Auto => Ok(match probe() {
                Ok(features) => Resolved::Uring(features),
                Err(refusal) => {
                    let cause = refusal.cause();
                    Resolved::Syscall(Some(format!("using plain system calls: {cause}")))
                }
            }),
        }
    }
}

impl Refusal {
    /// The cause alone, without the advice to choose the other driver.
    #[must_use]
    pub fn cause(&self) -> String {
        let text = self.to_string();
        for advice in [": run with -io syscall", ", or run with -io syscall"] {
            if let Some(cause) = text.strip_suffix(advice) {
                return cause.to_owned();
            }
        }
        text
    }
}

/// Creates a small ring and looks for everything that the `uring` driver needs.
///
/// # Errors
/// The reason why io_uring cannot be used.
pub fn probe() -> Result<Features, Refusal> {
    let kernel = sys::kernel_release();
    let ring =
        ring::build(8, 16).map_err(|error| Circumstances::read(kernel.clone()).explain(&error))?;
    if version(&kernel).is_some_and(|version| version < KERNEL_MIN) {
        return Err(Refusal::KernelTooOld { kernel });
    }
    let mut found = Probe::new();
    if let Err(error) = ring.submitter().register_probe(&mut found) {
        return Err(Circumstances::read(kernel).explain(&error));
    }
    let needed = [
        (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
        (opcode::Read::CODE, "READ"),
        (opcode::RecvMsg::CODE, "RECVMSG"),
        (opcode::Send::CODE, "SEND"),
        (opcode::SendMsg::CODE, "SENDMSG"),
        // SEND_ZC came with 6.0, together with addresses on SEND and multishot RECVMSG, which a
        // probe cannot ask for.
        (opcode::SendZc::CODE, "SEND_ZC"),
    ];
    for (code, operation) in needed {
        if !found.is_supported(code) {
            return Err(Refusal::OperationMissing { kernel, operation });
        }
    }
    Ok(Features {
        absolute_deadline: ring.params().is_feature_min_timeout(),
        no_sqarray: version(&kernel).is_some_and(|version| version >= (6, 6)),
        kernel,
    })
}

/// Facts of the system that explain the errno of a refused set-up.
#[derive(Clone, Debug)]
struct Circumstances {
    kernel: String,
    disabled: Option<u32>,
    group: Option<u32>,
    seccomp_filter: bool,
    memlock: Option<u64>,
}

impl Circumstances {
    fn read(kernel: String) -> Self {
        let number = |path: &str| {
            fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<i64>().ok())
        };
        let unsigned = |value: i64| u32::try_from(value).ok();
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        Self {
            kernel,
            disabled: number("/proc/sys/kernel/io_uring_disabled").and_then(unsigned),
            group: number("/proc/sys/kernel/io_uring_group").and_then(unsigned),
            seccomp_filter: seccomp.is_some_and(|mode| mode.trim() == "2"),
            memlock: sys::memlock_limit(),
        }
    }

    fn explain(self, error: &io::Error) -> Refusal {
        let Self { kernel, disabled, group, seccomp_filter, memlock } = self;
        match (error.raw_os_error(), disabled, memlock) {
            // The kernel answers EPERM to both; the sysctl can be read, so it is asked first.
            (Some(libc::EPERM | libc::EACCES), Some(value @ 1..), _) => {
                Refusal::Sysctl { kernel, value, group }
            }
            (Some(libc::EPERM | libc::EACCES), _, _) if seccomp_filter => {
                Refusal::Seccomp { kernel }
            }
            // Some filters answer as if the call did not exist.
            (Some(libc::ENOSYS), _, _) if seccomp_filter => Refusal::Seccomp { kernel },
            (Some(libc::ENOSYS), _, _) => match version(&kernel) {
                Some(version) if version < KERNEL_MIN => Refusal::KernelTooOld { kernel },
                _ => Refusal::NotBuilt { kernel },
            },
            (Some(libc::EINVAL), _, _) => Refusal::KernelTooOld { kernel },
            (Some(libc::ENOMEM), _, Some(limit)) => {
                Refusal::Memlock { kernel, limit_kib: limit / 1024 }
            }
            _ => Refusal::Other { kernel, cause: error.to_string() },
        }
    }
}

/// Formats an optional group number.
struct Group(Option<u32>);

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(group) => write!(f, ", kernel.io_uring_group = {group}"),
            None => Ok(()),
        }
    }
}

/// Major and minor of a kernel release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circumstances() -> Circumstances {
        Circumstances {
            kernel: "6.12.9".to_owned(),
            disabled: Some(0),
            group: None,
            seccomp_filter: false,
            memlock: None,
        }
    }

    fn errno(errno: i32) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    #[test]
    fn releases_are_parsed() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("6.1"), Some((6, 1)));
        assert_eq!(version("five"), None);
    }

    #[test]
    fn the_sysctl_is_named_with_the_fix() {
        let found = Circumstances { disabled: Some(1), group: Some(5), ..circumstances() };
        let text = found.explain(&errno(libc::EPERM)).to_string();
        for part in ["6.12.9", "kernel.io_uring_disabled = 1", "io_uring_group = 5", "sysctl -w"] {
            assert!(text.contains(part), "{part:?} in {text:?}");
        }
    }

    #[test]
    fn a_seccomp_filter_is_told_from_a_kernel_without_io_uring() {
        let filtered = Circumstances { seccomp_filter: true, ..circumstances() };
        for code in [libc::EPERM, libc::ENOSYS] {
            let refusal = filtered.clone().explain(&errno(code));
            assert!(matches!(refusal, Refusal::Seccomp { .. }), "{refusal}");
        }
        let refusal = circumstances().explain(&errno(libc::ENOSYS));
        assert!(matches!(refusal, Refusal::NotBuilt { .. }), "{refusal}");
    }

    #[test]
    fn a_real_filter_is_recognised() {
        let refusal = std::thread::spawn(|| {
            deny_io_uring();
            probe().expect_err("filtered")
        })
        .join()
        .expect("no panic");
        assert!(matches!(refusal, Refusal::Seccomp { .. }), "{refusal}");
    }

    /// Makes `io_uring_setup` fail with `EPERM` on this thread, as container engines do.
    fn deny_io_uring() {
        let op = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let mut program = [
            op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
            op(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
            op(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
        // SAFETY: passes a live program; both calls concern this thread only.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
                    == 0
        };
        assert!(done, "{}", io::Error::last_os_error());
    }

    #[test]
    fn the_running_kernel_is_named_either_way() {
        match probe() {
            Ok(features) => assert_eq!(features.kernel, sys::kernel_release()),
            Err(refusal) => assert!(refusal.to_string().contains(&sys::kernel_release())),
        }
    }

    #[test]
    fn an_old_kernel_and_locked_memory_are_named() {
        let old = Circumstances { kernel: "5.15.0".to_owned(), ..circumstances() };
        let refusal = old.explain(&errno(libc::EINVAL));
        assert!(refusal.to_string().contains("5.15.0"), "{refusal}");
        let tight = Circumstances { memlock: Some(65_536), ..circumstances() };
        let refusal = tight.explain(&errno(libc::ENOMEM));
        assert!(refusal.to_string().contains("64 KiB"), "{refusal}");
    }

    #[test]
    fn auto_falls_back_with_one_line_that_names_the_cause() {
        let refused = || Err(circumstances().explain(&errno(libc::ENOSYS)));
        let Ok(Resolved::Syscall(Some(notice))) = IoChoice::Auto.resolve_with(refused) else {
            panic!("no fallback")
        };
        assert!(notice.contains("built without io_uring") && !notice.contains('\n'), "{notice}");
        assert!(!notice.contains("-io syscall"), "no advice to do what was just done: {notice}");
        assert!(IoChoice::Uring.resolve_with(refused).is_err());
        assert_eq!(IoChoice::Syscall.resolve_with(refused), Ok(Resolved::Syscall(None)));
    }
}
