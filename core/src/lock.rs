//! One lock between processes that outlives the death of whoever holds it.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// A robust, process-shared mutex that lives in the region.
///
/// Robust: the kernel gives the lock of a killed process to the next one that asks, and says so.
/// Error-checking: a process that asks for a lock that it holds is refused instead of waiting for itself.
#[repr(transparent)]
pub(crate) struct Lock(UnsafeCell<libc::pthread_mutex_t>);

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
    #[inline]
    pub(crate) fn acquire(&self) -> Acquired {
        // SAFETY: a `&Lock` exists only where `init` has made the mutex.
        match unsafe { libc::pthread_mutex_lock(self.0.get()) } {
            0 => Acquired::Free,
            libc::EOWNERDEAD => Acquired::OwnerDied,
            _ => Acquired::Unavailable,
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
