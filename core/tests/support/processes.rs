//! Memory that processes share, and processes that are forked and killed.

use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// Zeroed memory that child processes share, unmapped at the end.
pub(crate) struct Memory {
    pub(crate) base: NonNull<u8>,
    pub(crate) len: usize,
}

impl Memory {
    pub(crate) fn new(len: usize) -> Self {
        Self::map(len, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)
    }

    pub(crate) fn map(len: usize, flags: i32, file: i32) -> Self {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping, which replaces none.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, file, 0) };
        assert!(base != libc::MAP_FAILED);
        Self { base: NonNull::new(base.cast()).unwrap(), len }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: our own mapping.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Runs `work` in a child process; what it returns is the exit status.
pub(crate) fn fork(work: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: the child only computes in its own memory and the region, and leaves without unwinding.
    match unsafe { libc::fork() } {
        0 => {
            // A panic must not run on into the copy of whoever forked.
            let end = EndOfChild;
            // SAFETY: a plain system call: the child ends with the thread that made it.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let status = work();
            std::mem::forget(end);
            // SAFETY: ends the child.
            unsafe { libc::_exit(status) }
        }
        pid => {
            assert!(pid > 0);
            pid
        }
    }
}

struct EndOfChild;

impl Drop for EndOfChild {
    fn drop(&mut self) {
        // SAFETY: ends the child.
        unsafe { libc::_exit(101) }
    }
}

pub(crate) fn wait(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

/// The status of a child; `None` if it does not end, and is killed.
pub(crate) fn wait_at_most(pid: libc::pid_t, most: Duration) -> Option<i32> {
    let begin = Instant::now();
    let mut status = 0;
    // SAFETY: our own child.
    while unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == 0 {
        if begin.elapsed() > most {
            kill(pid);
            wait(pid);
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Some(status)
}

pub(crate) fn kill(pid: libc::pid_t) {
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}
