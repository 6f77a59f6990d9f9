//! One lock between processes that outlives the death of whoever holds it.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// A robust, process-shared mutex that lives in the region.
///
/// Robust: the kernel gives the lock of a killed process to the next one that asks, and says so.
/// Error-checking: a process that asks for a lock that it holds is refused instead of waiting for itself.
#[repr(transparent)]
pub(crate) struct Lock(UnsafeCell<libc::pthread_mutex_t>);

/// After so many nanoseconds who waits for the lock looks at it unasked.
const LONGEST_SLEEP: libc::c_long = 5_000_000;
const SECOND: libc::c_long = 1_000_000_000;

/// How the lock came into our hands.
pub(crate) enum Acquired {
    /// From nobody, or from an owner that gave it back.
    Free,
    /// From an owner that died with it. What it guards may be half-written. The lock itself is in order
    /// only after [`Lock::mark_consistent`].
    OwnerDied,
    /// Not at all: this thread holds it already, or it cannot be recovered.
    Unavailable,
}

impl Lock {
    /// Makes the mutex in place.
    ///
    /// # Errors
    ///
    /// The system's error number.
    ///
    /// # Safety
    ///
    /// `lock` is valid for writes, aligned, and used by nobody else yet. It stays where it is for as long
    /// as anybody uses it.
    pub(crate) unsafe fn init(lock: *mut Self) -> Result<(), i32> {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes are initialised before anything else is done with them and destroyed
        // after; the mutex is ours alone by this function's contract.
        unsafe {
            check(libc::pthread_mutexattr_init(attributes))?;
            let made =
                check(libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED))
                    .and_then(|()| {
                        check(libc::pthread_mutexattr_setrobust(
                            attributes,
                            libc::PTHREAD_MUTEX_ROBUST,
                        ))
                    })
                    .and_then(|()| {
                        check(libc::pthread_mutexattr_settype(
                            attributes,
                            libc::PTHREAD_MUTEX_ERRORCHECK,
                        ))
                    })
                    .and_then(|()| check(libc::pthread_mutex_init(lock.cast(), attributes)));
            libc::pthread_mutexattr_destroy(attributes);
            made
        }
    }

    /// Waits for the lock. Uncontended, this is no system call.
    ///
    /// No wait is for ever: if the process that is woken is killed before it has the lock, and another one has
    /// taken it meanwhile, which knows of nobody that waits, then nobody is woken any more.
    #[inline]
    pub(crate) fn acquire(&self) -> Acquired {
        // SAFETY: a `&Lock` exists only where `init` has made the mutex.
        let mut result = unsafe { libc::pthread_mutex_trylock(self.0.get()) };
        while matches!(result, libc::EBUSY | libc::ETIMEDOUT) {
            result = self.wait();
        }
        match result {
            0 => Acquired::Free,
            libc::EOWNERDEAD => Acquired::OwnerDied,
            _ => Acquired::Unavailable,
        }
    }

    /// Waits for at most [`LONGEST_SLEEP`].
    #[cold]
    fn wait(&self) -> i32 {
        let mut until = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the time is this function's own; the mutex as in `acquire`.
        unsafe {
            libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut until);
            until.tv_nsec += LONGEST_SLEEP;
            if until.tv_nsec >= SECOND {
                until.tv_nsec -= SECOND;
                until.tv_sec += 1;
            }
            libc::pthread_mutex_timedlock(self.0.get(), &raw const until)
        }
    }

    /// Declares what the lock guards to be in order again, after [`Acquired::OwnerDied`].
    pub(crate) fn mark_consistent(&self) {
        // SAFETY: as in `acquire`. For a mutex in any other state this is a refused no-op.
        unsafe { libc::pthread_mutex_consistent(self.0.get()) };
    }

    /// Gives the lock back.
    #[inline]
    pub(crate) fn release(&self) {
        // SAFETY: as in `acquire`. A thread that does not hold the lock is refused.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }
}

fn check(error: i32) -> Result<(), i32> {
    if error == 0 { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    use super::*;
    use crate::processes::{Memory, fork, wait, wait_at_most};

    fn lock_in(memory: &Memory) -> &Lock {
        let lock: NonNull<Lock> = memory.base.cast();
        // SAFETY: zeroed, aligned to a page, shared, and mapped until the end of the test.
        unsafe {
            Lock::init(lock.as_ptr()).unwrap();
            lock.as_ref()
        }
    }

    /// Returns when the process sleeps until a lock is free.
    fn wait_until_asleep(pid: libc::pid_t) {
        let sleeps = || {
            let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
            call.starts_with(&format!("{} ", libc::SYS_futex))
        };
        while !sleeps() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_lock_of_a_killed_owner_is_had_and_said_to_be() {
        let memory = Memory::new(4096);
        let lock = lock_in(&memory);
        let child = fork(|| {
            lock.acquire();
            // SAFETY: kills this child.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            0
        });
        wait(child);
        assert!(matches!(lock.acquire(), Acquired::OwnerDied));
        lock.mark_consistent();
        lock.release();
        assert!(matches!(lock.acquire(), Acquired::Free));
        assert!(matches!(lock.acquire(), Acquired::Unavailable), "this thread holds it");
        lock.release();
    }

    /// Two processes wait. The one that is woken is killed before it has the lock, and a third one has taken the lock
    /// meanwhile: this one does not know that somebody waits, and wakes nobody when it gives the lock back.
    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn who_waits_does_not_rely_on_being_woken() {
        const WAITERS: u32 = 1 << 31;
        let memory = Memory::new(4096);
        let lock = lock_in(&memory);
        lock.acquire();
        let child = fork(|| {
            let fine = matches!(lock.acquire(), Acquired::Free);
            lock.release();
            i32::from(!fine)
        });
        wait_until_asleep(child);
        // SAFETY: glibc's mutex begins with the word that is waited for.
        let word = unsafe { memory.base.cast::<AtomicU32>().as_ref() };
        assert_ne!(word.fetch_and(!WAITERS, Relaxed) & WAITERS, 0, "somebody waits");
        lock.release();
        let status = wait_at_most(child, Duration::from_secs(10));
        assert_eq!(status, Some(0), "waits for ever for a lock that is free");
    }
}
