//! The subrequest that asks: in memory, isolated from the client's request, and captured whole.

use core::ptr::{self, NonNull};

use nginx_sys::{
    NGX_HTTP_GET, NGX_HTTP_POST, NGX_HTTP_SUBREQUEST_BACKGROUND, NGX_HTTP_SUBREQUEST_IN_MEMORY,
    ngx_buf_t, ngx_chain_t, ngx_http_core_main_conf_t, ngx_http_core_module, ngx_http_headers_in_t,
    ngx_http_post_request, ngx_http_post_subrequest_t, ngx_http_request_body_t, ngx_http_request_t,
    ngx_http_subrequest, ngx_int_t, ngx_list_init, ngx_str_t, ngx_table_elt_t,
    ngx_variable_value_t,
};
use phantom_token_core::jose;

use super::form;
use super::what::What;
use crate::answer;
use crate::code::OK;
use crate::conf::LocationConf;
use crate::context::Context;
use crate::guard::guard;
use crate::headers::{self, Name};
use crate::keys::Source;
use crate::nginx::bits;
use crate::pool::{Pool, string_over};
use crate::request::Request;

/// What is asked, in the memory of the request that will ask.
pub(super) struct Composed<'p> {
    uri: ngx_str_t,
    args: ngx_str_t,
    /// The form of a POST; `None`: a GET, for the keys.
    body: Option<&'p mut [u8]>,
    /// The most that is read of the answer, in bytes.
    max_response: usize,
}

/// Evaluates for `request` what its location asks about the token, or where it gets the keys. `None`: no memory, or a variable could not be
/// evaluated.
pub(super) fn compose<'p>(
    request: Request<'_>,
    pool: Pool<'p>,
    what: What<'_>,
) -> Option<Composed<'p>> {
    let location = request.location();
    let max_response = location.max_response;
    let token = match what {
        What::Token(token) => token,
        What::Keys(&Source { uri, args, .. }) => {
            // Many a set is longer than an answer about one token need be.
            let max_response = max_response.max(jose::MAX_SET);
            return Some(Composed { uri, args, body: None, max_response });
        }
    };
    // SAFETY: compiled for this configuration, or null.
    let endpoint = NonNull::new(location.question_uri())
        .and_then(|endpoint| unsafe { request.evaluate(endpoint.as_ptr()) })
        .filter(|endpoint| !endpoint.is_empty())?;
    let (uri, args) = match endpoint.iter().position(|&byte| byte == b'?') {
        Some(mark) => (endpoint.get(..mark)?, endpoint.get(mark + 1..)?),
        None => (endpoint, &[][..]),
    };
    Some(Composed {
        uri: pool.string(uri)?,
        args: pool.string(args)?,
        body: Some(form::body(request, location, token, pool)?),
        max_response,
    })
}

/// Makes the subrequest of `asker`, whose pool holds what is composed and the context. NGINX runs it when the
/// current event is done.
pub(super) fn send(asker: Request<'_>, context: &Context, composed: Composed<'_>) -> Option<()> {
    let location = asker.location();
    let pool = asker.pool();
    let Composed { mut uri, mut args, body, max_response } = composed;

    // SAFETY: the room is for the structure, whose fields are both written.
    let done = pool
        .place(ngx_http_post_subrequest_t {
            handler: Some(answer::ARRIVED),
            data: ptr::from_ref(context).cast_mut().cast(),
        })?
        .as_ptr();
    let out = capture(asker, max_response)?;
    let mut question: *mut ngx_http_request_t = ptr::null_mut();
    // SAFETY: all of it lives in the asker's pool. BACKGROUND: the question outlives a client that
    // goes away, so that others who wait for it get their answer.
    let made = unsafe {
        ngx_http_subrequest(
            asker.as_ptr(),
            &raw mut uri,
            &raw mut args,
            &raw mut question,
            done,
            (NGX_HTTP_SUBREQUEST_IN_MEMORY | NGX_HTTP_SUBREQUEST_BACKGROUND) as usize,
        )
    };
    if made != OK {
        return None;
    }
    // SAFETY: NGINX has made the subrequest, and runs it later.
    unsafe {
        // The answer is captured here, whatever subrequest_output_buffer_size says.
        (*question).out = out;
        isolate(asker, location, question, body).or_else(|| {
            // It will run, but must not ask: a subrequest that was made cannot be unmade.
            (*question).post_subrequest = ptr::null_mut();
            (*question).write_event_handler = Some(give_up);
            None
        })?;
        Request::from_ptr(question).set_slot(ptr::from_ref(context).cast_mut().cast());
        context.question.set(question);
    }
    context.asking.set(true);
    context.answer_failed.set(false);
    context.content_handler.set(None);
    Some(())
}

