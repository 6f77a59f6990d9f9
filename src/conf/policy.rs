//! What a location requires of a token beyond that it is active.

use core::cell::Cell;
use core::ptr;

use nginx_sys::{ngx_array_create, ngx_array_t, ngx_http_complex_value_t, ngx_str_t};
use phantom_token_core::facts::Digest;
use phantom_token_core::reason::Reason;

use crate::pool::{Pool, bytes_of, push};

/// A scope or an audience.
pub(crate) struct Name {
    pub(crate) text: ngx_str_t,
    /// By the secret of the location's zone, once [`Policy::digested`].
    pub(crate) digest: Cell<Digest>,
}

/// One `phantom_token_require`.
pub(crate) struct Requirement {
    /// `ngx_http_complex_value_t`s.
    values: *mut ngx_array_t,
    /// Why a request is refused that does not meet it.
    pub(crate) reason: Reason,
}

impl Requirement {
    pub(crate) fn new(values: *mut ngx_array_t, reason: Reason) -> Self {
        Self { values, reason }
    }

    /// Pointers to the values, none of which may be empty or "0".
    pub(crate) fn values(&self) -> impl Iterator<Item = *mut ngx_http_complex_value_t> {
        // SAFETY: the setter pushes compiled values and nothing else.
        let values: &[ngx_http_complex_value_t] = unsafe { slice(self.values) };
        values.iter().map(|value| ptr::from_ref(value).cast_mut())
    }
}

/// What a token must meet.
pub(crate) struct Policy {
    /// [`Name`]s.
    scopes: *mut ngx_array_t,
    audiences: *mut ngx_array_t,
    /// [`Requirement`]s.
    requirements: *mut ngx_array_t,
    /// The names have their digests. They are made at the first request of a worker, when the zone's secret
    /// is there.
    pub(crate) digested: Cell<bool>,
}

impl Policy {
    /// That of lists as directives leave them, null if all are. Names are the level's own even where they are
    /// inherited: their digests depend on its zone. `None`: no memory.
    pub(super) fn of(
        pool: Pool<'_>,
        scopes: *mut ngx_array_t,
        audiences: *mut ngx_array_t,
        requirements: *mut ngx_array_t,
    ) -> Option<*const Self> {
        if [scopes, audiences, requirements].iter().all(|list| list.is_null()) {
            return Some(ptr::null());
        }
        let policy = Self {
            scopes: names(pool, scopes)?,
            audiences: names(pool, audiences)?,
            requirements,
            digested: Cell::new(false),
        };
        pool.place(policy).map(|policy| policy.as_ptr().cast_const())
    }

    /// All of these the token must have.
    pub(crate) fn scopes(&self) -> &[Name] {
        // SAFETY: `names` makes arrays of names.
        unsafe { slice(self.scopes) }
    }

    /// One of these the token must be for, if there are any.
    pub(crate) fn audiences(&self) -> &[Name] {
        // SAFETY: as of `scopes`.
        unsafe { slice(self.audiences) }
    }

    /// All of these must be met, in this order.
    pub(crate) fn requirements(&self) -> &[Requirement] {
        // SAFETY: the setter pushes requirements and nothing else.
        unsafe { slice(self.requirements) }
    }
}

/// The texts of a list of `ngx_str_t`s.
pub(super) fn texts<'a>(list: *mut ngx_array_t) -> impl Iterator<Item = &'a [u8]> {
    // SAFETY: the setters of names push strings of the cycle's, and nothing else.
    let texts: &[ngx_str_t] = unsafe { slice(list) };
    // SAFETY: as above.
    texts.iter().map(|text| unsafe { bytes_of(text) })
}

fn names(pool: Pool<'_>, list: *mut ngx_array_t) -> Option<*mut ngx_array_t> {
    if list.is_null() {
        return Some(ptr::null_mut());
    }
    // SAFETY: the pool is live, and the array is for names; the setters of names push strings.
    unsafe {
        let names = ngx_array_create(pool.as_ptr(), (*list).nelts, size_of::<Name>());
        if names.is_null() {
            return None;
        }
        for &text in slice::<ngx_str_t>(list) {
            push(names, Name { text, digest: Cell::new(Digest::default()) })?;
        }
        Some(names)
    }
}

/// The elements of an array; null: none.
///
/// # Safety
/// The array holds `T`s and nothing else, lives for `'a`, and does not grow meanwhile.
unsafe fn slice<'a, T>(array: *mut ngx_array_t) -> &'a [T] {
    // SAFETY: the caller says so.
    unsafe { array.as_ref().map_or(&[], |array| array.as_slice()) }
}
