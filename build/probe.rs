//! Asks the C compiler how it lays out NGINX's structures; see the crate phantom-token-layout.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use phantom_token_layout::{Layout, Structure, c_source};

use crate::structures::{ALWAYS, SOMETIMES};
use crate::variable;

const PREAMBLE: &str = "\
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
";

/// Writes `bits.rs` and `agreement.rs` for `src/nginx`, and `bindgen_bits.rs` for the example of that name. `has` are the features of this NGINX.
pub(crate) fn run(has: &[String]) -> Result<(), Box<dyn Error>> {
    let has = |what: &str| has.iter().any(|has| has == what);
    let sometimes = SOMETIMES.iter().filter(|(what, _)| match what.strip_prefix('!') {
        Some(what) => !has(what),
        None => has(what),
    });
    let structures: Vec<Structure> =
        ALWAYS.iter().chain(sometimes.map(|(_, structure)| structure)).copied().collect();

    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    let source = out.join("layout.c");
    fs::write(&source, c_source(PREAMBLE, &structures))?;
    let object = compile(&source)?;
    let layout = Layout::read(&fs::read(object)?, &structures)?;

    let nginx = variable("DEP_NGINX_VERSION").unwrap_or_default();
    let rust = layout.rust_source(nginx.trim_start_matches("nginx/"));
    fs::write(out.join("bits.rs"), rust.bits)?;
    fs::write(out.join("agreement.rs"), rust.agreement)?;
    fs::write(out.join("bindgen_bits.rs"), rust.accessors)?;
    Ok(())
}

/// Compiles for the target, as NGINX itself was.
fn compile(source: &Path) -> Result<std::path::PathBuf, Box<dyn Error>> {
    let mut build = cc::Build::new();
    build.file(source).cargo_metadata(false).warnings(false).debug(false);
    // The object file has to hold the constants themselves.
    build.flag("-fno-lto").flag("-Wno-overflow");
    build.includes(env::split_paths(&variable("DEP_NGINX_INCLUDE").unwrap_or_default()));
    for define in variable("DEP_NGINX_CFLAGS").unwrap_or_default().split_whitespace() {
        build.flag(define);
    }
    let objects = build.try_compile_intermediates()?;
    objects.into_iter().next().ok_or_else(|| "the C compiler left no object file".into())
}