/// Runs a question on that has not come to ask yet. A module that delays it (limit_req) sets a timer on the
/// connection, by which NGINX wakes the request that asks: a background subrequest is not looked for there.
pub(crate) fn nudge(context: &Context) {
    if context.asking.get() && context.content_handler.get().is_none() {
        // SAFETY: a question lives as long as it is being asked. If there is no memory, the next event may
        // bring it.
        unsafe { ngx_http_post_request(context.question.get(), ptr::null_mut()) };
    }
}

/// Puts [`ask`] before the handler that answers in the introspection location. Called when NGINX has
/// decided about the location, and before its content phase.
pub(crate) fn watch_content(question: Request<'_>) {
    // SAFETY: the slot of a question holds the context of its parent, see `send`.
    unsafe {
        let context = question.slot().cast::<Context>();
        let handler = (*question.as_ptr()).content_handler;
        if handler.is_some() && (*context).content_handler.get().is_none() {
            (*context).content_handler.set(handler);
            (*question.as_ptr()).content_handler = Some(ask);
        }
    }
}

/// Has the location ask its server, and sees to it that the answer is captured whole and nowhere else.
unsafe extern "C" fn ask(question: *mut ngx_http_request_t) -> ngx_int_t {
    guard(nginx_sys::NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t, || {
        // SAFETY: NGINX runs the content handler of a live request, whose slot holds the context of its
        // parent. What the location's own handler makes of the request is as NGINX's modules leave it.
        unsafe {
            let context = Request::from_ptr(question).slot().cast::<Context>();
            let Some(handler) = (*context).content_handler.get() else {
                return nginx_sys::NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
            };
            // NGINX clears this, which means nothing for a subrequest, when an answer breaks off; it
            // leaves no other trace of that in all cases.
            bits::request::KEEPALIVE.set(question, 1);
            // Not before: a limit on the bodies of clients is none on the question's.
            if let Some(buffer) = (*question)
                .request_body
                .as_ref()
                .and_then(|body| body.bufs.as_ref())
                .and_then(|link| link.buf.as_ref())
            {
                (*question).headers_in.content_length_n =
                    buffer.last.offset_from(buffer.pos) as nginx_sys::off_t;
            }
            // Nor does the server's X-Accel-Redirect lead anywhere, where NGINX has it in its cache and this is the
            // first question: NGINX would go where it leads, with our credentials.
            bits::request::URI_CHANGES.set(question, 1);
            let location = Request::from_ptr(question).location();
            let main = (*question).main;
            let count = bits::request::COUNT.get(main);
            let rc = location.own_upstream.without_redirects(|| handler(question));
            if bits::request::COUNT.get(main) < count {
                // NGINX counts one reference too few where it stops at a redirect from its cache (u->cleanup is not
                // set yet), and would free the client's request.
                bits::request::COUNT.set(main, count);
            }
            capture_at_once(question, location);
            rc
        }
    })
}

/// Has the answer copied as it comes. NGINX would buffer it first, as for a client that is slow, and
/// write what exceeds the location's buffers to disk: a background subrequest counts as such.
///
/// # Safety
/// `question` is a live subrequest in `location` whose content handler has run.
unsafe fn capture_at_once(question: *mut ngx_http_request_t, location: &LocationConf) {
    // SAFETY: the caller says so. The configuration of a location is shared by all requests; questions have one
    // of their own. Both live as long as the request.
    unsafe {
        let upstream = (*question).upstream;
        // Nor by the server's word, X-Accel-Buffering.
        let pool = Request::from_ptr(question).pool();
        if upstream.is_null() || !location.own_upstream.use_for(upstream, pool) {
            return;
        }
        #[cfg(ngx_feature = "http_cache")]
        if !(*question).cache.is_null() {
            // The operator has it written to disk (proxy_cache), and that needs the buffering.
            return;
        }
        bits::upstream::BUFFERING.set(upstream, 0);
    }
}

