//! What the system is told of a zone's memory, which is a mapping of its own, from a page's beginning to a page's
//! end.

use std::io;

use nginx_sys::ngx_shm_zone_t;

#[cfg(target_os = "linux")]
const NO_DUMP: Option<i32> = Some(libc::MADV_DONTDUMP);
#[cfg(target_os = "freebsd")]
const NO_DUMP: Option<i32> = Some(libc::MADV_NOCORE);
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
const NO_DUMP: Option<i32> = None;

/// Has the system leave a zone, which holds JWTs, out of the core dumps of this process and of those that it
/// forks.
pub(super) fn leave_out_of_dumps(shm_zone: &ngx_shm_zone_t) -> io::Result<()> {
    advise(shm_zone, NO_DUMP.ok_or(io::ErrorKind::Unsupported)?)
}

/// Asks for large pages, by which the processor finds its way in a large zone faster. Only where the system was told
/// to heed that (`shmem_enabled` of Linux), and only a wish: there is nothing to say if it is not granted.
pub(super) fn prefer_large_pages(shm_zone: &ngx_shm_zone_t) {
    #[cfg(target_os = "linux")]
    let _ = advise(shm_zone, libc::MADV_HUGEPAGE);
    #[cfg(not(target_os = "linux"))]
    let _ = shm_zone;
}

fn advise(shm_zone: &ngx_shm_zone_t, advice: i32) -> io::Result<()> {
    // SAFETY: NGINX has just mapped that many bytes there. The advice changes nothing of what they hold.
    match unsafe { libc::madvise(shm_zone.shm.addr.cast(), shm_zone.shm.size, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
