//! What the module knows of one request, kept where an internal redirect does not lose it.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use nginx_sys::{
    ngx_array_t, ngx_http_handler_pt, ngx_http_request_t, ngx_msec_t, ngx_pool_cleanup_t,
    ngx_str_t, ngx_table_elt_t,
};
use phantom_token_core::binding::BindingError;
use phantom_token_core::flights::Ticket;
use phantom_token_core::key::TokenKey;
use phantom_token_core::reason::Reason;
use phantom_token_core::record::{Record, UnixMillis};

use crate::cache_zone::Zone;
use crate::conf::{DpopNonce, LocationConf, TokenSource};
use crate::flight::{Flight, Waiter};
use crate::headers::{self, Proof};
use crate::pool::{Pool, string_over};
use crate::request::{self, Request};

/// How far the request is on its way to a verdict.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing is decided: to be looked up.
    Open,
    /// Waits for an answer, its own question's or another request's.
    Waiting,
    /// An outcome is there, and waits to be applied.
    Answered,
    /// The outcome was applied in the location that the request was in.
    Applied,
}

/// Whether a JWT that was not verified may be right by keys that the server has had since.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    None,
    /// The keys are to be fetched again, and then the question asked again.
    Raised,
    /// That was done, once for this request in this location.
    Settled,
}

/// `$phantom_token_cache_status`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    /// No look-up was made.
    None,
    /// Answered from the cache.
    Hit,
    /// Asked.
    Miss,
    /// Shared another request's question.
    Wait,
    /// Past its time, while the server cannot be asked.
    Stale,
    /// Known to be inactive.
    Negative,
    /// Known to have expired.
    Expired,
    /// Asked, where no cache is in use.
    Bypass,
}

impl CacheStatus {
    /// The text of the variable.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Wait => "WAIT",
            Self::Stale => "STALE",
            Self::Negative => "NEGATIVE",
            Self::Expired => "EXPIRED",
            Self::Bypass => "BYPASS",
        }
    }
}

/// What is kept for an active token, in the memory of a request: mostly a JWT, with `Bearer ` before it
/// and a NUL behind, which is the first byte of the facts where there are any.
#[derive(Clone, Copy)]
pub(crate) struct Carried {
    with_scheme: ngx_str_t,
    facts_len: usize,
}

impl Carried {
    const SCHEME: &'static [u8] = b"Bearer ";

    /// Room for a document of `len` bytes, and the place that they have to be written to; `None`: no memory.
    pub(crate) fn room(pool: Pool<'_>, len: usize) -> Option<(Self, &mut [MaybeUninit<u8>])> {
        let whole = pool.room(Self::SCHEME.len() + len + 1)?;
        let with_scheme =
            ngx_str_t { len: Self::SCHEME.len() + len, data: whole.as_mut_ptr().cast() };
        let (scheme, bare) = whole.split_at_mut_checked(Self::SCHEME.len())?;
        write(scheme, Self::SCHEME);
        let (place, nul) = bare.split_at_mut_checked(len)?;
        write(nul, b"\0");
        Some((Self { with_scheme, facts_len: 0 }, place))
    }

    /// The same, where the last `len` bytes of the document are the facts in truth.
    pub(crate) fn with_facts(self, len: usize) -> Self {
        let ngx_str_t { len: whole, data } = self.with_scheme;
        let facts_len = len.min(whole - Self::SCHEME.len());
        Self { with_scheme: ngx_str_t { len: whole - facts_len, data }, facts_len }
    }

    /// A copy of `document` and `facts`.
    pub(crate) fn copy(pool: Pool<'_>, document: &[u8], facts: &[u8]) -> Option<Self> {
        let (copy, place) = Self::room(pool, document.len() + facts.len())?;
        let (for_document, for_facts) = place.split_at_mut_checked(document.len())?;
        write(for_document, document);
        write(for_facts, facts);
        Some(copy.with_facts(facts.len()))
    }

    /// `Bearer <jwt>`
    pub(crate) fn with_scheme(self) -> ngx_str_t {
        self.with_scheme
    }

    /// The document alone.
    pub(crate) fn bare(self) -> ngx_str_t {
        // SAFETY: `room` made the string, whose first bytes are the scheme.
        let data = unsafe { self.with_scheme.data.add(Self::SCHEME.len()) };
        ngx_str_t { len: self.with_scheme.len - Self::SCHEME.len(), data }
    }

