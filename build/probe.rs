//! Asks the C compiler how it lays out NGINX's structures; see the crate phantom-token-layout.

use std::error::Error;
use std::path::{Path, PathBuf};
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
fn compile(source: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut build = cc::Build::new();
    build.cargo_metadata(false).warnings(false).debug(false);
    build.includes(env::split_paths(&variable("DEP_NGINX_INCLUDE").unwrap_or_default()));
    for define in defines() {
        build.flag(define);
    }
    let object = source.with_extension("o");
    let mut command = build.try_get_compiler()?.to_command();
    // Last, whatever CFLAGS says: the object file has to hold the constants themselves.
    command.args(["-w", "-fno-lto", "-c", "-o"]).arg(&object).arg(source);
    let status = command.status()?;
    if !status.success() {
        return Err(format!(
            "the C compiler cannot compile the layout probe ({status}): {command:?}"
        )
        .into());
    }
    Ok(object)
}

/// The `-D` flags that NGINX is compiled with, one after the other in one text. nginx-sys 0.5 gives them to cargo in a
/// way that makes another variable of them than it means to.
fn defines() -> Vec<String> {
    let text = variable("DEP_NGINX_CFLAGS").or_else(|| {
        let metadata = variable("DEP_NGINX_METADATA")?;
        metadata.strip_prefix("cflags=").map(str::to_owned)
    });
    let text = format!(" {}", text.unwrap_or_default());
    text.split(" -D").skip(1).map(|define| format!("-D{define}")).collect()
}
