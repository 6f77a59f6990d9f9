//! On top of NGINX's output filters: an answer that they cannot take is the question's trouble, and not that of the client's
//! connection.
//!
//! NGINX marks the connection as broken when any filter fails, be it over an answer that has no room in the buffer that
//! captures it or over one that cannot be unpacked. The client is owed its response, though. So no filter fails for a
//! question: what remains of the answer is passed over, and the upstream is told that there is no more.

use core::ffi::c_void;
use core::mem::transmute;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use nginx_sys::{
    ngx_chain_t, ngx_http_output_body_filter_pt, ngx_http_request_t, ngx_http_top_body_filter,
    ngx_int_t,
};

use crate::answer;
use crate::code::{ERROR, OK};
use crate::context::Context;
use crate::guard::guard;
use crate::nginx::bits;

/// The filter beneath.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Puts the filter on top of those that there are.
///
/// # Safety
/// NGINX reads its configuration, and all modules before have put theirs there.
pub(crate) unsafe fn install() {
    // SAFETY: the caller says so. A pointer to a function, or none, is one.
    unsafe {
        NEXT.store(
            transmute::<ngx_http_output_body_filter_pt, *mut c_void>(ngx_http_top_body_filter),
            Relaxed,
        );
        ngx_http_top_body_filter = Some(filter);
    }
}

/// The filter: all output of all requests goes through it.
unsafe extern "C" fn filter(
    request: *mut ngx_http_request_t,
    chain: *mut ngx_chain_t,
) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: NGINX calls with a live request and a chain of its. What was stored is a filter.
        unsafe {
            let next = NEXT.load(Relaxed);
            let Some(next) = transmute::<*mut c_void, ngx_http_output_body_filter_pt>(next) else {
                return ERROR;
            };
            if ptr::eq((*request).main, request) {
                return next(request, chain);
            }
            let Some(context) = asked_by(request) else { return next(request, chain) };
            if context.asking.get() && !context.answer_failed.get() {
                let rc = next(request, chain);
                if rc != ERROR {
                    return rc;
                }
                context.answer_failed.set(true);
                end_answer(request);
            }
            pass_over(chain);
            OK
        }
    })
}

/// The context of the request that asks, where `request` is its question.
///
/// # Safety
/// `request` is live.
unsafe fn asked_by<'r>(request: *mut ngx_http_request_t) -> Option<&'r Context> {
    // SAFETY: the caller says so. Whose completion handler is ours was made by `question`, with the context of its
    // parent, which outlives it. NGINX keeps that when it redirects the question.
    unsafe {
        let done = (*request).post_subrequest.as_ref()?;
        if !ptr::fn_addr_eq(done.handler?, answer::ARRIVED) {
            return None;
        }
        done.data.cast::<Context>().as_ref()
    }
}

/// Has the upstream, if there is one, read no more: it finalises the question when the filter has returned.
///
/// # Safety
/// `question` is live.
unsafe fn end_answer(question: *mut ngx_http_request_t) {
    // SAFETY: the caller says so; an upstream that buffers has a pipe.
    unsafe {
        // What a filter still has of the answer is not waited for.
        bits::request::BUFFERED.set(question, 0);
        let Some(upstream) = (*question).upstream.as_mut() else { return };
        if bits::upstream::BUFFERING.is_set(upstream) {
            if !upstream.pipe.is_null() {
                // As if the filter had failed: proxy_cache goes on reading for its file.
                bits::event_pipe::DOWNSTREAM_ERROR.set(upstream.pipe, 1);
            }
        } else {
            upstream.length = 0;
        }
    }
}

/// Takes what is in the buffers as sent.
///
/// # Safety
/// The chain is live.
unsafe fn pass_over(mut chain: *mut ngx_chain_t) {
    // SAFETY: the caller says so; a chain ends with null, and each link has a buffer.
    unsafe {
        while let Some(link) = chain.as_ref() {
            (*link.buf).pos = (*link.buf).last;
            (*link.buf).file_pos = (*link.buf).file_last;
            chain = link.next;
        }
    }
}
