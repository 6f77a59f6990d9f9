//! What is wrong with a configuration, and shows only when all levels are read.

use nginx_sys::ngx_conf_t;

use super::position::Position;
use crate::log::{Shown, log};
use crate::pool::bytes_of;

/// What is wrong, and where.
pub(super) struct Fault {
    pub(super) text: String,
    pub(super) at: Position,
}

impl Fault {
    /// Says it as NGINX does of a directive that it is reading.
    pub(super) fn log(&self, cf: &ngx_conf_t) {
        let Self { text, at } = self;
        // SAFETY: the name of a configuration file lives in the cycle's pool.
        let file = Shown(unsafe { bytes_of(&at.file) });
        log!(NGX_LOG_EMERG, cf.log, "{text} in {file}:{}", at.line);
    }
}

pub(super) fn no_memory(at: Position) -> Fault {
    Fault { text: "no memory for the configuration of \"phantom_token\"".into(), at }
}
