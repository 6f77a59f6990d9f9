//! Verdicts past their time, used while the authorization server cannot be asked: one line in the log when
//! that begins, and one when it ends; both at most once in a while, for a server may fail every other time.

use phantom_token_core::reason::Reason;

use crate::conf::LocationConf;
use crate::log::{Shown, log};
use crate::request::{self, Request};

/// How long the log is silent after it has said that it begins, in milliseconds.
const SILENCE: u64 = 60_000;

/// A verdict past its time is used in this location.
pub(crate) fn began(request: Request<'_>, location: &LocationConf, reason: Reason) {
    let now = request::monotonic();
    if !location.serves_stale.get() && now >= location.stale_silent_until.get() as u64 {
        location.serves_stale.set(true);
        let until = now.saturating_add(SILENCE);
        location.stale_silent_until.set(usize::try_from(until).unwrap_or(usize::MAX));
        log!(
            NGX_LOG_ERR,
            request.log(),
            "phantom_token: {}, verdicts past their time are used from now on, location \"{}\"",
            reason.slug(),
            Shown(request.location_name())
        );
    }
}

/// The server has answered.
pub(crate) fn ended(request: Request<'_>, location: &LocationConf) {
    if location.serves_stale.take() {
        log!(
            NGX_LOG_ERR,
            request.log(),
            "phantom_token: the authorization server answers again, location \"{}\"",
            Shown(request.location_name())
        );
    }
}
