//! Setters of the directives that say which protected resource a location belongs to (RFC 9728).

use core::ffi::{c_char, c_void};

use nginx_sys::{ngx_command_t, ngx_conf_t};
use phantom_token_core::metadata::{self, Resource, UrlFault};

use super::argument::{Fault, array, set, shown_url, text};
use crate::conf::{Position, core_location, expect_documents};
use crate::metadata::handler;
use crate::pool::push;

fn invalid(url: &[u8], fault: UrlFault) -> Fault {
    Fault::Url(shown_url(url), fault)
}

/// `phantom_token_resource url`
pub(super) unsafe extern "C" fn set_resource(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, pool, args, conf| {
        if !conf.resource.identifier.data.is_null() {
            return Err(Fault::Duplicate);
        }
        let identifier = text(args.first());
        Resource::parse(identifier).map_err(|fault| invalid(identifier, fault))?;
        conf.resource.identifier = pool.string(identifier).ok_or(Fault::NoMemory)?;
        conf.resource.identified_at = Position::of(cf);
        Ok(())
    })
}

/// `phantom_token_authorization_server issuer ...`
pub(super) unsafe extern "C" fn set_authorization_servers(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |_cf, pool, args, conf| {
        let servers = array::<&str>(pool, &mut conf.resource.authorization_servers)?;
        for arg in args {
            let server = text(Some(arg));
            let issuer = metadata::issuer(server).map_err(|fault| invalid(server, fault))?;
            // SAFETY: the array was made for slices of text, and the arguments live with the cycle.
            unsafe { push::<&str>(servers, issuer) }.ok_or(Fault::NoMemory)?;
        }
        Ok(())
    })
}

/// `phantom_token_resource_metadata`
pub(super) unsafe extern "C" fn set_resource_metadata(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    set(cf, conf, |cf, _pool, _args, conf| {
        if conf.resource.handler.is_some() {
            return Err(Fault::Duplicate);
        }
        conf.resource.handler = Some(handler);
        conf.resource.handler_at = Position::of(cf);
        let core = core_location(cf);
        // SAFETY: the configuration of the location that is read is live.
        unsafe {
            if (*core).handler.is_some() {
                return Err(Fault::OtherHandler);
            }
            (*core).handler = conf.resource.handler;
        }
        expect_documents(cf);
        Ok(())
    })
}
