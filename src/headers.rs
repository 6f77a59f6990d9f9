//! Surgery on NGINX's lists of headers.
//!
//! Elements never move: NGINX keeps pointers to them (`headers_in.host` and its like). What is taken
//! out is skipped by splitting the list's part around it.

use core::ptr::{self, NonNull};

use nginx_sys::{
    ngx_http_request_t, ngx_list_part_t, ngx_list_push, ngx_list_t, ngx_palloc, ngx_str_t,
    ngx_table_elt_t, ngx_uint_t,
};

use crate::pool::{Pool, bytes_of, string_over};

/// A header's name in the forms that NGINX keeps.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub(crate) text: ngx_str_t,
    /// The name in lower case: NGINX looks headers up by it when it builds an upstream request.
    pub(crate) lowcase: ngx_str_t,
    /// NGINX's hash of the lower-case name.
    pub(crate) hash: ngx_uint_t,
}

impl Name {
    /// The forms of a name that is known when the module is compiled.
    pub(crate) fn fixed(text: &'static [u8], lowcase: &'static [u8]) -> Self {
        Self::new(string_over(text), string_over(lowcase))
    }

    /// The forms of a name of the configuration.
    pub(crate) fn new(text: ngx_str_t, lowcase: ngx_str_t) -> Self {
        // SAFETY: the function reads `len` bytes.
        let hash = unsafe { nginx_sys::ngx_hash_key(lowcase.data, lowcase.len) };
        Self { text, lowcase, hash }
    }
}

/// Whether two names are one to an upstream: in any case, and `_` for `-`, which CGI-like upstreams
/// cannot tell apart.
pub(crate) fn same_name(one: &[u8], other: &[u8]) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().map(fold).eq(other.iter().map(fold))
}

/// Appends a header to a list of a request's.
///
/// # Safety
/// `list` is a live list of headers; the strings live as long as it.
pub(crate) unsafe fn push(
    list: *mut ngx_list_t,
    name: Name,
    value: ngx_str_t,
) -> Option<NonNull<ngx_table_elt_t>> {
    // SAFETY: the list is live and holds headers; every field of the new element is written.
    unsafe {
        let header = NonNull::new(ngx_list_push(list))?.cast::<ngx_table_elt_t>();
        header.write(ngx_table_elt_t {
            hash: name.hash,
            key: name.text,
            value,
            lowcase_key: name.lowcase.data,
            #[cfg(nginx1_23_0)]
            next: ptr::null_mut(),
        });
        Some(header)
    }
}

/// Takes every header out of a main request that `unwanted` says so of. `None`: no memory, and the
/// request must not go on.
///
/// # Safety
/// `request` is a live main request. `unwanted` is false for the headers that NGINX keeps pointers to,
/// but for `Authorization`, whose pointer is cleared.
pub(crate) unsafe fn remove(
    request: *mut ngx_http_request_t,
    pool: Pool<'_>,
    unwanted: impl Fn(&[u8]) -> bool,
) -> Option<()> {
    // SAFETY: as the caller says; see `take_out` for the list.
    unsafe {
        let headers_in = &raw mut (*request).headers_in;
        let list = &raw mut (*headers_in).headers;
        let mut at = Place { previous: ptr::null_mut(), part: &raw mut (*list).part, index: 0 };
        while !at.part.is_null() {
            if at.index >= (*at.part).nelts {
                at = Place { previous: at.part, part: (*at.part).next, index: 0 };
                continue;
            }
            let header = (*at.part).elts.cast::<ngx_table_elt_t>().add(at.index);
            if !unwanted(bytes_of(&(*header).key)) {
                at.index += 1;
                continue;
            }
            if (*headers_in).authorization == header {
                (*headers_in).authorization = ptr::null_mut();
            }
            at = take_out(list, at, pool)?;
        }
    }
    Some(())
}

/// A place in a list: an element of a part, or the end of the part.
#[derive(Clone, Copy)]
struct Place {
    /// The part before; null: there is none.
    previous: *mut ngx_list_part_t,
    part: *mut ngx_list_part_t,
    index: usize,
}

