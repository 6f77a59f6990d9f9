//! One lock between processes that outlives the death of whoever holds it.

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::time::Duration;

/// A robust, process-shared mutex that lives in the region.
///
/// Robust: the kernel gives the lock of a killed process to the next one that asks, and says so.
/// Error-checking: a process that asks for a lock that it holds is refused instead of waiting for itself.
#[repr(transparent)]
pub(crate) struct Lock(UnsafeCell<libc::pthread_mutex_t>);

/// How often a lock is tried without a pause: its owner is mostly about to give it back.
const SPINS: u32 = 100;
/// How often the processor is offered to others after that: the owner may be waiting for it.
const YIELDS: u32 = 20;
/// The first and the longest pause after that, in nanoseconds.
const FIRST_PAUSE: u32 = 20_000;
const LONGEST_PAUSE: u32 = 1_000_000;
/// All pauses together, in nanoseconds. An owner that has kept the lock for as long was stopped (by a signal or a
/// debugger) or starved, and a worker must not wait with it.
const PATIENCE: u32 = 20_000_000;

/// How the lock came into our hands.
pub(crate) enum Acquired {
    /// From nobody, or from an owner that gave it back.
    Free,
    /// From an owner that died with it. What it guards may be half-written. The lock itself is in order
    /// only after [`Lock::mark_consistent`].
    OwnerDied,
    /// Not within [`PATIENCE`].
    Busy,
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

    /// Takes the lock if it is free. This is no system call.
    #[inline]
    pub(crate) fn try_acquire(&self) -> Acquired {
        // SAFETY: a `&Lock` exists only where `init` has made the mutex.
        match unsafe { libc::pthread_mutex_trylock(self.0.get()) } {
            0 => Acquired::Free,
            libc::EOWNERDEAD => Acquired::OwnerDied,
            libc::EBUSY => Acquired::Busy,
            _ => Acquired::Unavailable,
        }
    }

    /// Tries a lock whose owner is about to give it back, without a pause.
    fn spin(&self) -> Acquired {
        for tries in 0..SPINS + YIELDS {
            match self.try_acquire() {
                Acquired::Busy if tries < SPINS => std::hint::spin_loop(),
                Acquired::Busy => std::thread::yield_now(),
                acquired => return acquired,
            }
        }
        Acquired::Busy
    }

