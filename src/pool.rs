//! Memory of NGINX's pools as slices, and NGINX's strings as bytes.

use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::slice;

use nginx_sys::{
    ngx_array_push, ngx_array_t, ngx_palloc, ngx_pcalloc, ngx_pfree, ngx_pnalloc,
    ngx_pool_cleanup_add, ngx_pool_t, ngx_str_t,
};

use crate::guard::guard;

/// A pool that lives at least as long as `'p`.
#[derive(Clone, Copy)]
pub(crate) struct Pool<'p>(NonNull<ngx_pool_t>, PhantomData<&'p ngx_pool_t>);

impl<'p> Pool<'p> {
    /// Wraps a pool of NGINX's.
    ///
    /// # Safety
    /// `pool` is a live pool, and outlives `'p`.
    pub(crate) unsafe fn from_ptr(pool: *mut ngx_pool_t) -> Self {
        // SAFETY: the caller says that it is a live pool, hence not null.
        Self(unsafe { NonNull::new_unchecked(pool) }, PhantomData)
    }

    /// NGINX's pointer.
    pub(crate) fn as_ptr(self) -> *mut ngx_pool_t {
        self.0.as_ptr()
    }

    /// `len` bytes, zeroed; `None` where there is no memory.
    pub(crate) fn bytes(self, len: usize) -> Option<&'p mut [u8]> {
        let room = self.room(len)?;
        // SAFETY: all of the room is initialised before it is taken for bytes.
        unsafe {
            let data = room.as_mut_ptr().cast::<u8>();
            ptr::write_bytes(data, 0, len);
            Some(slice::from_raw_parts_mut(data, len))
        }
    }

    /// Room for `len` bytes; `None` where there is no memory.
    pub(crate) fn room(self, len: usize) -> Option<&'p mut [MaybeUninit<u8>]> {
        // SAFETY: the pool is live. Nobody else has a pointer to the room, and it lives as long as the pool.
        unsafe {
            let room = NonNull::new(ngx_pnalloc(self.as_ptr(), len.max(1)))?.cast();
            Some(slice::from_raw_parts_mut(room.as_ptr(), len))
        }
    }

    /// Gives memory back before the pool goes, where it is of a size that NGINX keeps apart: of a page or more.
    ///
    /// # Safety
    /// `memory` is the beginning of what this pool gave, and nobody uses it any longer.
    pub(crate) unsafe fn release(self, memory: *mut u8) {
        // SAFETY: the caller says so. Smaller memory is not found, and stays.
        unsafe { ngx_pfree(self.as_ptr(), memory.cast()) };
    }

    /// A copy of `bytes`, followed by a NUL that does not count, as NGINX's own parsers leave it.
    pub(crate) fn string(self, bytes: &[u8]) -> Option<ngx_str_t> {
        let copy = self.bytes(bytes.len() + 1)?;
        copy.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(ngx_str_t { len: bytes.len(), data: copy.as_mut_ptr() })
    }

    /// Puts a value there whose destructor need never run.
    pub(crate) fn place<T>(self, value: T) -> Option<NonNull<T>> {
        const { assert!(align_of::<T>() <= nginx_sys::NGX_ALIGNMENT) };
        const { assert!(!core::mem::needs_drop::<T>()) };
        // SAFETY: the pool is live, ngx_palloc aligns to NGX_ALIGNMENT, and the room is ours.
        unsafe {
            let place = NonNull::new(ngx_palloc(self.as_ptr(), size_of::<T>()))?.cast::<T>();
            place.write(value);
            Some(place)
        }
    }

    /// Puts a value on Rust's heap, to be dropped with the pool: before the module is unloaded, if it is the
    /// cycle's, since cleanups run from the last to the first.
    pub(crate) fn keep<T>(self, value: T) -> Option<NonNull<T>> {
        // SAFETY: the pool is live; without room of its own, `data` is ours to set.
        unsafe {
            let cleanup = NonNull::new(ngx_pool_cleanup_add(self.as_ptr(), 0))?.as_ptr();
            let kept = NonNull::from(Box::leak(Box::new(value)));
            (*cleanup).data = kept.as_ptr().cast();
            (*cleanup).handler = Some(drop_kept::<T>);
            Some(kept)
        }
    }

    /// The data of the last cleanup that has this handler: what a module keeps with a pool, it finds by that.
    pub(crate) fn marked(
        self,
        marker: unsafe extern "C" fn(*mut c_void),
    ) -> Option<NonNull<c_void>> {
        // SAFETY: the pool is live, and its cleanups are a list that ends with null.
        unsafe {
            let mut cleanup = (*self.as_ptr()).cleanup;
            while !cleanup.is_null() {
                if (*cleanup).handler.is_some_and(|handler| ptr::fn_addr_eq(handler, marker)) {
                    return NonNull::new((*cleanup).data);
                }
                cleanup = (*cleanup).next;
            }
        }
        None
    }

    /// Room for one structure of NGINX's, all zeroes.
    ///
    /// # Safety
    /// All zeroes is a valid `T` (true of NGINX's structures, which are made with ngx_pcalloc).
    pub(crate) unsafe fn zeroed<T>(self) -> Option<NonNull<T>> {
        const { assert!(align_of::<T>() <= nginx_sys::NGX_ALIGNMENT) };
        // SAFETY: the pool is live.
        NonNull::new(unsafe { ngx_pcalloc(self.as_ptr(), size_of::<T>()) }).map(NonNull::cast::<T>)
    }

    /// An array of `count` zeroed elements of one of NGINX's types.
    ///
    /// # Safety
    /// As of [`Pool::zeroed`].
    pub(crate) unsafe fn zeroed_array<T>(self, count: usize) -> Option<NonNull<T>> {
        const { assert!(align_of::<T>() <= nginx_sys::NGX_ALIGNMENT) };
        let size = size_of::<T>().checked_mul(count.max(1))?;
        // SAFETY: the pool is live.
        let room: *mut c_void = unsafe { ngx_pcalloc(self.as_ptr(), size) };
        NonNull::new(room).map(NonNull::cast::<T>)
    }
}

