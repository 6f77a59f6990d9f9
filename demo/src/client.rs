//! The demo's client: what it sends, what the API receives, and what each step takes.
//!
//! Every step also checks what it shows, so that the demo fails where the gateway does.

mod http;
mod steps;

use std::io::Write;

use crate::credential::Credential;
use http::Http;
use steps::Demo;

/// Whom the client talks to.
pub struct Settings {
    /// Base URL of the gateway, without a slash at the end.
    pub gateway: String,
    /// Base URL of the authorization server, without a slash at the end.
    pub authorization_server: String,
    /// The client's own id and secret.
    pub credential: Credential,
}

/// Runs all steps and explains them on `out`.
///
/// # Errors
/// If anything was not as it has to be.
pub fn run(settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut demo = Demo::new(Http::new()?, settings, out);
    let token = demo.obtain_a_token()?;
    demo.first_call(&token)?;
    demo.second_call(&token)?;
    demo.bad_credentials()?;
    demo.revocation(&token)
}
