//! What the three command lines have in common.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::credential::Credential;

/// Turns a program's result into its exit code, and an error into one line on standard error.
#[must_use]
pub fn exit_code(program: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the value `ID=PATH`: a client's id and the file with its secret.
///
/// # Errors
/// If the value has another form, or the file cannot be used.
pub fn credential(value: OsString) -> anyhow::Result<Credential> {
    let value = value.into_string().ok().context("a credential's id and path must be UTF-8")?;
    let (id, path) = value.split_once('=').context("write a credential as ID=PATH")?;
    Credential::from_file(id, Path::new(path))
}