    /// Tries the lock until it is free or [`PATIENCE`] is over. The system's own waits are not used: they end by the wall
    /// clock, which may be set back meanwhile, or by a wake-up, which goes astray when the process that gets it is killed.
    fn wait(&self) -> Acquired {
        let (mut pause, mut left) = (FIRST_PAUSE, PATIENCE);
        while left > 0 {
            // Of the monotonic clock.
            std::thread::sleep(Duration::from_nanos(pause.into()));
            match self.try_acquire() {
                Acquired::Busy => {}
                acquired => return acquired,
            }
            left = left.saturating_sub(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Acquired::Busy
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

/// Locks, of up to 64, that this process has waited for in vain. Until it has such a lock again it does not wait for it a
/// second time: else each look-up would cost as much as the first.
#[derive(Default)]
pub(crate) struct HeldUp {
    locks: Cell<u64>,
    is_news: Cell<bool>,
}

impl HeldUp {
    /// Takes a lock, the one of that number (modulo 64), and waits for it if need be. Uncontended, this is no system call.
    #[inline]
    pub(crate) fn acquire(&self, lock: &Lock, number: usize) -> Acquired {
        match lock.try_acquire() {
            Acquired::Busy => self.wait_for(lock, number),
            acquired => {
                if self.locks.get() != 0 {
                    self.note(number, false);
                }
                acquired
            }
        }
    }

    #[cold]
    fn wait_for(&self, lock: &Lock, number: usize) -> Acquired {
        let mut acquired = lock.spin();
        if matches!(acquired, Acquired::Busy) && self.locks.get() & Self::bit(number) == 0 {
            acquired = lock.wait();
            self.is_news.set(self.is_news.get() | matches!(acquired, Acquired::Busy));
        }
        self.note(number, matches!(acquired, Acquired::Busy));
        acquired
    }

    fn bit(number: usize) -> u64 {
        1 << (number % 64)
    }

    fn note(&self, number: usize, in_vain: bool) {
        let others = self.locks.get() & !Self::bit(number);
        self.locks.set(if in_vain { others | Self::bit(number) } else { others });
    }

    /// Whether a lock was waited for in vain since this was last asked.
    pub(crate) fn take(&self) -> bool {
        self.is_news.take()
    }
}

fn check(error: i32) -> Result<(), i32> {
    if error == 0 { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::*;
    use crate::processes::{Memory, fork, wait};

    fn lock_in(memory: &Memory) -> &Lock {
        let lock: NonNull<Lock> = memory.base.cast();
        // SAFETY: zeroed, aligned to a page, shared, and mapped until the end of the test.
        unsafe {
            Lock::init(lock.as_ptr()).unwrap();
            lock.as_ref()
        }
    }

    #[test]
    fn the_lock_of_a_killed_owner_is_had_and_said_to_be() {
        let memory = Memory::new(4096);
        let lock = lock_in(&memory);
        let child = fork(|| {
            lock.try_acquire();
            // SAFETY: kills this child.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            0
        });
        wait(child);
        assert!(matches!(lock.try_acquire(), Acquired::OwnerDied));
        lock.mark_consistent();
        lock.release();
        assert!(matches!(lock.try_acquire(), Acquired::Free));
        assert!(matches!(lock.try_acquire(), Acquired::Unavailable), "this thread holds it");
        lock.release();
    }

    /// A process that takes the lock, says so in the word behind it, and keeps it until it is killed.
    fn owner_of(memory: &Memory, lock: &Lock) -> libc::pid_t {
        // SAFETY: within the mapping, aligned, and a boolean while it is zero or what is stored here.
        let taken = unsafe { memory.base.byte_add(2048).cast::<AtomicBool>().as_ref() };
        let child = fork(|| {
            lock.try_acquire();
            taken.store(true, SeqCst);
            loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            }
        });
        while !taken.load(SeqCst) {
            std::thread::yield_now();
        }
        child
    }

    #[test]
    fn a_lock_that_is_not_given_back_is_waited_for_in_vain_but_not_for_ever() {
        let memory = Memory::new(4096);
        let lock = lock_in(&memory);
        let owner = owner_of(&memory, lock);
        let held_up = HeldUp::default();
        assert!(matches!(lock.try_acquire(), Acquired::Busy));
        assert!(!held_up.take());
        assert!(matches!(held_up.acquire(lock, 3), Acquired::Busy));
        assert!(held_up.take());
        // It is known to be held up, and that is no news.
        assert!(matches!(held_up.acquire(lock, 3), Acquired::Busy));
        assert!(!held_up.take());
        // SAFETY: kills a child of this test's.
        unsafe { libc::kill(owner, libc::SIGKILL) };
        wait(owner);
        assert!(matches!(held_up.acquire(lock, 3), Acquired::OwnerDied));
        assert_eq!(held_up.locks.get(), 0, "and is waited for again");
    }

    #[test]
    fn a_lock_that_was_had_again_is_waited_for_again() {
        let memory = Memory::new(4096);
        let lock = lock_in(&memory);
        let held_up = HeldUp::default();
        let owner = owner_of(&memory, lock);
        assert!(matches!(held_up.acquire(lock, 3), Acquired::Busy));
        // SAFETY: kills a child of this test's.
        unsafe { libc::kill(owner, libc::SIGKILL) };
        wait(owner);
        assert!(matches!(lock.try_acquire(), Acquired::OwnerDied));
        lock.mark_consistent();
        lock.release();
        // Free at the first try.
        assert!(matches!(held_up.acquire(lock, 3), Acquired::Free));
        assert_eq!(held_up.locks.get(), 0);
    }

    #[test]
    fn who_waits_has_the_lock_when_it_is_given_back() {
        let memory = Memory::new(4096);
        let lock = lock_in(&memory);
        lock.try_acquire();
        let child = fork(|| {
            let mut acquired = lock.try_acquire();
            while matches!(acquired, Acquired::Busy) {
                acquired = HeldUp::default().acquire(lock, 0);
            }
            lock.release();
            i32::from(!matches!(acquired, Acquired::Free))
        });
        lock.release();
        assert_eq!(wait(child), 0);
    }
}
