//! The server's keys arrive: read, kept for all who verify by them, or the last good ones go on.

use nginx_sys::{ngx_int_t, ngx_str_t};
use phantom_token_core::answer::{Answer, KeysError, read_keys};
use phantom_token_core::cache::Stored;
use phantom_token_core::cache_control;
use phantom_token_core::reason::Reason;
use thiserror::Error;

use super::asked::{asked_in, peer_and_status, uri};
use super::concluded::Concluded;
use super::received::{self, content_type, is_encoded, receive, retry_after, values};
use crate::context::{Context, Outcome};
use crate::key_sets::{Failed, Place};
use crate::log::{Shown, log};
use crate::request::{self, Request};

/// Why there are no keys, in words that name the right location.
#[derive(Debug, Error)]
enum Trouble {
    #[error(
        "the location that phantom_token_jwks names answered by itself, without asking a server: check that it has a \
         \"proxy_pass\" and that nothing in it or in the server block returns before that"
    )]
    NotAsked,
    #[error(
        "the server did not give its keys in time: it is slow, or \"proxy_connect_timeout\" and \
         \"proxy_read_timeout\" of the location that phantom_token_jwks names are too short"
    )]
    TimedOut,
    #[error(
        "the answer has more than 256 KiB and \"phantom_token_max_response\", or its chunks are not valid"
    )]
    TooLarge,
    #[error(
        "the location that phantom_token_jwks names sent the question elsewhere inside nginx (try_files, error_page)"
    )]
    Redirected,
    #[error("{0}")]
    Received(received::Trouble),
    #[error("{0}")]
    Answer(#[from] KeysError),
}

impl Trouble {
    fn reason(&self) -> Reason {
        match self {
            Self::NotAsked => Reason::Internal,
            Self::TimedOut => Reason::ServerTimeout,
            Self::TooLarge | Self::Redirected => Reason::ServerBadAnswer,
            Self::Received(trouble) => trouble.reason(),
            Self::Answer(error) => error.reason(),
        }
    }
}

impl From<received::Trouble> for Trouble {
    fn from(trouble: received::Trouble) -> Self {
        match trouble {
            received::Trouble::NotAsked => Self::NotAsked,
            received::Trouble::TimedOut => Self::TimedOut,
            received::Trouble::TooLarge => Self::TooLarge,
            received::Trouble::Redirected => Self::Redirected,
            other => Self::Received(other),
        }
    }
}

/// Reads and keeps the keys. Where that fails and there are others, these go on.
pub(super) fn conclude(question: Request<'_>, context: &Context, rc: ngx_int_t) -> Concluded {
    let location = asked_in(question, context);
    let Some(place) = Place::of(location, question.server()) else {
        return Concluded::Outcome(Outcome::refused(Reason::Internal));
    };
    let trouble = match fetched(question, context, rc, &place) {
        Ok(()) => return Concluded::Keys(None),
        Err(trouble) => trouble,
    };
    let reason = trouble.reason();
    match place.fail(request::now()) {
        Failed::LastGood { is_news } => {
            if is_news {
                log_trouble(question, rc, &trouble, ", the last good keys are used");
            }
            Concluded::Keys(Some(reason))
        }
        Failed::NoSet => {
            log_trouble(question, rc, &trouble, "");
            let retry_after = match reason {
                Reason::ServerBusy => retry_after(question),
                _ => ngx_str_t::empty(),
            };
            Concluded::Outcome(Outcome::Refused { reason, retry_after })
        }
    }
}

/// Keys could not be fetched by another worker. Says whether this one has some that go on for a request that waits
/// for them.
pub(super) fn go_on(waiting: Request<'_>) -> bool {
    // SAFETY: the context lives in the pool of the waiting request.
    let Some(context) = Context::of(waiting).map(|context| unsafe { context.as_ref() }) else {
        return false;
    };
    let now = request::now();
    let place =
        context.for_keys.get().then(|| Place::of(asked_in(waiting, context), waiting.server()));
    let Some(place) = place.flatten().filter(|place| place.find(now).is_some()) else {
        return false;
    };
    place.pause(now);
    true
}

fn fetched(
    question: Request<'_>,
    context: &Context,
    rc: ngx_int_t,
    place: &Place<'_>,
) -> Result<(), Trouble> {
    let (status, body) = receive(question, context, rc)?;
    let directives = cache_control::parse(values(question, b"cache-control"));
    let content_type = content_type(question);
    let encoded = is_encoded(question);
    let set = read_keys(&Answer { status, content_type, encoded, directives, body })?;
    let now = request::now();
    if let Some(unusable) = set.unusable()
        && place.is_news(&set, now)
    {
        log!(
            NGX_LOG_WARN,
            question.log(),
            "phantom_token: not all of the server's keys are used: {unusable}, endpoint \"{}\"",
            Shown(uri(question))
        );
    }
    let (had_failed, stored) = place.keep(set, (context.asked.get(), directives), body, now);
    if had_failed {
        log!(
            NGX_LOG_ERR,
            question.log(),
            "phantom_token: the server gives its keys again, location \"{}\", endpoint \"{}\", server \"{}\"",
            Shown(question.main().location_name()),
            Shown(uri(question)),
            Shown(question.server_name())
        );
    }
    if stored == Stored::TooLarge {
        log!(
            NGX_LOG_ERR,
            question.log(),
            "phantom_token: keys of {} bytes are too large for the cache zone, so that each worker fetches its \
             own: make the zone larger, location \"{}\", endpoint \"{}\", server \"{}\"",
            body.len(),
            Shown(question.main().location_name()),
            Shown(uri(question)),
            Shown(question.server_name())
        );
    }
    Ok(())
}

fn log_trouble(question: Request<'_>, rc: ngx_int_t, trouble: &Trouble, what_now: &str) {
    let (peer, status) = peer_and_status(question, rc);
    log!(
        NGX_LOG_ERR,
        question.log(),
        "phantom_token: {}, no keys: {trouble}{what_now}, location \"{}\", endpoint \"{}\", server \"{}\", \
         upstream {}, status {status}",
        trouble.reason().slug(),
        Shown(question.main().location_name()),
        Shown(uri(question)),
        Shown(question.server_name()),
        Shown(peer)
    );
}
