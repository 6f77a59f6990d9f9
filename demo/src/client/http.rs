//! HTTP with a stopwatch.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::header::HeaderMap;
use reqwest::{StatusCode, redirect};
use serde::de::DeserializeOwned;

/// A client that talks to loopback alone and never follows a redirect with its credentials.
pub(super) struct Http {
    client: Client,
}

/// A response and the time until all of it was there.
pub(super) struct Exchange {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) took: Duration,
}

impl Http {
    pub(super) fn new() -> anyhow::Result<Self> {
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(10))
            .build()?;
        Ok(Self { client })
    }

    pub(super) fn get(&self, url: &str) -> RequestBuilder {
        self.client.get(url)
    }

    pub(super) fn post(&self, url: &str) -> RequestBuilder {
        self.client.post(url)
    }
}

/// Sends `request` and reads the whole response.
pub(super) fn send(request: RequestBuilder) -> anyhow::Result<Exchange> {
    let start = Instant::now();
    let response = request.send()?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text()?;
    Ok(Exchange { status, headers, body, took: start.elapsed() })
}

impl Exchange {
    /// The body of a 200.
    pub(super) fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        self.expect(StatusCode::OK)?;
        serde_json::from_str(&self.body).context("the answer is not the JSON that was expected")
    }

    /// An error unless the status is `status`.
    pub(super) fn expect(&self, status: StatusCode) -> anyhow::Result<()> {
        ensure!(self.status == status, "the answer is {} and not {status}", self.status);
        Ok(())
    }

    /// The value of a response header; empty if it is not there.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(super) fn milliseconds(&self) -> f64 {
        self.took.as_secs_f64() * 1e3
    }
}
