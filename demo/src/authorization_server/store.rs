//! The issued tokens and their lives; in memory alone.

use std::collections::HashMap;
use std::io;

use crate::random;

/// What a token stands for; times in seconds since 1970.
pub(super) struct Grant {
    /// Identifier of the grant, the JWT's `jti`; says nothing of the token.
    pub(super) id: String,
    pub(super) client_id: String,
    pub(super) scope: String,
    pub(super) issued_at: u64,
    pub(super) expires_at: u64,
}

/// Opaque tokens and their grants.
#[derive(Default)]
pub(super) struct TokenStore {
    grants: HashMap<String, Grant>,
    /// The number of grants at which those that have expired are dropped.
    crowded: usize,
}

impl TokenStore {
    /// Issues a token for `client_id` that lives for `expires_in` seconds from `now` on.
    ///
    /// # Errors
    /// If the operating system has no random bytes to give.
    pub(super) fn issue(
        &mut self,
        client_id: &str,
        scope: &str,
        now: u64,
        expires_in: u64,
    ) -> io::Result<String> {
        if self.grants.len() >= self.crowded {
            self.grants.retain(|_, grant| now < grant.expires_at);
            // Twice what is left, so that issuing stays cheap however many there are.
            self.crowded = (2 * self.grants.len()).max(1024);
        }
        let token = random::opaque()?;
        let grant = Grant {
            id: random::opaque()?,
            client_id: client_id.to_owned(),
            scope: scope.to_owned(),
            issued_at: now,
            expires_at: now.saturating_add(expires_in),
        };
        self.grants.insert(token.clone(), grant);
        Ok(token)
    }

    /// The grant of `token`, if there is one that has not expired at `now`.
    pub(super) fn active(&self, token: &str, now: u64) -> Option<&Grant> {
        self.grants.get(token).filter(|grant| now < grant.expires_at)
    }

    /// Revokes `token` if it was issued to `client_id` (RFC 7009 section 2.1).
    pub(super) fn revoke(&mut self, token: &str, client_id: &str) {
        if self.grants.get(token).is_some_and(|grant| grant.client_id == client_id) {
            self.grants.remove(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_until_it_expires() {
        let mut store = TokenStore::default();
        let token = store.issue("client", "read", 100, 10).unwrap();
        let grant = store.active(&token, 109).unwrap();
        assert_eq!((grant.issued_at, grant.expires_at), (100, 110));
        assert_eq!((grant.client_id.as_str(), grant.scope.as_str()), ("client", "read"));
        assert!(store.active(&token, 110).is_none());
        assert!(store.active("another", 100).is_none());
    }

    #[test]
    fn a_client_revokes_its_own_tokens() {
        let mut store = TokenStore::default();
        let token = store.issue("client", "", 0, 10).unwrap();
        store.revoke(&token, "another");
        assert!(store.active(&token, 0).is_some());
        store.revoke(&token, "client");
        assert!(store.active(&token, 0).is_none());
    }

    #[test]
    fn expired_grants_do_not_pile_up() {
        let mut store = TokenStore::default();
        for now in 0..10_000 {
            store.issue("client", "", now, 5).unwrap();
        }
        assert!(store.grants.len() <= 1024, "{}", store.grants.len());
    }
}