/// Ends a subrequest that lacks what it needs.
unsafe extern "C" fn give_up(question: *mut ngx_http_request_t) {
    // SAFETY: NGINX runs the handler of a live subrequest, which is finalised once.
    guard((), || unsafe { nginx_sys::ngx_http_finalize_request(question, OK) });
}

/// A chain of one buffer that NGINX's postpone filter copies the answer into.
fn capture(request: Request<'_>, size: usize) -> Option<*mut ngx_chain_t> {
    let pool = request.pool();
    // SAFETY: the pool is live; NGINX zeroes its buffers likewise.
    unsafe {
        let buffer = nginx_sys::ngx_create_temp_buf(pool.as_ptr(), size.max(1));
        bits::buf::LAST_BUF.set(NonNull::new(buffer)?.as_ptr(), 1);
        let link = ngx_chain_t { buf: buffer, next: ptr::null_mut() };
        pool.place(link).map(NonNull::as_ptr)
    }
}

/// Gives the subrequest headers, a body and variables of its own: nothing of the client's goes to the
/// authorization server, and nothing of the question's is seen by the client's request.
///
/// # Safety
/// `question` was made by `ngx_http_subrequest` and has not run.
unsafe fn isolate(
    request: Request<'_>,
    location: &LocationConf,
    question: *mut ngx_http_request_t,
    body: Option<&mut [u8]>,
) -> Option<()> {
    let pool = request.pool();
    // SAFETY: the caller says so. All zeroes is how NGINX makes each of these structures.
    unsafe {
        let headers_in: *mut ngx_http_headers_in_t = &raw mut (*question).headers_in;
        ptr::write_bytes(headers_in, 0, 1);
        (*headers_in).content_length_n = -1;
        (*headers_in).keep_alive_n = -1;
        let list = &raw mut (*headers_in).headers;
        if ngx_list_init(list, pool.as_ptr(), 4, size_of::<ngx_table_elt_t>()) != OK {
            return None;
        }
        // Never the client's, also where there is none.
        let request_body = pool.zeroed::<ngx_http_request_body_t>()?.as_ptr();
        (*question).request_body = request_body;
        match body {
            Some(body) => {
                (*question).method = NGX_HTTP_POST as usize;
                (*question).method_name = string_over(b"POST");
                let content_type = Name::fixed(b"Content-Type", b"content-type");
                let form = string_over(b"application/x-www-form-urlencoded");
                (*headers_in).content_type = headers::push(list, content_type, form)?.as_ptr();
                headers::push(list, Name::fixed(b"Accept", b"accept"), location.accepted)?;
                if location.credential.len != 0 {
                    let name = Name::fixed(b"Authorization", b"authorization");
                    let header = headers::push(list, name, location.credential)?;
                    (*headers_in).authorization = header.as_ptr();
                }
                let buffer = pool.zeroed::<ngx_buf_t>()?.as_ptr();
                let bytes = body.as_mut_ptr_range();
                (*buffer).start = bytes.start;
                (*buffer).pos = bytes.start;
                (*buffer).last = bytes.end;
                (*buffer).end = bytes.end;
                bits::buf::MEMORY.set(buffer, 1);
                bits::buf::LAST_BUF.set(buffer, 1);
                bits::buf::LAST_IN_CHAIN.set(buffer, 1);
                let link = ngx_chain_t { buf: buffer, next: ptr::null_mut() };
                (*request_body).bufs = pool.place(link)?.as_ptr();
            }
            None => {
                (*question).method = NGX_HTTP_GET as usize;
                (*question).method_name = string_over(b"GET");
                // Keys are public: no credentials.
                let accepted = string_over(b"application/jwk-set+json, application/json");
                headers::push(list, Name::fixed(b"Accept", b"accept"), accepted)?;
            }
        }

        let index = ngx_http_core_module.ctx_index;
        let main = (*(*question).main_conf.add(index)).cast::<ngx_http_core_main_conf_t>();
        let variables = pool.zeroed_array::<ngx_variable_value_t>((*main).variables.nelts)?;
        (*question).variables = variables.as_ptr();
    }
    Some(())
}
