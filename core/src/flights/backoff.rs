//! Leaving a server alone that fails and fails: an outage must not turn every request into a connection
//! attempt.

/// So many failures in a row are chance.
const PATIENCE: u32 = 10;
/// The first pause, in milliseconds; each further failure doubles it.
const FIRST_PAUSE: u64 = 100;
/// The longest pause: the server is found again at the latest after it.
const LONGEST_PAUSE: u64 = 2_000;
/// Servers that can fail at the same time; beyond them the one that failed longest ago is forgotten.
const SERVERS: usize = 8;

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
    failures: u64,
}

impl Backoff {
    /// Whether anything is known of the server.
    pub(super) fn knows(&self, server: u64) -> bool {
        self.0.iter().any(|known| known.server == name(server))
    }

    /// Notes a failure or, with which all is forgotten, a success.
    pub(super) fn note(&mut self, server: u64, failed: bool, now: u64) {
        let server = name(server);
        let known = self.0.iter_mut().find(|known| known.server == server);
        if !failed {
            if let Some(known) = known {
                *known = Server::default();
            }
            return;
        }
        let known = match known {
            Some(known) => known,
            None => {
                let Some(oldest) = self.0.iter_mut().min_by_key(|known| known.failed) else {
                    return;
                };
                *oldest = Server { server, ..Server::default() };
                oldest
            }
        };
        known.failed = now;
        known.failures = known.failures.saturating_add(1);
        known.until = now.saturating_add(pause(known.failures));
    }

    /// Whether the server is to be left alone. If not, who asks is the one that finds out, and others wait
    /// for as long again.
    pub(super) fn check(&mut self, server: u64, now: u64) -> bool {
        let server = name(server);
        let Some(known) = self.0.iter_mut().find(|known| known.server == server) else {
            return false;
        };
        let pause = pause(known.failures);
        if pause == 0 {
            return false;
        }
        if now < known.until {
            return true;
        }
        known.until = now.saturating_add(pause);
        false
    }
}

/// No server has the name 0.
fn name(server: u64) -> u64 {
    server.max(1)
}

fn pause(failures: u64) -> u64 {
    match failures.checked_sub(u64::from(PATIENCE)) {
        None => 0,
        Some(more) => FIRST_PAUSE.saturating_mul(1 << more.min(16)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_failures_are_chance() {
        let mut backoff = Backoff::default();
        for _ in 0..PATIENCE - 1 {
            backoff.note(7, true, 1_000);
            assert!(!backoff.check(7, 1_000));
        }
        backoff.note(7, true, 1_000);
        assert!(backoff.check(7, 1_000));
        assert!(!backoff.check(8, 1_000), "another server");
    }

    #[test]
    fn one_finds_out_while_others_are_kept_away() {
        let mut backoff = Backoff::default();
        for _ in 0..PATIENCE {
            backoff.note(7, true, 1_000);
        }
        assert!(backoff.check(7, 1_099));
        assert!(!backoff.check(7, 1_100), "the first after the pause");
        assert!(backoff.check(7, 1_100), "and no second one");
        assert!(!backoff.check(7, 1_200), "the first has not come back");
        backoff.note(7, true, 1_200);
        assert!(backoff.check(7, 1_399) && !backoff.check(7, 1_400), "twice the pause");
        backoff.note(7, false, 1_400);
        assert!(!backoff.knows(7) && !backoff.check(7, 1_400));
    }

    #[test]
    fn pauses_are_bounded() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            backoff.note(7, true, 1_000);
        }
        assert!(backoff.check(7, 1_000 + LONGEST_PAUSE - 1));
        assert!(!backoff.check(7, 1_000 + LONGEST_PAUSE));
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut backoff = Backoff::default();
        for server in 1..=SERVERS as u64 + 1 {
            for _ in 0..PATIENCE {
                backoff.note(server, true, server * 10);
            }
        }
        assert!(!backoff.knows(1) && backoff.knows(2) && backoff.knows(SERVERS as u64 + 1));
    }
}