    /// The facts, as [`phantom_token_core::facts`] has them.
    pub(crate) fn facts(&self) -> &[u8] {
        // SAFETY: `room` made the bytes behind the string, in the memory of a request that outlives what it
        // carries.
        unsafe {
            let facts = self.with_scheme.data.add(self.with_scheme.len);
            core::slice::from_raw_parts(facts, self.facts_len)
        }
    }
}

/// Copies `bytes` to a place of their length.
fn write(place: &mut [MaybeUninit<u8>], bytes: &[u8]) {
    place.iter_mut().zip(bytes).for_each(|(to, from)| _ = to.write(*from));
}

/// What came of the look-up or of the question.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    /// The token is active.
    Active {
        /// What the record's `document` says.
        carried: Carried,
        /// What the rules of the location are about, beside the facts that are carried.
        record: Record,
    },
    /// No request passes.
    Refused {
        /// Why.
        reason: Reason,
        /// `Retry-After` for the client; empty: none.
        retry_after: ngx_str_t,
    },
}

impl Outcome {
    /// A refusal without `Retry-After`.
    pub(crate) fn refused(reason: Reason) -> Self {
        Self::Refused { reason, retry_after: ngx_str_t::empty() }
    }
}

/// One request's state. It lies in the request's pool as the data of a pool cleanup: an internal
/// redirect clears NGINX's per-module slots, and the pool's list of cleanups is what it leaves.
///
/// Cells, because a variable that is evaluated on the way reads what the handler is about to change.
pub(crate) struct Context {
    pub(crate) stage: Cell<Stage>,
    pub(crate) cache_status: Cell<CacheStatus>,
    /// Why the request was refused last.
    pub(crate) reason: Cell<Option<Reason>>,
    /// What is wrong with how the token is bound, until the refusal has said so.
    pub(crate) binding_error: Cell<Option<BindingError>>,
    /// The client's `Authorization` value, before anything was replaced.
    pub(crate) authorization: Cell<ngx_str_t>,
    /// There are several `Authorization` headers: NGINX's error page for that has led the request here.
    pub(crate) several: Cell<bool>,
    /// The client's `DPoP` header, which is among those that go upstream no longer.
    pub(crate) proof: Cell<Proof>,
    /// The token as the client sent it; empty: none.
    pub(crate) token: Cell<ngx_str_t>,
    /// It was presented with the scheme `DPoP`.
    pub(crate) is_dpop: Cell<bool>,
    /// What the proof of the request was accepted for: it is no replay of its own. Null: nothing.
    proven: Cell<*const Proven>,
    /// Where the request waits, or where the verdict was applied; null: neither, or taken back since.
    pub(crate) location: Cell<*const LocationConf>,
    /// The `token=` variable that `token` was read from; null: from `Authorization`.
    pub(crate) token_source: Cell<*const TokenSource>,
    /// What the token was looked up by.
    pub(crate) key: Cell<Option<TokenKey>>,
    /// The location that made the key. By its secret the facts of the outcome are made, too. Null: none.
    pub(crate) keyed_in: Cell<*const LocationConf>,
    outcome: Cell<Option<Outcome>>,
    /// A verdict past its time, to be applied if the question finds no server; null: none.
    stale: Cell<*const Outcome>,
    /// Claims whose fault was logged, by a few bits of their variables.
    pub(crate) faulty_claims: Cell<u64>,
    /// The claims of the outcome, once somebody has asked for one; null: not read yet.
    pub(crate) claims: Cell<*mut ngx_array_t>,
    /// The location whose headers were set upstream last; null: none, or taken back since.
    pub(crate) forwarded_by: Cell<*const LocationConf>,
    /// The challenge of an earlier refusal of this request; null: none.
    pub(crate) challenge: Cell<*mut ngx_table_elt_t>,
    /// The one for `DPoP` beside it; null: none.
    pub(crate) dpop_challenge: Cell<*mut ngx_table_elt_t>,
    /// When the wait for an answer began, on NGINX's monotonic clock in milliseconds.
    pub(crate) asked_at: Cell<ngx_msec_t>,
    /// The same by the wall clock: an answer is as old as its question.
    pub(crate) asked: Cell<UnixMillis>,
    /// How long the wait for an answer took, in milliseconds.
    pub(crate) took: Cell<Option<ngx_msec_t>>,
    /// This request asks, and has no answer yet.
    pub(crate) asking: Cell<bool>,
    /// The question that this request asks, null if none. Lives in this request's pool.
    pub(crate) flight: Cell<*mut Flight>,
    /// What the zone knows this request's question by.
    pub(crate) ticket: Cell<Option<(*const Zone, Ticket)>>,
    /// The number of the server that is asked.
    pub(crate) server: Cell<u64>,
    /// How long the request may wait for others, in milliseconds: for keys and for a verdict together, in the location
    /// that asks.
    pub(crate) wait_left: Cell<ngx_msec_t>,
    /// When it began to wait for what it waits for now, on NGINX's monotonic clock.
    pub(crate) waits_since: Cell<ngx_msec_t>,
    /// What the request waited for in another worker has ended with a verdict. If it is not in the cache, this
    /// request asks and follows nobody again.
    pub(crate) followed: Cell<bool>,
    /// The location that asks, wherever NGINX takes the request meanwhile; null: none ever did.
    pub(crate) asked_in: Cell<*const LocationConf>,
    /// What is asked, or waited for, are the keys and not the verdict.
    pub(crate) for_keys: Cell<bool>,
    /// Whether the keys are to be fetched anew before the question.
    pub(crate) doubt: Cell<Doubt>,
    /// No client has sent this request: it confirms a verdict in the background.
    pub(crate) background: Cell<bool>,
    /// The subrequest that asks, as long as `asking`.
    pub(crate) question: Cell<*mut ngx_http_request_t>,
    /// The answer was too large, or no filter could take it.
    pub(crate) answer_failed: Cell<bool>,
    /// What answers in the introspection location: `proxy_pass`, as a rule.
    pub(crate) content_handler: Cell<ngx_http_handler_pt>,
    /// Why there is no verdict was logged when the answer arrived.
    pub(crate) trouble_logged: Cell<bool>,
    /// The end of the request is watched.
    pub(crate) watched: Cell<bool>,
    /// This request's place among those who wait, null if it never waited.
    pub(crate) waiter: Cell<*mut Waiter>,
}

