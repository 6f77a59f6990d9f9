//! Protected resources (RFC 9728): what a location says of its own, and the documents of a server block.

use core::cell::Cell;
use core::ptr;

use nginx_sys::{ngx_array_create, ngx_array_t, ngx_conf_t, ngx_http_handler_pt, ngx_str_t};
use phantom_token_core::metadata::{BearerMethod, Description, Document, OtherServers, Resource};

use super::conclude::{Fault, no_memory};
use super::{LocationConf, Position, ServerConf, choice, core_location, policy, server_conf};
use crate::log::Shown;
use crate::pool::{Pool, bytes_of, push};

/// What a location says of the resource that it belongs to, and whether it answers with documents itself.
pub(crate) struct ResourceConf {
    /// `phantom_token_resource`; no data: none.
    pub(crate) identifier: ngx_str_t,
    pub(crate) identified_at: Position,
    /// `phantom_token_authorization_server`: issuers, as `&str`s; null: none.
    pub(crate) authorization_servers: *mut ngx_array_t,
    /// `phantom_token_resource_metadata`: what answers here; none: something else.
    pub(crate) handler: ngx_http_handler_pt,
    pub(crate) handler_at: Position,
    /// It is for clients that have no token yet, and `phantom_token` is on only further out.
    pub(super) is_open: bool,
}

impl ResourceConf {
    /// A level where nothing was said.
    pub(super) const fn unset(nowhere: Position) -> Self {
        Self {
            identifier: ngx_str_t::empty(),
            identified_at: nowhere,
            authorization_servers: ptr::null_mut(),
            handler: None,
            handler_at: nowhere,
            is_open: false,
        }
    }

    /// The resource, where one is named.
    pub(super) fn resource(&self) -> Option<Resource<'_>> {
        // SAFETY: the string is the cycle's.
        let identifier = unsafe { bytes_of(&self.identifier) };
        // The setter has let no other pass.
        if identifier.is_empty() { None } else { Resource::parse(identifier).ok() }
    }

    /// The issuers, as they were given.
    fn authorization_servers(&self) -> &[&str] {
        // SAFETY: the setter pushes slices of the cycle's memory and nothing else.
        unsafe { self.authorization_servers.as_ref().map_or(&[], |servers| servers.as_slice()) }
    }

    /// NGINX's inheritance. `says_switch`: `phantom_token` is said on this level.
    pub(super) fn inherit(
        &mut self,
        cf: &ngx_conf_t,
        outer: &Self,
        says_switch: bool,
    ) -> Result<(), Fault> {
        if self.identifier.data.is_null() {
            self.identifier = outer.identifier;
            self.identified_at = outer.identified_at;
        }
        if self.authorization_servers.is_null() {
            self.authorization_servers = outer.authorization_servers;
        }
        self.is_open = self.handler.is_some() && !says_switch;
        let core = core_location(cf);
        // SAFETY: the configuration is live, and nobody else has a reference to it.
        unsafe {
            if self.handler.is_some() && !is_same((*core).handler, self.handler) {
                // What needs a token otherwise would be open.
                let text = "\"phantom_token_resource_metadata\" cannot be beside another directive \
                            that answers requests, such as \"proxy_pass\": give it a location of its \
                            own";
                return Err(Fault { text: text.into(), at: self.handler_at });
            }
            // Within `if` and `limit_except` the location answers as around them.
            if (*core).noname() != 0 && (*core).handler.is_none() && outer.handler.is_some() {
                (*core).handler = outer.handler;
                self.handler = outer.handler;
                self.handler_at = outer.handler_at;
                self.is_open = outer.is_open && !says_switch;
            }
        }
        Ok(())
    }
}

/// Whether both are one function.
fn is_same(one: ngx_http_handler_pt, other: ngx_http_handler_pt) -> bool {
    one.zip(other).is_some_and(|(one, other)| ptr::fn_addr_eq(one, other))
}

/// The documents of a server block, and what they are made of.
pub(crate) struct Published {
    /// `*const LocationConf`s whose challenges name a resource; null: none.
    locations: Cell<*mut ngx_array_t>,
    /// Where one of its locations answers with documents.
    handler_at: Cell<Option<Position>>,
    /// [`Entry`]s; null: none.
    entries: Cell<*mut ngx_array_t>,
}

/// A document, and the request that it answers.
struct Entry {
    path: ngx_str_t,
    query: ngx_str_t,
    body: ngx_str_t,
}

impl Published {
    pub(super) const fn new() -> Self {
        Self {
            locations: Cell::new(ptr::null_mut()),
            handler_at: Cell::new(None),
            entries: Cell::new(ptr::null_mut()),
        }
    }

    /// The document that a request for this path (`$uri`) and query means, in the cycle's memory.
    pub(crate) fn document(&self, path: &[u8], query: &[u8]) -> Option<&[u8]> {
        // SAFETY: `publish` made the array, of entries whose strings are the cycle's.
        unsafe {
            let entries = self.entries.get().as_ref()?.as_slice::<Entry>();
            let is_meant =
                |entry: &&Entry| bytes_of(&entry.path) == path && bytes_of(&entry.query) == query;
            entries.iter().find(is_meant).map(|entry| bytes_of(&entry.body))
        }
    }

    fn locations(&self) -> &[*const LocationConf] {
        // SAFETY: `describe_resource` pushes pointers to locations and nothing else.
        unsafe { self.locations.get().as_ref().map_or(&[], |locations| locations.as_slice()) }
    }
}

