//! What arrived from the authorization server: its status and its body, if that is whole.

use core::ptr;

use nginx_sys::{ngx_event_pipe_t, ngx_http_upstream_t, ngx_int_t, ngx_str_t};
use phantom_token_core::answer::AnswerError;
use phantom_token_core::reason::Reason;
use thiserror::Error;

use crate::code::OK;
use crate::context::Context;
use crate::headers;
use crate::nginx::bits::{Bits, event_pipe, request, upstream};
use crate::pool::{bytes_of, string_over};
use crate::request::Request;

const SPECIAL_RESPONSE: ngx_int_t = nginx_sys::NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t;
const GATEWAY_TIME_OUT: ngx_int_t = nginx_sys::NGX_HTTP_GATEWAY_TIME_OUT as ngx_int_t;

/// The longest `Retry-After` that is passed on: an HTTP date has 29 characters.
const MAX_RETRY_AFTER: usize = 40;

/// Why there is no verdict.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    #[error(
        "the introspection location answered by itself, without asking a server: check that it has \
         a \"proxy_pass\" and that nothing in it or in the server block returns before that"
    )]
    NotAsked,
    #[error(
        "the server did not answer in time: it is slow, or \"proxy_connect_timeout\" and \
         \"proxy_read_timeout\" of the introspection location are too short"
    )]
    TimedOut,
    #[error(
        "no complete answer: the server cannot be reached, its certificate is not trusted, or it \
         closed the connection; nginx says which in the line before"
    )]
    Unreachable,
    #[error(
        "the answer is larger than \"phantom_token_max_response\", or its chunks are not valid; nginx says \
         which in the line before"
    )]
    TooLarge,
    #[error("the answer is longer than its Content-Length says: nginx has cut it off")]
    Overlong,
    #[error(
        "the introspection location sent the question elsewhere inside nginx (try_files, error_page, or an \
         X-Accel-Redirect in \"proxy_cache\")"
    )]
    Redirected,
    #[error("the keys of \"phantom_token_jwks\" are not there any more: too many are in use")]
    NoKeys,
    #[error("no memory to read the answer")]
    NoMemory,
    #[error("{0}")]
    Answer(#[from] AnswerError),
}

impl Trouble {
    /// What the client's status follows from.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::NotAsked | Self::NoMemory | Self::NoKeys => Reason::Internal,
            Self::TimedOut => Reason::ServerTimeout,
            Self::Unreachable => Reason::ServerUnreachable,
            Self::TooLarge | Self::Overlong | Self::Redirected => Reason::ServerBadAnswer,
            Self::Answer(error) => error.reason(),
        }
    }
}

/// The status and the whole body of the server's answer.
pub(super) fn receive<'r>(
    question: Request<'r>,
    context: &Context,
    rc: ngx_int_t,
) -> Result<(u16, &'r [u8]), Trouble> {
    let failed = context.answer_failed.get();
    if question.slot().is_null() {
        // NGINX clears the slot in an internal redirect, and in nothing else.
        return Err(Trouble::Redirected);
    }
    // SAFETY: the subrequest is live; it has an upstream if it was proxied.
    let (upstream, sent) = unsafe {
        let upstream = (*question.as_ptr()).upstream.as_ref();
        (upstream, (*question.as_ptr()).headers_out.status)
    };
    let Some(upstream) = upstream else {
        return match rc {
            // limit_req and the like in the location: as if the server were busy.
            429 | 503 => Ok((u16::try_from(rc).unwrap_or(503), &[])),
            OK if !failed => Ok((status(sent), captured(question))),
            _ => Err(Trouble::NotAsked),
        };
    };
    let said = upstream.headers_in.status_n;
    let leads_on = is_cached(question) && !upstream.headers_in.x_accel_redirect.is_null();
    if rc >= SPECIAL_RESPONSE && leads_on {
        // It came out of NGINX's cache: of what the server sends it does not count, see `question::ask`.
        return Err(Trouble::Redirected);
    }
    if rc >= SPECIAL_RESPONSE {
        // proxy_intercept_errors gives the server's own status, all else is NGINX's.
        return match usize::try_from(rc) {
            Ok(rc) if rc == said => Ok((status(said), &[])),
            _ if rc == GATEWAY_TIME_OUT => Err(Trouble::TimedOut),
            Ok(413) => Err(Trouble::NotAsked),
            _ => Err(Trouble::Unreachable),
        };
    }
    if is_overlong(upstream) {
        return Err(Trouble::Overlong);
    }
    if sent != 200 && sent != 0 && sent != 400 {
        // The status decides alone.
        return Ok((status(sent), &[]));
    }
    // SAFETY: a proxied request that was buffered has a pipe.
    let pipe = unsafe { upstream.pipe.as_ref() };
    let completeness = if failed {
        Completeness::TooLarge
    } else {
        completeness(upstream, pipe, (is_cached(question), broke_off(question)), rc)
    };
    match completeness {
        Completeness::Complete => {
            let body = captured(question);
            // SAFETY: the subrequest is live.
            let length = unsafe { (*question.as_ptr()).headers_out.content_length_n };
            if length >= 0 && usize::try_from(length) != Ok(body.len()) {
                return Err(Trouble::Unreachable);
            }
            Ok((status(sent), body))
        }
        // What is wrong with a refused question may be in the body, but need not.
        _ if sent == 400 => Ok((400, &[])),
        Completeness::TooLarge => Err(Trouble::TooLarge),
        Completeness::Cut => Err(Trouble::Unreachable),
        Completeness::TimedOut => Err(Trouble::TimedOut),
    }
}