/// What a DPoP proof was accepted for.
#[derive(Clone, Copy)]
pub(crate) struct Proven {
    /// The token.
    pub(crate) token: ngx_str_t,
    /// The thumbprint of the key that it is bound to.
    pub(crate) key: [u8; 32],
    /// The nonce that was asked for; null: none.
    pub(crate) nonce: *const DpopNonce,
}

/// A context as it lies in the pool, with the cleanup that it is found by.
struct Kept {
    cleanup: ngx_pool_cleanup_t,
    context: Context,
}

impl Context {
    /// Makes a request known to the module.
    // Once for each request; what is zero is written together where the compiler sees all of it.
    #[inline(always)]
    pub(crate) fn create(request: Request<'_>) -> Option<NonNull<Self>> {
        let pool = request.pool();
        let kept = pool.place(Kept {
            cleanup: ngx_pool_cleanup_t {
                handler: Some(marker),
                data: ptr::null_mut(),
                next: ptr::null_mut(),
            },
            context: Self {
                stage: Cell::new(Stage::Open),
                cache_status: Cell::new(CacheStatus::None),
                reason: Cell::new(None),
                binding_error: Cell::new(None),
                authorization: Cell::new(string_over(request.authorization_value())),
                // No phase runs for such a request before.
                several: Cell::new(request.is_internal() && request.has_several_authorizations()),
                // SAFETY: the request is live.
                proof: Cell::new(unsafe {
                    headers::proof(&raw const (*request.as_ptr()).headers_in.headers)
                }),
                token: Cell::new(ngx_str_t::empty()),
                is_dpop: Cell::new(false),
                proven: Cell::new(ptr::null()),
                location: Cell::new(ptr::null()),
                token_source: Cell::new(ptr::null()),
                key: Cell::new(None),
                keyed_in: Cell::new(ptr::null()),
                outcome: Cell::new(None),
                stale: Cell::new(ptr::null()),
                faulty_claims: Cell::new(0),
                claims: Cell::new(ptr::null_mut()),
                forwarded_by: Cell::new(ptr::null()),
                challenge: Cell::new(ptr::null_mut()),
                dpop_challenge: Cell::new(ptr::null_mut()),
                asked_at: Cell::new(0),
                asked: Cell::new(0),
                took: Cell::new(None),
                asking: Cell::new(false),
                answer_failed: Cell::new(false),
                flight: Cell::new(ptr::null_mut()),
                ticket: Cell::new(None),
                server: Cell::new(0),
                wait_left: Cell::new(0),
                waits_since: Cell::new(0),
                followed: Cell::new(false),
                asked_in: Cell::new(ptr::null()),
                for_keys: Cell::new(false),
                doubt: Cell::new(Doubt::None),
                background: Cell::new(false),
                question: Cell::new(ptr::null_mut()),
                content_handler: Cell::new(None),
                trouble_logged: Cell::new(false),
                watched: Cell::new(false),
                waiter: Cell::new(ptr::null_mut()),
            },
        })?;
        // SAFETY: the pool is live, and what was placed there is ours. As ngx_pool_cleanup_add does, which
        // would allocate a second time.
        let context = unsafe {
            let kept = kept.as_ptr();
            let context = NonNull::from(&mut (*kept).context);
            (*kept).cleanup.data = context.as_ptr().cast();
            (*kept).cleanup.next = (*pool.as_ptr()).cleanup;
            (*pool.as_ptr()).cleanup = &raw mut (*kept).cleanup;
            context
        };
        request.set_slot(context.as_ptr().cast());
        Some(context)
    }

