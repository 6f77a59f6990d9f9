//! The question that was answered: which location asked it, where it went, and who answered.

use nginx_sys::ngx_int_t;

use crate::conf::LocationConf;
use crate::context::Context;
use crate::pool::bytes_of;
use crate::request::Request;

/// The location that the question was asked in. NGINX may have taken the request elsewhere since (post_action).
pub(super) fn asked_in<'r>(question: Request<'r>, context: &Context) -> &'r LocationConf {
    // SAFETY: the location that the request asks in, null or not, is the cycle's.
    unsafe { context.asked_in.get().as_ref() }.unwrap_or_else(|| question.main().location())
}

/// The status that the server has sent, 0 if none; `None`: no server was asked.
pub(super) fn status_of_server(question: Request<'_>) -> Option<usize> {
    // SAFETY: the subrequest is live, and its upstream, if there is one, with it.
    unsafe { (*question.as_ptr()).upstream.as_ref().map(|upstream| upstream.headers_in.status_n) }
}

pub(super) fn uri(question: Request<'_>) -> &[u8] {
    // SAFETY: the subrequest is live, and its URI lives as long.
    unsafe { bytes_of(&(*question.as_ptr()).uri) }
}

/// Whom the question was sent to, and the status that came back, or what NGINX makes of it.
pub(super) fn peer_and_status(question: Request<'_>, rc: ngx_int_t) -> (&[u8], usize) {
    // SAFETY: the subrequest is live; the strings live as long as it.
    let (peer, said) = unsafe {
        let upstream = (*question.as_ptr()).upstream.as_ref();
        let peer = upstream
            .and_then(|upstream| upstream.state.as_ref())
            .and_then(|state| state.peer.as_ref())
            .map_or(&b"-"[..], |peer| bytes_of(peer));
        (peer, upstream.map_or(0, |upstream| upstream.headers_in.status_n))
    };
    (peer, if said != 0 { said } else { usize::try_from(rc).unwrap_or(0) })
}
