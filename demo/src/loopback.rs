//! An HTTP server on 127.0.0.1 that ends with whoever started it.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

/// Listens on 127.0.0.1 at `port` (0: any free one), writes the line `address=127.0.0.1:PORT` to
/// standard output and serves until standard input is closed.
///
/// `router` learns the address before anybody can be served.
///
/// # Errors
/// If the port is taken, or `router` fails.
pub fn run(
    port: u16,
    router: impl AsyncFnOnce(SocketAddr) -> anyhow::Result<Router>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
        let address = listener.local_addr()?;
        let router = router(address).await?;
        announce(address)?;
        // A failing option only costs latency.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        tokio::select! {
            served = axum::serve(listener, router) => served?,
            closed = input_closed() => closed?,
        }
        Ok(())
    });
    // Standard input is read by a thread that cannot be interrupted.
    runtime.shutdown_background();
    result
}

fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "address={address}")?;
    out.flush()
}

async fn input_closed() -> io::Result<()> {
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.map(drop)
}
