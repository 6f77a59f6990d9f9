//! The one place where NGINX's calls enter: a panic becomes a refusal, and never crosses into C.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `entry`, the whole body of an `extern "C"` function; a panic inside gives `on_panic`.
///
/// Every `on_panic` fails closed: the request is refused, the configuration not accepted. What a
/// panic leaves behind is either request memory, which goes with the request, or the shared cache,
/// whose lock notices and empties the shard.
pub(crate) fn guard<T>(on_panic: T, entry: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(entry)).unwrap_or(on_panic)
}
