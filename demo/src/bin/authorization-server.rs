//! The demo's authorization server, on 127.0.0.1 until its standard input is closed.

use std::process::ExitCode;

use anyhow::Context;
use lexopt::{Arg, Parser, ValueExt};
use phantom_token_demo::authorization_server::{self, Configuration};
use phantom_token_demo::{AUDIENCE, command_line, loopback};

const USAGE: &str = "\
usage: authorization-server --client ID=PATH --gateway ID=PATH [--port N] [--expires-in SECONDS]

  --client ID=PATH      the client that obtains tokens, and the file with its secret
  --gateway ID=PATH     the gateway that introspects, and the file with its secret
  --port N              listen on 127.0.0.1:N; without it on a free port
  --expires-in SECONDS  life of a token (600)

When ready it prints `address=127.0.0.1:PORT`; it ends when its standard input is closed.";

fn main() -> ExitCode {
    command_line::exit_code("authorization-server", run())
}

fn run() -> anyhow::Result<()> {
    let (mut client, mut gateway, mut port, mut expires_in) = (None, None, 0, 600);
    let mut arguments = Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("client") => client = Some(command_line::credential(arguments.value()?)?),
            Arg::Long("gateway") => gateway = Some(command_line::credential(arguments.value()?)?),
            Arg::Long("port") => port = arguments.value()?.parse()?,
            Arg::Long("expires-in") => expires_in = arguments.value()?.parse()?,
            Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let client = client.context("--client ID=PATH is missing")?;
    let gateway = gateway.context("--gateway ID=PATH is missing")?;
    loopback::run(port, async |address| {
        authorization_server::router(Configuration {
            issuer: format!("http://{address}"),
            audience: AUDIENCE.into(),
            client,
            gateway,
            expires_in,
        })
    })
}