/// # Safety
/// Called by NGINX once, with what [`Pool::keep`] has left.
unsafe extern "C" fn drop_kept<T>(data: *mut c_void) {
    guard((), || {
        // SAFETY: the pool is going, and whoever had a pointer to the value with it.
        drop(unsafe { Box::from_raw(data.cast::<T>()) });
    });
}

/// Appends to an array of NGINX's that holds `T`s and nothing else.
///
/// # Safety
/// `array` is live, and was made for elements of `T`.
pub(crate) unsafe fn push<T>(array: *mut ngx_array_t, value: T) -> Option<()> {
    // SAFETY: the caller says so; ngx_array_push gives room for one element.
    unsafe {
        debug_assert_eq!((*array).size, size_of::<T>());
        NonNull::new(ngx_array_push(array))?.cast::<T>().write(value);
    }
    Some(())
}

/// The bytes of a string of NGINX's, for as long as the caller knows them to live.
///
/// # Safety
/// `string` points to `len` initialised bytes that nobody changes during `'a`, or is empty.
pub(crate) unsafe fn bytes_of<'a>(string: &ngx_str_t) -> &'a [u8] {
    if string.len == 0 || string.data.is_null() {
        return &[];
    }
    // SAFETY: the caller vouches for pointer, length and lifetime.
    unsafe { slice::from_raw_parts(string.data, string.len) }
}

/// A string of NGINX's over bytes that stay where they are (NGINX does not change them).
pub(crate) fn string_over(bytes: &[u8]) -> ngx_str_t {
    ngx_str_t { len: bytes.len(), data: bytes.as_ptr().cast_mut() }
}
