//! What NGINX loads: the module's tables, its place among the others, and its hooks.

use core::ffi::{c_char, c_void};
use core::ptr;

use nginx_sys::{
    NGX_HTTP_MODULE, ngx_array_push, ngx_conf_t, ngx_cycle_t, ngx_http_conf_addr_t,
    ngx_http_conf_ctx_t, ngx_http_conf_port_t, ngx_http_core_main_conf_t, ngx_http_core_module,
    ngx_http_core_srv_conf_t, ngx_http_handler_pt, ngx_http_module_t, ngx_http_server_name_t,
    ngx_int_t, ngx_module_t,
};
use phantom_token_core::key;

use crate::code::{ERROR, OK};
use crate::conf::{self, ServerConf};
use crate::guard::guard;
use crate::log::{log, log_conf};
use crate::pool::{Pool, bytes_of};
use crate::{
    access, cache_zone, directives, entry, filter, host, key_sets, precontent, slot, variables,
};

/// The name after which the module is called in all tables.
const NAME: &core::ffi::CStr = c"ngx_http_phantom_token_module";

/// The same for its filter.
const FILTER_NAME: &core::ffi::CStr = c"ngx_http_phantom_token_filter_module";

static CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(conf::create_main),
    init_main_conf: Some(conf::merge::init_main),
    create_srv_conf: Some(conf::create_server),
    merge_srv_conf: None,
    create_loc_conf: Some(conf::create_location),
    merge_loc_conf: Some(conf::merge::merge_location),
};

/// The module itself. NGINX writes its indexes into it before anything else happens.
#[allow(non_upper_case_globals, reason = "NGINX's naming of modules")]
pub(crate) static mut ngx_http_phantom_token_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const CONTEXT).cast_mut().cast::<c_void>(),
    commands: (&raw mut directives::COMMANDS).cast(),
    type_: NGX_HTTP_MODULE as usize,
    init_module: Some(init_module),
    exit_process: Some(exit_process),
    ..ngx_module_t::default()
};

static FILTER_CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: None,
    postconfiguration: Some(postconfiguration_of_filter),
    create_main_conf: None,
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: None,
    merge_loc_conf: None,
};

/// A module for the filter alone: NGINX puts its own filters in place after the first module has had its turn.
#[allow(non_upper_case_globals, reason = "NGINX's naming of modules")]
static mut ngx_http_phantom_token_filter_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const FILTER_CONTEXT).cast_mut().cast::<c_void>(),
    type_: NGX_HTTP_MODULE as usize,
    ..ngx_module_t::default()
};

/// The tables by which NGINX's `load_module` finds the module.
///
/// NGINX runs access handlers from the last registered to the first, and would put a loaded module last.
/// The order says: before auth_request, auth_basic and access in the list, hence after them at run time
/// but for auth_request. A client that they refuse causes no question. The filter's module is not in the order, and comes
/// last: its filter is on top of all others.
mod exports {
    #![allow(non_upper_case_globals, missing_docs, reason = "the names that NGINX looks for")]

    use super::{
        FILTER_NAME, NAME, c_char, ngx_http_phantom_token_filter_module,
        ngx_http_phantom_token_module, ngx_module_t, ptr,
    };

    #[unsafe(no_mangle)]
    static mut ngx_modules: [*const ngx_module_t; 3] = [
        &raw const ngx_http_phantom_token_module,
        &raw const ngx_http_phantom_token_filter_module,
        ptr::null(),
    ];

    #[unsafe(no_mangle)]
    static mut ngx_module_names: [*const c_char; 3] =
        [NAME.as_ptr(), FILTER_NAME.as_ptr(), ptr::null()];

    #[unsafe(no_mangle)]
    static mut ngx_module_order: [*const c_char; 4] = [
        NAME.as_ptr(),
        c"ngx_http_auth_basic_module".as_ptr(),
        c"ngx_http_access_module".as_ptr(),
        ptr::null(),
    ];
}

unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: NGINX has given the module its index, and calls before the configuration is read.
        slot::set_ctx_index(unsafe { ngx_http_phantom_token_module.ctx_index });
        // SAFETY: NGINX calls with a live configuration.
        if unsafe { variables::add(cf) }.is_some() { OK } else { ERROR }
    })
}

unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: NGINX calls with a live configuration, whose context is that of http by now.
        let main = unsafe {
            let context = (*cf).ctx.cast::<ngx_http_conf_ctx_t>();
            let index = ngx_http_core_module.ctx_index;
            (*(*context).main_conf.add(index)).cast::<ngx_http_core_main_conf_t>()
        };
        // SAFETY: as above.
        let can_be_led_away = conf::main_conf(unsafe { &*cf }).can_be_led_away.get();
        let entry: ngx_http_handler_pt = if can_be_led_away { Some(entry::handler) } else { None };
        let handlers: [(usize, ngx_http_handler_pt); 3] = [
            (nginx_sys::ngx_http_phases_NGX_HTTP_REWRITE_PHASE as usize, entry),
            (nginx_sys::ngx_http_phases_NGX_HTTP_ACCESS_PHASE as usize, Some(access::handler)),
            (
                nginx_sys::ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE as usize,
                Some(precontent::handler),
            ),
        ];
        for (phase, handler) in handlers {
            if handler.is_none() {
                continue;
            }
            // SAFETY: the core module has made an array of handlers for each phase.
            let slot = unsafe {
                match (*main).phases.get_mut(phase) {
                    Some(phase) => ngx_array_push(&raw mut phase.handlers),
                    None => ptr::null_mut(),
                }
            };
            if slot.is_null() {
                return ERROR;
            }
            // SAFETY: the slot is the room for one handler.
            unsafe { slot.cast::<ngx_http_handler_pt>().write(handler) };
        }
        // SAFETY: the core module's configuration is complete but for the optimised address tables.
        let published = unsafe {
            identify_servers(&*main);
            let pool = Pool::from_ptr((*cf).pool);
            publish_metadata(&*cf, &*main).and_then(|()| host::replace(&*main, pool))
        };
        if published.is_none() {
            return ERROR;
        }
        // SAFETY: as above; nothing of it is borrowed any longer.
        let cf = unsafe { &mut *cf };
        match conf::declare_proof_zone(cf) {
            Ok(()) => OK,
            Err(error) => {
                log_conf!(cf, "{error}");
                ERROR
            }
        }
    })
}

unsafe extern "C" fn postconfiguration_of_filter(_cf: *mut ngx_conf_t) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: NGINX calls after the modules before, whose filters are in place.
        unsafe { filter::install() };
        OK
    })
}

/// The configuration is complete and accepted: what depends on other parts of it than `http`, and on that.
unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard(ERROR, || {
        // SAFETY: NGINX calls with the new cycle; where there is an `http` block it has our configuration.
        let (limit, cycle) = unsafe { (conf::max_introspections(cycle), &*cycle) };
        // SAFETY: as above; this is the initialisation of modules.
        unsafe { cache_zone::accepted(cycle) };
        let connections = cycle.connection_n;
        if limit > connections / 4 {
            log!(
                NGX_LOG_WARN,
                cycle.log,
                "\"phantom_token_max_introspections\" of {limit} exceeds a quarter of the {connections} \
                 \"worker_connections\": questions could take them from clients"
            );
        }
        OK
    })
}

/// A worker ends, and NGINX unloads the module before the process is gone.
unsafe extern "C" fn exit_process(_cycle: *mut ngx_cycle_t) {
    guard((), key_sets::forget);
}

/// Gives every server block the identity that its verdicts belong to: the hash over its names and the
/// addresses that it listens on. Both together tell it from every other block that requests can reach.
///
/// # Safety
/// `main` is the core module's configuration while postconfiguration runs.
unsafe fn identify_servers(main: &ngx_http_core_main_conf_t) {
    // SAFETY: the arrays hold what NGINX's core puts there; `ports` is null where nothing listens.
    unsafe {
        let ports: &[ngx_http_conf_port_t] =
            main.ports.as_ref().map_or(&[], |ports| ports.as_slice());
        for &server in main.servers.as_slice::<*mut ngx_http_core_srv_conf_t>() {
            let names = (*server).server_names.as_slice::<ngx_http_server_name_t>();
            let names = names.iter().map(|name| bytes_of(&name.name));
            let addresses = ports
                .iter()
                .flat_map(|port| port.addrs.as_slice::<ngx_http_conf_addr_t>())
                .filter(|address| {
                    address.servers.as_slice::<*mut ngx_http_core_srv_conf_t>().contains(&server)
                })
                .map(|address| bytes_of(&address.opt.addr_text));
            let identity = key::identity(names.chain([&b"listen"[..]]).chain(addresses));
            let own = (*(*(*server).ctx).srv_conf.add(slot::ctx_index())).cast::<ServerConf>();
            conf::set_identity(&*own, identity);
        }
    }
}

/// Makes the metadata documents of every server block; `None`: an error, which is logged.
///
/// # Safety
/// As of [`identify_servers`].
unsafe fn publish_metadata(cf: &ngx_conf_t, main: &ngx_http_core_main_conf_t) -> Option<()> {
    // SAFETY: the array holds what NGINX's core puts there, and each block has our configuration.
    unsafe {
        for &server in main.servers.as_slice::<*mut ngx_http_core_srv_conf_t>() {
            let own = (*(*(*server).ctx).srv_conf.add(slot::ctx_index())).cast::<ServerConf>();
            conf::publish(cf, &*own)?;
        }
    }
    Some(())
}
