//! NGINX's own structures and functions, apart from what this module makes of them.

pub(crate) mod bits;
pub(crate) mod event;
mod layout;
pub(crate) mod upstream_conf;
