//! Where a directive stands.

use nginx_sys::{ngx_conf_t, ngx_str_t, ngx_uint_t};

/// Where a directive stands, for errors that show only when all is read.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) file: ngx_str_t,
    pub(crate) line: ngx_uint_t,
}

impl Position {
    /// Nothing was said.
    pub(super) const NOWHERE: Self = Self { file: ngx_str_t::empty(), line: 0 };

    /// Where NGINX is reading now.
    pub(crate) fn of(cf: &ngx_conf_t) -> Self {
        // SAFETY: conf_file is null only for `-g` directives, which are main ones; the name of a
        // configuration file lives in the cycle's pool.
        unsafe {
            match cf.conf_file.as_ref() {
                Some(file) => Self { file: file.file.name, line: file.line },
                None => Self::NOWHERE,
            }
        }
    }
}
