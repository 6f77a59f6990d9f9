//! Keeps a zone, which holds JWTs, out of core dumps.

use std::io;

use nginx_sys::ngx_shm_zone_t;

#[cfg(target_os = "linux")]
const ADVICE: Option<i32> = Some(libc::MADV_DONTDUMP);
#[cfg(target_os = "freebsd")]
const ADVICE: Option<i32> = Some(libc::MADV_NOCORE);
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
const ADVICE: Option<i32> = None;

/// Has the system leave a zone out of the core dumps of this process and of those that it forks. All of
/// the zone: it is a mapping of its own, from a page's beginning to a page's end.
pub(super) fn leave_out(shm_zone: &ngx_shm_zone_t) -> io::Result<()> {
    let Some(advice) = ADVICE else { return Err(io::ErrorKind::Unsupported.into()) };
    // SAFETY: NGINX has just mapped that many bytes there. The advice changes nothing of what they hold.
    match unsafe { libc::madvise(shm_zone.shm.addr.cast(), shm_zone.shm.size, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