fn status(status: usize) -> u16 {
    u16::try_from(status).unwrap_or(0)
}

/// Whether all of a body arrived.
enum Completeness {
    Complete,
    TooLarge,
    Cut,
    TimedOut,
}

/// NGINX finalises a cut answer like a whole one; what happened shows in the upstream's state.
fn completeness(
    upstream: &ngx_http_upstream_t,
    pipe: Option<&ngx_event_pipe_t>,
    (cached, broke_off): (bool, bool),
    rc: ngx_int_t,
) -> Completeness {
    if rc == OK && broke_off {
        return if timed_out(upstream) { Completeness::TimedOut } else { Completeness::Cut };
    }
    if cached && rc == OK {
        return Completeness::Complete;
    }
    let Some(pipe) = pipe.filter(|_| is_set(&upstream::BUFFERING, upstream)) else {
        return match upstream.length {
            _ if rc != OK => Completeness::TooLarge,
            // Whole by its length; or by the end of the connection, which cannot be told from a cut.
            0 | -1 => Completeness::Complete,
            _ => Completeness::Cut,
        };
    };
    if is_set(&event_pipe::DOWNSTREAM_ERROR, pipe) || rc != OK {
        return Completeness::TooLarge;
    }
    if is_set(&event_pipe::UPSTREAM_DONE, pipe)
        || (is_set(&event_pipe::UPSTREAM_EOF, pipe) && pipe.length == -1)
    {
        return Completeness::Complete;
    }
    Completeness::Cut
}

/// Whether more arrived than the answer's Content-Length announces: what NGINX took for the whole is a part.
fn is_overlong(upstream: &ngx_http_upstream_t) -> bool {
    let announced = upstream.headers_in.content_length_n;
    // SAFETY: an upstream that was connected to has a state per attempt.
    let state = unsafe { upstream.state.as_ref() };
    announced >= 0
        && state.is_some_and(|state| state.response_length > announced)
        && !is_framed(upstream)
}

/// Whether the body came in frames (HTTP/2, FastCGI) or with a line of its own behind it (memcached), which NGINX counts
/// with the body. These say where the body ends.
fn is_framed(upstream: &ngx_http_upstream_t) -> bool {
    // SAFETY: NGINX sets the schema when it makes the upstream; what it has sent stays as long as the request.
    let (schema, sent) = unsafe {
        let buffer = upstream.request_bufs.as_ref().and_then(|link| link.buf.as_ref());
        let sent = buffer.map_or(&[][..], |buffer| {
            let len = usize::try_from(buffer.last.offset_from(buffer.start)).unwrap_or(0);
            bytes_of(&ngx_str_t { len, data: buffer.start })
        });
        (bytes_of(&upstream.schema), sent)
    };
    let is = |protocol: &[u8]| {
        schema.split_at_checked(protocol.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(protocol) && matches!(rest, b"://" | b"s://")
        })
    };
    if is(b"http") {
        // From the start of what was sent on: in HTTP/2 that is the preface or a frame, and no line of HTTP/1.
        let line = sent.split(|&byte| byte == b'\r').next().unwrap_or_default();
        return !line.windows(8).any(|part| part == b" HTTP/1.");
    }
    is(b"fastcgi") || is(b"grpc") || is(b"memcached")
}

