//! What locations say of their protected resources becomes documents (RFC 9728).

use core::cell::Cell;
use core::ptr;

use nginx_sys::{ngx_array_create, ngx_array_t, ngx_conf_t};
use phantom_token_core::metadata::{BearerMethod, Description, Document, OtherServers};

use super::choice::binding;
use super::documents::Entry;
use super::fault::{Fault, no_memory};
use super::location::LocationConf;
use super::policy;
use super::position::Position;
use super::server::{ServerConf, server_conf};
use crate::log::Shown;
use crate::pool::{Pool, bytes_of, push};

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
        // What challenges say, of a 401 and of a 403. Of scopes that are in one, all bytes are ASCII.
        let scopes = self.hinted_scopes().chain(policy::texts(self.required_scopes));
        Description {
            authorization_servers: self.resource.authorization_servers().to_vec(),
            scopes: scopes.flat_map(str::from_utf8).collect(),
            bearer_method: self.bearer_method(),
            takes_proofs: self.binding == binding::REQUIRED,
            certificate_bound: self.binding == binding::REQUIRED,
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