/// Takes one element out, and says where the one behind it is now. Keeps what NGINX relies on: no part
/// is empty but a sole first one, and a push never writes over an element.
///
/// # Safety
/// `at` is an element of `list`, and `previous` the part before its part.
unsafe fn take_out(list: *mut ngx_list_t, at: Place, pool: Pool<'_>) -> Option<Place> {
    let Place { part, index, .. } = at;
    // SAFETY: as the caller says. Every pointer into `elts` stays within the part's own elements.
    unsafe {
        let count = (*part).nelts;
        let was_last = (*list).last == part;
        let elements = (*part).elts.cast::<ngx_table_elt_t>();
        let next = if count == 1 {
            unlink(list, at, pool)?
        } else if index == 0 {
            (*part).elts = elements.add(1).cast();
            (*part).nelts = count - 1;
            at
        } else if index + 1 == count {
            (*part).nelts = count - 1;
            at
        } else {
            let rest = pool
                .place(ngx_list_part_t {
                    elts: elements.add(index + 1).cast(),
                    nelts: count - index - 1,
                    next: (*part).next,
                })?
                .as_ptr();
            (*part).nelts = index;
            (*part).next = rest;
            if was_last {
                (*list).last = rest;
            }
            Place { previous: part, part: rest, index: 0 }
        };
        if was_last {
            // Full, so that the next push makes a part of its own.
            (*list).nalloc = (*(*list).last).nelts.max(1);
        }
        Some(next)
    }
}

/// Takes a part with one element out of the list; see [`take_out`].
///
/// # Safety
/// As of `take_out`.
unsafe fn unlink(list: *mut ngx_list_t, at: Place, pool: Pool<'_>) -> Option<Place> {
    let Place { previous, part, .. } = at;
    // SAFETY: as the caller says.
    Some(unsafe {
        let next = (*part).next;
        if !previous.is_null() {
            (*previous).next = next;
            if next.is_null() {
                (*list).last = previous;
            }
            Place { previous, part: next, index: 0 }
        } else if next.is_null() {
            // The first part lies in the list itself: it stays, empty. The next push gets another place than the
            // element's, to which NGINX may keep a pointer.
            let room = ngx_palloc(pool.as_ptr(), size_of::<ngx_table_elt_t>());
            (*part).elts = NonNull::new(room)?.as_ptr();
            (*part).nelts = 0;
            Place { previous, part, index: 0 }
        } else {
            *part = *next;
            if (*list).last == next {
                (*list).last = part;
            }
            Place { previous, part, index: 0 }
        }
    })
}

/// Gives a subrequest a list of headers of its own, a copy without those that `unwanted` says so of: it
/// shares the list's parts with its parent, which keeps what it has.
///
/// # Safety
/// `request` is a live subrequest; `unwanted` as of [`remove`].
pub(crate) unsafe fn copy_without(
    request: *mut ngx_http_request_t,
    pool: Pool<'_>,
    unwanted: impl Fn(&[u8]) -> bool,
) -> Option<()> {
    // SAFETY: the request is live. Headers are copied by value into a fresh list; NGINX's pointers to
    // single headers go on pointing to the parent's elements, which live in the same pool.
    unsafe {
        let headers_in = &raw mut (*request).headers_in;
        let mut part: *const ngx_list_part_t = &raw const (*headers_in).headers.part;
        let mut copy: ngx_list_t = core::mem::zeroed();
        let size = size_of::<ngx_table_elt_t>();
        copy.part.elts = nginx_sys::ngx_palloc(pool.as_ptr(), 20 * size);
        if copy.part.elts.is_null() {
            return None;
        }
        copy.size = size;
        copy.nalloc = 20;
        copy.pool = pool.as_ptr();
        copy.last = &raw mut copy.part;

        let mut kept: NonNull<ngx_list_t> =
            NonNull::new(ngx_palloc(pool.as_ptr(), size_of::<ngx_list_t>()))?.cast();
        kept.write(copy);
        kept.as_mut().last = &raw mut (*kept.as_ptr()).part;
        while !part.is_null() {
            for index in 0..(*part).nelts {
                let header = (*part).elts.cast::<ngx_table_elt_t>().add(index);
                if unwanted(bytes_of(&(*header).key)) {
                    if (*headers_in).authorization == header {
                        (*headers_in).authorization = ptr::null_mut();
                    }
                    continue;
                }
                let place = NonNull::new(ngx_list_push(kept.as_ptr()))?.cast::<ngx_table_elt_t>();
                place.write(*header);
            }
            part = (*part).next;
        }
        let last_is_first = kept.as_ref().last == &raw mut (*kept.as_ptr()).part;
        (*headers_in).headers = kept.read();
        if last_is_first {
            (*headers_in).headers.last = &raw mut (*headers_in).headers.part;
        }
    }
    Some(())
}

