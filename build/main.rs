//! Passes on what nginx-sys learned about the NGINX that we build for, as cfg values:
//! `ngx_feature = "…"`, `ngx_os = "…"` and one `nginx1_…` per version that changed what we use; and asks
//! the C compiler how it lays out NGINX's structures.

mod probe;
mod structures;

use std::env;
use std::process::ExitCode;

/// The oldest NGINX that the crate ngx can be built for.
const OLDEST_NGINX: (u64, &str) = (1_022_000, "1.22.0");

/// Versions whose C interface differs in something that we use: cfg name, first version.
const VERSIONS: &[(&str, u64)] = &[
    // header fields of one name are linked by `ngx_table_elt_t.next`
    ("nginx1_23_0", 1_023_000),
    // the PROXY protocol's header has `tlvs`
    ("nginx1_23_2", 1_023_002),
];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build");

    pass_on("ngx_feature", "DEP_NGINX_FEATURES");
    pass_on("ngx_os", "DEP_NGINX_OS");

    for (name, _) in VERSIONS {
        println!("cargo::rustc-check-cfg=cfg({name})");
    }
    let Some(version) = variable("DEP_NGINX_VERSION_NUMBER").and_then(|v| v.parse::<u64>().ok())
    else {
        println!(
            "cargo::error=nginx-sys names no NGINX version; run scripts/build, or set \
             NGINX_SOURCE_DIR and NGINX_BUILD_DIR to a configured NGINX source tree"
        );
        return ExitCode::FAILURE;
    };
    if version < OLDEST_NGINX.0 {
        println!(
            "cargo::error=NGINX {} is too old; build for {} or later",
            variable("DEP_NGINX_VERSION").unwrap_or_else(|| version.to_string()),
            OLDEST_NGINX.1
        );
        return ExitCode::FAILURE;
    }
    let mut has: Vec<String> = list("DEP_NGINX_FEATURES");
    for (name, _) in VERSIONS.iter().filter(|(_, first)| version >= *first) {
        println!("cargo::rustc-cfg={name}");
        has.push((*name).to_owned());
    }
    if let Err(error) = probe::run(&has) {
        println!("cargo::error={error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Declares the values that `name` can have and sets those that this NGINX has: nginx-sys lists
/// the former, quoted, in `<source>_CHECK` and the latter, bare, in `source`, both comma-separated.
fn pass_on(name: &str, source: &str) {
    let possible = variable(&format!("{source}_CHECK")).unwrap_or_else(|| "any()".to_owned());
    println!("cargo::rustc-check-cfg=cfg({name}, values({possible}))");
    for value in list(source) {
        println!("cargo::rustc-cfg={name}=\"{value}\"");
    }
}

/// The values in a variable that lists them.
fn list(source: &str) -> Vec<String> {
    let text = variable(source).unwrap_or_default();
    text.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

/// A variable of the build environment, a change of which runs this script again.
fn variable(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).ok()
}
