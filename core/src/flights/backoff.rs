//! Leaving a server alone that fails and fails: an outage must not turn every request into a connection
//! attempt.

use crate::reason::Reason;

/// So many failures in a row are chance.
const PATIENCE: u32 = 10;
/// The first pause, in milliseconds; each further failure doubles it.
const FIRST_PAUSE: u64 = 100;
/// The longest pause: the server is found again at the latest after it.
const LONGEST_PAUSE: u64 = 2_000;
/// Servers that can fail at the same time; beyond them the one that failed longest ago is forgotten.
const SERVERS: usize = 8;

/// What a note has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// Nothing that an operator need know.
    Nothing,
    /// The server is left alone from now on.
    Began,
    /// It is not any more.
    Ended,
}

/// What is known of servers that fail. Plain integers: any bytes are valid.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Backoff([Server; SERVERS]);

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Server {
    /// Who; 0: nobody.
    server: u64,
    /// When it failed last.
    failed: u64,
    /// When the next question may find out.
    until: u64,
    failures: u32,
    /// Why it failed last, by [`Reason::code`].
    reason: u32,
}

impl Backoff {
    /// Whether anything is known of the server.
    pub(super) fn knows(&self, server: u64) -> bool {
        self.0.iter().any(|known| known.server == name(server))
    }

    /// Notes a failure or, with which all is forgotten, a success.
    pub(super) fn note(&mut self, server: u64, failure: Option<Reason>, now: u64) -> Noted {
        let server = name(server);
        let known = self.0.iter_mut().find(|known| known.server == server);
        let Some(reason) = failure else {
            let before = known.map_or(0, |known| core::mem::take(known).failures);
            return if pause(before) == 0 { Noted::Nothing } else { Noted::Ended };
        };
        let known = match known {
            Some(known) => known,
            None => {
                let Some(oldest) = self.0.iter_mut().min_by_key(|known| known.failed) else {
                    return Noted::Nothing;
                };
                *oldest = Server { server, ..Server::default() };
                oldest
            }
        };
        known.failed = now;
        known.failures = known.failures.saturating_add(1);
        known.until = now.saturating_add(pause(known.failures));
        known.reason = u32::from(reason.code());
        if known.failures == PATIENCE { Noted::Began } else { Noted::Nothing }
    }

    /// Why the server is to be left alone. If it is not, who asks is the one that finds out, and others wait
    /// for as long again.
    pub(super) fn check(&mut self, server: u64, now: u64) -> Option<Reason> {
        let server = name(server);
        let known = self.0.iter_mut().find(|known| known.server == server)?;
        let pause = pause(known.failures);
        if pause == 0 {
            return None;
        }
        if now < known.until {
            let reason = u8::try_from(known.reason).ok().and_then(Reason::of_code);
            return Some(reason.unwrap_or(Reason::ServerUnreachable));
        }
        known.until = now.saturating_add(pause);
        None
    }
}

/// No server has the name 0.
fn name(server: u64) -> u64 {
    server.max(1)
}

fn pause(failures: u32) -> u64 {
    match failures.checked_sub(PATIENCE) {
        None => 0,
        Some(more) => FIRST_PAUSE.saturating_mul(1 << more.min(16)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURE: Option<Reason> = Some(Reason::ServerBusy);

    fn failing(now: u64) -> Backoff {
        let mut backoff = Backoff::default();
        for _ in 1..PATIENCE {
            assert_eq!(backoff.note(7, FAILURE, now), Noted::Nothing);
        }
        assert_eq!(backoff.note(7, FAILURE, now), Noted::Began);
        backoff
    }

    #[test]
    fn a_few_failures_are_chance() {
        let mut backoff = Backoff::default();
        for _ in 1..PATIENCE {
            assert_eq!(backoff.note(7, FAILURE, 1_000), Noted::Nothing);
            assert_eq!(backoff.check(7, 1_000), None);
        }
        assert_eq!(backoff.note(7, None, 1_000), Noted::Nothing);
        assert!(!backoff.knows(7));
        let mut backoff = failing(1_000);
        assert_eq!(backoff.check(7, 1_000), FAILURE);
        assert_eq!(backoff.check(8, 1_000), None, "another server");
    }

    #[test]
    fn one_finds_out_while_others_are_kept_away() {
        let mut backoff = failing(1_000);
        assert_eq!(backoff.check(7, 1_099), FAILURE);
        assert_eq!(backoff.check(7, 1_100), None, "the first after the pause");
        assert_eq!(backoff.check(7, 1_100), FAILURE, "and no second one");
        assert_eq!(backoff.check(7, 1_200), None, "the first has not come back");
        assert_eq!(backoff.note(7, Some(Reason::ServerTimeout), 1_200), Noted::Nothing);
        assert_eq!(backoff.check(7, 1_399), Some(Reason::ServerTimeout), "twice the pause");
        assert_eq!(backoff.check(7, 1_400), None);
        assert_eq!(backoff.note(7, None, 1_400), Noted::Ended);
        assert!(!backoff.knows(7) && backoff.check(7, 1_400).is_none());
    }

    #[test]
    fn pauses_are_bounded() {
        let mut backoff = failing(1_000);
        for _ in 0..100 {
            backoff.note(7, FAILURE, 1_000);
        }
        assert_eq!(backoff.check(7, 1_000 + LONGEST_PAUSE - 1), FAILURE);
        assert_eq!(backoff.check(7, 1_000 + LONGEST_PAUSE), None);
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut backoff = Backoff::default();
        for server in 1..=SERVERS as u64 + 1 {
            for _ in 0..PATIENCE {
                backoff.note(server, FAILURE, server * 10);
            }
        }
        assert!(!backoff.knows(1) && backoff.knows(2) && backoff.knows(SERVERS as u64 + 1));
    }
}
