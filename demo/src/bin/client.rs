//! The demo's client: calls the API through the gateway and explains what happens.

use std::process::ExitCode;

use anyhow::Context;
use lexopt::{Arg, Parser, ValueExt};
use phantom_token_demo::client::{self, Settings};
use phantom_token_demo::command_line;

const USAGE: &str = "\
usage: client --gateway URL --authorization-server URL --client ID=PATH

  --gateway URL               where the API is called
  --authorization-server URL  where tokens are obtained
  --client ID=PATH            the client's id, and the file with its secret

It ends with an error if anything is not as it has to be.";

fn main() -> ExitCode {
    command_line::exit_code("client", run())
}

fn run() -> anyhow::Result<()> {
    let (mut gateway, mut authorization_server, mut credential) = (None, None, None);
    let mut arguments = Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("gateway") => gateway = Some(arguments.value()?.string()?),
            Arg::Long("authorization-server") => {
                authorization_server = Some(arguments.value()?.string()?);
            }
            Arg::Long("client") => credential = Some(command_line::credential(arguments.value()?)?),
            Arg::Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let settings = Settings {
        gateway: gateway.context("--gateway URL is missing")?,
        authorization_server: authorization_server
            .context("--authorization-server URL is missing")?,
        credential: credential.context("--client ID=PATH is missing")?,
    };
    client::run(&settings, &mut std::io::stdout())
}
