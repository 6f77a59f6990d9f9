//! Ways in which an authorization server fails.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use http_body::Frame;
use serde::{Deserialize, Serialize};

/// What an introspection answer suffers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// 200 with an HTML page, as from a login page or a proxy's error page.
    Html,
    /// 500.
    ServerError,
    /// 503 with `Retry-After: 1`.
    Unavailable,
    /// Half of the body, then the connection is closed.
    Truncated,
    /// The connection is closed without an answer.
    Closed,
}

/// The answer as `fault` leaves it.
pub(super) async fn apply(fault: Fault, answer: Response) -> Response {
    match fault {
        Fault::None => answer,
        Fault::Html => Html("<!DOCTYPE html><title>Sign in</title>").into_response(),
        Fault::ServerError => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fault::Unavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")]).into_response()
        }
        Fault::Truncated => truncated(answer).await,
        Fault::Closed => Response::new(Body::new(Broken { rest: None, sent: true })),
    }
}

async fn truncated(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    let Ok(mut body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    body.truncate(body.len() / 2);
    Response::from_parts(parts, Body::new(Broken { rest: Some(body), sent: false }))
}

/// A body that fails after what there is of it: the HTTP server then drops the connection.
struct Broken {
    rest: Option<Bytes>,
    /// Whether the server had the chance to send what it has.
    sent: bool,
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        if !self.sent {
            // The server flushes when a body has nothing ready.
            self.sent = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("told to break off"))))
    }
}
