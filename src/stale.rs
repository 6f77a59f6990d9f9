//! Verdicts past their time, used while the authorization server cannot be asked: one line in the log when
//! that begins, and one when it ends.

use phantom_token_core::reason::Reason;

use crate::conf::LocationConf;
use crate::log::{Shown, log};
use crate::request::Request;

/// A verdict past its time is used in this location.
pub(crate) fn began(request: Request<'_>, location: &LocationConf, reason: Reason) {
    if !location.serves_stale.replace(true) {
        log!(
            NGX_LOG_WARN,
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
            NGX_LOG_NOTICE,
            request.log(),
            "phantom_token: the authorization server answers again, location \"{}\"",
            Shown(request.location_name())
        );
    }
}
