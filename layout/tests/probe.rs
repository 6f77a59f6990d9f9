//! The probe on structures of its own: what it finds, and what it makes of bindings that are wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use phantom_token_layout::{Bits, Layout, LayoutError, Structure, c_source};

/// As `ngx_http_request_t` is since NGINX 1.29.3: a field of two bytes before a run of bit-fields, the first of
/// which has room beside it.
const HEADER: &str = "
typedef struct {
    void            *connection;
    unsigned short   port;
    unsigned         count:16;
    unsigned         subrequests:8;
    unsigned         blocked:8;
    unsigned         aio:1;
    unsigned         internal:1;
    int              type;
} request_t;
";

const REQUEST: Structure = Structure {
    name: "request_t",
    module: "request",
    fields: &["connection", "port", "type"],
    bits: &["count", "blocked", "internal"],
};

/// Compiles C for this machine; the object file.
fn compile(name: &str, source: &str) -> Vec<u8> {
    let directory = directory(name);
    let path = directory.join("layout.c");
    fs::write(&path, source).expect("a file in the target directory");
    let objects = cc::Build::new()
        .file(&path)
        .out_dir(&directory)
        .target(TARGET)
        .host(TARGET)
        .opt_level(0)
        .cargo_metadata(false)
        .warnings(false)
        .try_compile_intermediates()
        .expect("a C compiler");
    fs::read(&objects[0]).expect("an object file")
}

fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).expect("a directory in the target directory");
    directory
}

#[cfg(target_arch = "x86_64")]
const TARGET: &str = "x86_64-unknown-linux-gnu";
#[cfg(target_arch = "aarch64")]
const TARGET: &str = "aarch64-unknown-linux-gnu";

fn layout(name: &str) -> Layout {
    let object = compile(name, &c_source(HEADER, &[REQUEST]));
    Layout::read(&object, &[REQUEST]).expect("a layout")
}

/// Compiles bindings with the assertions about them; what rustc says.
fn agree(name: &str, bindings: &str) -> Result<(), String> {
    let source = format!(
        "#![allow(dead_code, non_camel_case_types)]
        pub mod nginx_sys {{ {bindings} }}
        const fn size_of_field<T, F>(_field: fn(*const T) -> *const F) -> usize {{ size_of::<F>() }}
        {}",
        layout(name).rust_source("1.30.6").agreement
    );
    let directory = directory(name);
    let path = directory.join("agreement.rs");
    fs::write(&path, source).expect("a file in the target directory");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--out-dir"])
        .args([&directory, &path])
        .output()
        .expect("rustc");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

const RIGHT: &str = "#[repr(C)] pub struct request_t {
    pub connection: *mut u8, pub port: u16, pub bits: [u16; 3], pub type_: i32,
}";

#[test]
fn bit_fields_are_where_the_compiler_has_put_them() {
    let layout = layout("found");
    // `count` fills the word that `port` begins.
    assert_eq!(layout.bits("request_t", "count"), Some(Bits { offset: 8, mask: 0xffff_0000 }));
    assert_eq!(layout.bits("request_t", "blocked"), Some(Bits { offset: 12, mask: 0xff00 }));
    assert_eq!(layout.bits("request_t", "internal"), Some(Bits { offset: 12, mask: 0x2_0000 }));
    assert_eq!(layout.bits("request_t", "aio"), None, "was not asked about");
}

#[test]
fn bindings_that_agree_compile() {
    assert_eq!(agree("right", RIGHT), Ok(()));
}

#[test]
fn a_field_elsewhere_is_named() {
    let error = agree("elsewhere", &RIGHT.replace("[u16; 3]", "[u16; 1]")).unwrap_err();
    let said = "NGINX 1.30.6: `type` of `request_t` is at byte 16 in C and has 4 bytes, but not in the \
                Rust bindings";
    assert!(error.contains(said), "{error}");
}

#[test]
fn a_field_of_another_size_is_named() {
    let error =
        agree("size", &RIGHT.replace("port: u16", "port: [u8; 1], pub pad: u8")).unwrap_err();
    assert!(error.contains("`port` of `request_t` is at byte 8 in C and has 2 bytes"), "{error}");
}

#[test]
fn a_structure_of_another_size_is_named() {
    let error =
        agree("whole", &RIGHT.replace("type_: i32", "type_: i32, pub more: u64")).unwrap_err();
    assert!(error.contains("`request_t` has 24 bytes in C, aligned to 8"), "{error}");
}

#[test]
fn positions_are_rust_code() {
    let bits = layout("bits").rust_source("1.30.6").bits;
    let line = "pub(crate) const COUNT: Bits<nginx_sys::request_t> = Bits::at(8, 0xffff0000);";
    assert!(bits.contains(line), "{bits}");
}

#[test]
fn what_the_probe_lacks_is_named() {
    let object = compile("lacking", "const int phantom_token_layout_other = 1;");
    let error = Layout::read(&object, &[REQUEST]).expect_err("no constants");
    assert!(matches!(&error, LayoutError::Missing(name) if name.ends_with("request_t")), "{error}");
    let error = Layout::read(b"no object file", &[REQUEST]).expect_err("no object file");
    assert!(matches!(error, LayoutError::Object(_)), "{error}");
}

#[test]
fn a_bit_field_over_two_words_is_refused() {
    let header = "typedef struct { unsigned long long most:40; } wide_t;";
    let wide = Structure { name: "wide_t", module: "wide", fields: &[], bits: &["most"] };
    let object = compile("wide", &c_source(header, &[wide]));
    let error = Layout::read(&object, &[wide]).expect_err("40 bits");
    assert_eq!(
        error.to_string(),
        "the C compiler spreads the bit-field `most` of `wide_t` over two words"
    );
}