/// Notes that a location of the server block that is read answers with documents.
pub(crate) fn expect_documents(cf: &ngx_conf_t) {
    server_conf(cf).published.handler_at.set(Some(Position::of(cf)));
}

impl LocationConf {
    /// Enters a location that is on among those that the documents of its server block are made of.
    pub(super) fn describe_resource(&self, cf: &ngx_conf_t, pool: Pool<'_>) -> Result<(), Fault> {
        if self.resource.identifier.data.is_null() {
            return Ok(());
        }
        add(&server_conf(cf).published.locations, pool, ptr::from_ref(self))
            .ok_or_else(|| no_memory(self.resource.identified_at))
    }

    /// What the document says of this location. A directive that tells what tokens must be like adds its
    /// part here.
    fn description(&self) -> Description<'_> {
        // SAFETY: the string is the cycle's.
        let mentioned = unsafe { bytes_of(&self.scopes) }.split(|&byte| byte == b' ');
        // Of scopes that are in a challenge, all bytes are ASCII.
        let scopes = mentioned.chain(policy::texts(self.required_scopes)).map(str::from_utf8);
        Description {
            authorization_servers: self.resource.authorization_servers().to_vec(),
            scopes: scopes.flatten().filter(|scope| !scope.is_empty()).collect(),
            bearer_method: self.bearer_method(),
            takes_proofs: self.binding == choice::binding::REQUIRED,
            certificate_bound: self.binding == choice::binding::REQUIRED,
        }
    }

    /// How a token is presented here, where RFC 6750 knows that way.
    fn bearer_method(&self) -> Option<BearerMethod> {
        // SAFETY: the source, null or not, and its name are the cycle's.
        match unsafe { self.token_source.as_ref() } {
            None => Some(BearerMethod::Header),
            Some(source) => {
                // SAFETY: as above.
                let name = unsafe { bytes_of(&source.name) };
                name.eq_ignore_ascii_case(b"arg_access_token").then_some(BearerMethod::Query)
            }
        }
    }
}

/// Makes the documents of a server block, when all its locations are complete; `None`: an error, which
/// is logged.
pub(crate) fn publish(cf: &ngx_conf_t, server: &ServerConf) -> Option<()> {
    make_documents(cf, server).map_err(|fault| fault.log(cf)).ok()
}

fn make_documents(cf: &ngx_conf_t, server: &ServerConf) -> Result<(), Fault> {
    let Some(at) = server.published.handler_at.get() else { return Ok(()) };
    let mut documents: Vec<Document<'_>> = Vec::new();
    for &location in server.published.locations() {
        // SAFETY: locations are in the cycle's pool, and complete.
        add_location(&mut documents, unsafe { &*location })?;
    }
    if documents.is_empty() {
        let text = "\"phantom_token_resource_metadata\" has no document to give: no location of the \
                    server block has \"phantom_token on\" and a \"phantom_token_resource\"";
        return Err(Fault { text: text.into(), at });
    }
    // SAFETY: the configuration's pool is the cycle's.
    let pool = unsafe { Pool::from_ptr(cf.pool) };
    for document in &documents {
        let resource = document.resource();
        let string = |bytes: &[u8]| pool.string(bytes).ok_or_else(|| no_memory(at));
        let entry = Entry {
            path: string(&resource.metadata_path())?,
            query: string(resource.query().as_bytes())?,
            body: string(document.to_json().as_bytes())?,
        };
        add(&server.published.entries, pool, entry).ok_or_else(|| no_memory(at))?;
    }
    Ok(())
}

/// Adds what a location says to the document of its resource.
fn add_location<'a>(
    documents: &mut Vec<Document<'a>>,
    location: &'a LocationConf,
) -> Result<(), Fault> {
    let Some(resource) = location.resource.resource() else { return Ok(()) };
    let at = location.resource.identified_at;
    let is_known = |document: &Document<'_>| {
        (document.resource().metadata_path(), document.resource().query())
            == (resource.metadata_path(), resource.query())
    };
    if !documents.iter().any(is_known) {
        documents.push(Document::new(resource));
    }
    let Some(document) = documents.iter_mut().find(|document| is_known(document)) else {
        return Ok(());
    };
    let shown = Shown(resource.as_str().as_bytes());
    if document.resource() != resource {
        let other = Shown(document.resource().as_str().as_bytes());
        let text = format!(
            "\"phantom_token_resource\" has \"{shown}\" and \"{other}\" in one server block, whose \
             metadata would be in the same place"
        );
        return Err(Fault { text, at });
    }
    document.add(&location.description()).map_err(|OtherServers| Fault {
        text: format!(
            "\"phantom_token_authorization_server\" differs among the locations of \"{shown}\": name \
             all servers of a resource in each of them, or once further out"
        ),
        at,
    })
}

/// Appends to an array that is made at the first use.
fn add<T>(array: &Cell<*mut ngx_array_t>, pool: Pool<'_>, value: T) -> Option<()> {
    if array.get().is_null() {
        // SAFETY: the pool is live.
        array.set(unsafe { ngx_array_create(pool.as_ptr(), 4, size_of::<T>()) });
    }
    if array.get().is_null() {
        return None;
    }
    // SAFETY: the array was made for such elements.
    unsafe { push(array.get(), value) }
}