    /// The outcome, once there is one.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.get()
    }

    /// Sets or takes back the outcome, and the claims with it.
    pub(crate) fn set_outcome(&self, outcome: Option<Outcome>) {
        self.outcome.set(outcome);
        self.claims.set(ptr::null_mut());
        self.faulty_claims.set(0);
    }

    /// Keeps a verdict past its time, or forgets the one that was kept. If there is no memory, there is none.
    pub(crate) fn set_stale(&self, pool: Pool<'_>, outcome: Option<Outcome>) {
        let kept = outcome.and_then(|outcome| pool.place(outcome));
        self.stale.set(kept.map_or(ptr::null(), |kept| kept.as_ptr()));
    }

    /// The verdict that was kept, once.
    pub(crate) fn take_stale(&self) -> Option<Outcome> {
        // SAFETY: null, or in the request's pool.
        unsafe { self.stale.replace(ptr::null()).as_ref() }.copied()
    }

    /// Notes what the proof of the request was accepted for; `None`: no memory.
    pub(crate) fn set_proven(&self, pool: Pool<'_>, proven: Proven) -> Option<()> {
        self.proven.set(pool.place(proven)?.as_ptr());
        Some(())
    }

    /// What the proof of the request was accepted for.
    pub(crate) fn proven(&self) -> Option<Proven> {
        // SAFETY: null, or in the request's pool.
        unsafe { self.proven.get().as_ref() }.copied()
    }

    /// The location that the key, and with it the verdict, is from.
    pub(crate) fn keyed_in(&self) -> Option<&LocationConf> {
        // SAFETY: the location, null or not, is the cycle's.
        unsafe { self.keyed_in.get().as_ref() }
    }

    /// The location whose headers may still be among those for the upstream.
    pub(crate) fn forwarded_by(&self) -> Option<&LocationConf> {
        // SAFETY: the location, null or not, is the cycle's.
        unsafe { self.forwarded_by.get().as_ref() }
    }

    /// Whether a verdict that another location has applied is one that this location's times would let be
    /// used: it is as young as the request, having been asked for by it or while it waited, or is fresh here.
    pub(crate) fn is_usable_in(&self, location: &LocationConf) -> bool {
        let Some(Outcome::Active { record, .. }) = self.outcome.get() else { return false };
        let now = request::now();
        let was_asked = matches!(
            self.cache_status.get(),
            CacheStatus::Miss | CacheStatus::Wait | CacheStatus::Bypass
        );
        !record.is_over(now) && (was_asked || location.freshness.is_fresh(&record, now))
    }

    /// Whether the request stands, by its verdict, as `location` wants it.
    pub(crate) fn has_verdict_for(&self, location: &LocationConf) -> bool {
        // SAFETY: the location, null or not, is the cycle's.
        let applied = unsafe { self.location.get().as_ref() };
        self.stage.get() == Stage::Applied
            && self.reason.get().is_none()
            && applied.is_some_and(|applied| {
                core::ptr::eq(applied, location)
                    || (location.agrees_with(applied) && self.is_usable_in(location))
            })
    }

    /// The request's context, also behind an internal redirect; `None`: the module has not seen it.
    pub(crate) fn of(request: Request<'_>) -> Option<NonNull<Self>> {
        if let Some(context) = NonNull::new(request.slot()) {
            return Some(context.cast());
        }
        if !request.is_internal() || !request.is_main() {
            return None;
        }
        let context = request.pool().marked(marker)?.cast::<Self>();
        request.set_slot(context.as_ptr().cast());
        Some(context)
    }
}

/// Nothing to clean up: the address of this function marks a cleanup whose data is a [`Context`].
// A function that may be inlined can have an address in each codegen unit.
#[inline(never)]
unsafe extern "C" fn marker(_data: *mut c_void) {}
