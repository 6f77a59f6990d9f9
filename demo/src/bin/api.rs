//! The demo's API, on 127.0.0.1 until its standard input is closed.

use std::process::ExitCode;

use anyhow::Context;
use lexopt::{Arg, Parser, ValueExt};
use phantom_token_demo::{AUDIENCE, api, command_line, loopback};

const USAGE: &str = "\
usage: api --issuer URL [--port N]

  --issuer URL  the authorization server whose access tokens are accepted
  --port N      listen on 127.0.0.1:N; without it on a free port

When ready it prints `address=127.0.0.1:PORT`; it ends when its standard input is closed.";

fn main() -> ExitCode {
    command_line::exit_code("api", run())
}

fn run() -> anyhow::Result<()> {
    let (mut issuer, mut port) = (None, 0);
    let mut arguments = Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("issuer") => issuer = Some(arguments.value()?.string()?),
            Arg::Long("port") => port = arguments.value()?.parse()?,
            Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let issuer = issuer.context("--issuer URL is missing")?;
    loopback::run(port, async |_| Ok(api::router(api::discover(&issuer, AUDIENCE).await?)))
}