/// Whether a body that broke off did so because the time of the location was up: NGINX closes the
/// connection before it tells, and what is left to see is how long it took.
fn timed_out(upstream: &ngx_http_upstream_t) -> bool {
    // SAFETY: an upstream that was connected to has a configuration, and a state per attempt.
    unsafe {
        let (Some(conf), Some(state)) = (upstream.conf.as_ref(), upstream.state.as_ref()) else {
            return false;
        };
        state.response_time >= conf.read_timeout
    }
}

/// Whether a bit of a structure of NGINX's is set.
fn is_set<T>(bit: &Bits<T>, of: &T) -> bool {
    // SAFETY: whoever has a reference to it has it live.
    unsafe { bit.is_set(of) }
}

/// Whether NGINX ended the answer before its end; see `question::ask`.
fn broke_off(question: Request<'_>) -> bool {
    // SAFETY: the subrequest is live.
    unsafe { !request::KEEPALIVE.is_set(question.as_ptr()) }
}

/// Whether the answer came from a proxy_cache.
fn is_cached(question: Request<'_>) -> bool {
    // SAFETY: the subrequest is live.
    unsafe { request::CACHED.is_set(question.as_ptr()) }
}

/// What the capturing buffer holds.
fn captured(question: Request<'_>) -> &[u8] {
    // SAFETY: `question` put one link with one buffer there; NGINX fills it from `pos` to `last`. It
    // lives in the pool of the request, and is not written after the subrequest is finalised.
    unsafe {
        let out = (*question.as_ptr()).out;
        let Some(buffer) = out.as_ref().and_then(|link| link.buf.as_ref()) else { return &[] };
        let len = usize::try_from(buffer.last.offset_from(buffer.pos)).unwrap_or(0);
        bytes_of(&ngx_str_t { len, data: buffer.pos })
    }
}

/// Gives back what the answer was captured in: it is judged, and the request may go on for hours.
///
/// # Safety
/// Nobody has [`receive`]'s bytes any longer.
pub(super) unsafe fn forget(question: Request<'_>) {
    // SAFETY: `question` put one link with one buffer there, of the request's pool; what NGINX looks for next is
    // none.
    unsafe {
        let out = (*question.as_ptr()).out;
        (*question.as_ptr()).out = ptr::null_mut();
        if let Some(buffer) = out.as_ref().and_then(|link| link.buf.as_ref()) {
            question.pool().release(buffer.start);
        }
    }
}

/// The answer's Content-Type, with its parameters.
pub(super) fn content_type(question: Request<'_>) -> &[u8] {
    // SAFETY: the value is in the pool of the request.
    unsafe { bytes_of(&(*question.as_ptr()).headers_out.content_type) }
}

/// Whether the body is compressed, or otherwise not as it is.
pub(super) fn is_encoded(question: Request<'_>) -> bool {
    values(question, b"content-encoding")
        .any(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
}

/// The values of one header of the server's answer, as it was sent.
pub(super) fn values<'r>(
    question: Request<'r>,
    lowcase: &'static [u8],
) -> impl Iterator<Item = &'r [u8]> {
    // SAFETY: the upstream, if there is one, lives as long as the request, and its headers with it.
    unsafe {
        let upstream = (*question.as_ptr()).upstream;
        let list = if upstream.is_null() {
            ptr::null()
        } else {
            &raw const (*upstream).headers_in.headers
        };
        headers::iterate(list)
            .filter(move |(name, _)| name.eq_ignore_ascii_case(lowcase))
            .map(|(_, value)| value)
    }
}

/// The server's `Retry-After`, if it is fit to be passed on.
pub(super) fn retry_after(question: Request<'_>) -> ngx_str_t {
    values(question, b"retry-after")
        .next()
        .filter(|value| value.len() <= MAX_RETRY_AFTER)
        .filter(|value| value.iter().all(|byte| (0x20..0x7f).contains(byte)))
        .map_or(ngx_str_t::empty(), string_over)
}
