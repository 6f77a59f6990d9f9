//! JWT access tokens (RFC 9068): the authorization server signs them, the API verifies them.

use anyhow::{Context, bail, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The `typ` of a JWT access token (RFC 9068 section 2.1).
const TYPE: &str = "at+jwt";

/// What an access token says (RFC 9068 section 2.2); times in seconds since 1970.
#[derive(Serialize)]
pub struct Claims<'a> {
    /// Who issued it.
    pub iss: &'a str,
    /// Whom it stands for: with client credentials the client itself.
    pub sub: &'a str,
    /// Which API it is for.
    pub aud: &'a str,
    /// Which client it was issued to.
    pub client_id: &'a str,
    /// What it permits, joined by spaces.
    pub scope: &'a str,
    /// When it was issued.
    pub iat: u64,
    /// From when on it is void.
    pub exp: u64,
    /// Its own identifier.
    pub jti: &'a str,
}

/// An ES256 key pair that exists in memory alone.
pub struct Signer {
    key: EncodingKey,
    header: Header,
    public: Jwk,
}

impl Signer {
    /// Makes a key pair; its `kid` is the thumbprint of RFC 7638.
    ///
    /// # Errors
    /// If the key cannot be brought into the form that the JOSE library reads.
    pub fn generate() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .context("no key pair can be made")?;
        let key = EncodingKey::from_ec_der(pkcs8.as_ref());
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        let kid = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(TYPE.into());
        header.kid = Some(kid);
        Ok(Self { key, header, public })
    }

    /// The JWT of `claims`.
    ///
    /// # Errors
    /// If the JOSE library cannot sign.
    pub fn sign(&self, claims: &Claims<'_>) -> jsonwebtoken::errors::Result<String> {
        jsonwebtoken::encode(&self.header, claims, &self.key)
    }

    /// The public half, as the document at `jwks_uri` (RFC 7517 section 5).
    #[must_use]
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: vec![self.public.clone()] }
    }
}

/// A verified access token, decoded.
#[derive(Debug, Serialize, Deserialize)]
pub struct Verified {
    /// The JOSE header.
    pub header: Header,
    /// The claims.
    pub claims: Map<String, Value>,
}

/// Verifies access tokens of one issuer for one audience (RFC 9068 section 4).
pub struct Verifier {
    keys: JwkSet,
    validation: Validation,
}

impl Verifier {
    /// A verifier that accepts ES256 signatures by `keys`, and no leeway in `exp`.
    #[must_use]
    pub fn new(keys: JwkSet, issuer: &str, audience: &str) -> Self {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = 0;
        Self { keys, validation }
    }

    /// Verifies and decodes `jwt`.
    ///
    /// # Errors
    /// If it is no JWT access token, or not one that the issuer signed for this audience, or void.
    pub fn verify(&self, jwt: &str) -> anyhow::Result<Verified> {
        let header = jsonwebtoken::decode_header(jwt).context("it is no JWT")?;
        let typ = header.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
        ensure!(typ.strip_prefix("application/").unwrap_or(&typ) == TYPE, "its typ is not {TYPE}");
        let Some(key) = header.kid.as_deref().and_then(|kid| self.keys.find(kid)) else {
            bail!("no key of the issuer has its kid");
        };
        let key = DecodingKey::from_jwk(key).context("the issuer's key cannot be used")?;
        let token = jsonwebtoken::decode(jwt, &key, &self.validation)?;
        Ok(Verified { header: token.header, claims: token.claims })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;
    const ISSUER: &str = "http://127.0.0.1:1";

    fn claims() -> Claims<'static> {
        Claims {
            iss: ISSUER,
            sub: "demo",
            aud: crate::AUDIENCE,
            client_id: "demo",
            scope: "read",
            iat: NOW,
            exp: u64::from(u32::MAX),
            jti: "1",
        }
    }

    fn verifier(signer: &Signer) -> Verifier {
        Verifier::new(signer.jwks(), ISSUER, crate::AUDIENCE)
    }

    #[test]
    fn what_was_signed_verifies() {
        let signer = Signer::generate().unwrap();
        let verified = verifier(&signer).verify(&signer.sign(&claims()).unwrap()).unwrap();
        assert_eq!(Value::Object(verified.claims), serde_json::to_value(claims()).unwrap());
        assert_eq!(verified.header.typ.as_deref(), Some("at+jwt"));
        assert!(verified.header.kid.is_some());
    }

    #[test]
    fn published_keys_hold_no_private_part() {
        let jwks = serde_json::to_value(Signer::generate().unwrap().jwks()).unwrap();
        let key = jwks["keys"][0].as_object().unwrap();
        let mut members: Vec<_> = key.keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    }

    #[test]
    fn all_else_is_refused() {
        let signer = Signer::generate().unwrap();
        let verifier = verifier(&signer);
        let good = signer.sign(&claims()).unwrap();
        let refused = |claims| verifier.verify(&signer.sign(&claims).unwrap()).is_err();

        assert!(refused(Claims { exp: NOW, ..claims() }), "expired");
        assert!(refused(Claims { aud: "https://other.example", ..claims() }), "audience");
        assert!(refused(Claims { iss: "http://127.0.0.1:2", ..claims() }), "issuer");

        let mut same_kid = Signer::generate().unwrap();
        same_kid.header.kid.clone_from(&signer.header.kid);
        assert!(
            verifier.verify(&same_kid.sign(&claims()).unwrap()).is_err(),
            "other key, same kid"
        );
        let other = Signer::generate().unwrap();
        assert!(verifier.verify(&other.sign(&claims()).unwrap()).is_err(), "unknown kid");

        let mut no_access_token = Signer::generate().unwrap();
        no_access_token.header.typ = Some("logout+jwt".into());
        let strict = Verifier::new(no_access_token.jwks(), ISSUER, crate::AUDIENCE);
        assert!(strict.verify(&no_access_token.sign(&claims()).unwrap()).is_err(), "typ");

        for text in
            ["", "opaque", "a.b.c", &good[..good.len() - 8], &crate::random::opaque().unwrap()]
        {
            assert!(verifier.verify(text).is_err());
        }
    }
}
