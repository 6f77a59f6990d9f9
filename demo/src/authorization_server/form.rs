//! Form bodies of the OAuth endpoints (RFC 6749 appendix B).

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};

use super::error::OAuthError;

/// The parameters of a request.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// The value of `name`; a parameter without a value counts as left out.
    ///
    /// # Errors
    /// `invalid_request` if it is there more than once (RFC 6749 section 3.2).
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, OAuthError> {
        let mut values = self.0.iter().filter(|(n, v)| n == name && !v.is_empty());
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(OAuthError::InvalidRequest),
            (first, _) => Ok(first.map(|(_, value)| value.as_str())),
        }
    }

    /// The value of `name`, which has to be there.
    ///
    /// # Errors
    /// `invalid_request` if it is not there exactly once.
    pub(super) fn required(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name)?.ok_or(OAuthError::InvalidRequest)
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = OAuthError;

    async fn from_request(request: Request, state: &S) -> Result<Self, OAuthError> {
        if !is_form(request.headers()) {
            return Err(OAuthError::InvalidRequest);
        }
        let body =
            Bytes::from_request(request, state).await.map_err(|_| OAuthError::InvalidRequest)?;
        Ok(Self(form_urlencoded::parse(&body).into_owned().collect()))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