/// How many headers of that name a list has.
///
/// # Safety
/// `list` is a live list of headers, which nobody changes meanwhile.
pub(crate) unsafe fn count(list: *const ngx_list_t, name: &[u8]) -> usize {
    // SAFETY: the caller says so.
    unsafe { iterate(list) }.filter(|(found, _)| found.eq_ignore_ascii_case(name)).count()
}

/// The `DPoP` header among those of a request.
#[derive(Clone, Copy)]
pub(crate) enum Proof {
    /// There is none.
    None,
    /// Its value.
    One(ngx_str_t),
    /// There are several.
    Several,
}

const DPOP: &[u8] = b"DPoP";

/// Whether this is the name of a [`Proof`].
pub(crate) fn is_dpop(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(DPOP)
}

/// Finds the `DPoP` header.
///
/// # Safety
/// `list` is a live list of headers, which nobody changes meanwhile.
pub(crate) unsafe fn proof(list: *const ngx_list_t) -> Proof {
    let mut proof = Proof::None;
    // Every request comes by here: a length is compared before a name is.
    // SAFETY: the caller says so; each part has `nelts` headers.
    unsafe {
        let mut part: *const ngx_list_part_t = &raw const (*list).part;
        while let Some(headers) = part.as_ref() {
            let elements = headers.elts.cast::<ngx_table_elt_t>();
            for index in 0..headers.nelts {
                let header = elements.add(index);
                if (*header).key.len == DPOP.len() && is_dpop(bytes_of(&(*header).key)) {
                    proof = match proof {
                        Proof::None => Proof::One((*header).value),
                        _ => return Proof::Several,
                    };
                }
            }
            part = headers.next;
        }
    }
    proof
}

/// Names and values of a list of headers; null: none.
///
/// # Safety
/// `list` is null or a live list of headers, whose strings live for `'a`, and which nobody changes while
/// the iterator is in use.
pub(crate) unsafe fn iterate<'a>(
    list: *const ngx_list_t,
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let mut part: *const ngx_list_part_t =
        // SAFETY: the caller says so.
        if list.is_null() { ptr::null() } else { unsafe { &raw const (*list).part } };
    let mut index = 0;
    core::iter::from_fn(move || {
        // SAFETY: the caller says so.
        unsafe {
            while !part.is_null() && index >= (*part).nelts {
                part = (*part).next;
                index = 0;
            }
            let header = part.as_ref()?.elts.cast::<ngx_table_elt_t>().add(index);
            index += 1;
            Some((bytes_of(&(*header).key), bytes_of(&(*header).value)))
        }
    })
}

/// Leaves the headers of that name out of a response that has not been sent.
///
/// # Safety
/// `list` is a live list of headers.
pub(crate) unsafe fn leave_out(list: *mut ngx_list_t, name: &[u8]) {
    // SAFETY: the caller says so.
    unsafe {
        let mut part: *const ngx_list_part_t = &raw const (*list).part;
        while let Some(elements) = part.as_ref() {
            for index in 0..elements.nelts {
                let header = elements.elts.cast::<ngx_table_elt_t>().add(index);
                if bytes_of(&(*header).key).eq_ignore_ascii_case(name) {
                    (*header).hash = 0;
                }
            }
            part = elements.next;
        }
    }
}
