//! Timers and posted events: what NGINX has as macros and inline functions.
//!
//! The crate nginx-sys has them too, but with bindgen's accessors of bit-fields; see `bits`.

use nginx_sys::{
    NGX_TIMER_LAZY_DELAY, ngx_current_msec, ngx_event_t, ngx_event_timer_rbtree, ngx_msec_t,
    ngx_posted_events, ngx_queue_insert_before, ngx_queue_remove, ngx_rbtree_delete,
    ngx_rbtree_insert,
};

use super::bits;

/// Has the handler of an event called after `time` milliseconds, with `timedout` set. A timer that is set
/// already and ends at nearly the same time stays as it is (`ngx_add_timer`).
///
/// # Safety
/// The event stays where it is until its timer is over or deleted.
pub(crate) unsafe fn add_timer(event: *mut ngx_event_t, time: ngx_msec_t) {
    // SAFETY: the event is live; an event whose timer is set is in the tree, and only then.
    unsafe {
        let key = ngx_current_msec.wrapping_add(time);
        if bits::event::TIMER_SET.is_set(event) {
            if key.abs_diff((*event).timer.key) < NGX_TIMER_LAZY_DELAY as ngx_msec_t {
                return;
            }
            delete_timer(event);
        }
        (*event).timer.key = key;
        ngx_rbtree_insert(&raw mut ngx_event_timer_rbtree, &raw mut (*event).timer);
        bits::event::TIMER_SET.set(event, 1);
    }
}

/// Takes back the timer of an event (`ngx_del_timer`).
///
/// # Safety
/// The timer of the live event is set.
pub(crate) unsafe fn delete_timer(event: *mut ngx_event_t) {
    // SAFETY: an event whose timer is set is in the tree.
    unsafe {
        ngx_rbtree_delete(&raw mut ngx_event_timer_rbtree, &raw mut (*event).timer);
        bits::event::TIMER_SET.set(event, 0);
    }
}

/// Has the handler of an event called before the worker waits again, once (`ngx_post_event`).
///
/// # Safety
/// The event stays where it is until it has run or is taken back.
pub(crate) unsafe fn post(event: *mut ngx_event_t) {
    // SAFETY: the event is live; an event that is posted is in the queue, and only then.
    unsafe {
        if !bits::event::POSTED.is_set(event) {
            bits::event::POSTED.set(event, 1);
            ngx_queue_insert_before(&raw mut ngx_posted_events, &raw mut (*event).queue);
        }
    }
}

/// Takes back what [`post`] has done (`ngx_delete_posted_event`).
///
/// # Safety
/// The live event is posted.
pub(crate) unsafe fn take_back(event: *mut ngx_event_t) {
    // SAFETY: an event that is posted is in the queue.
    unsafe {
        bits::event::POSTED.set(event, 0);
        ngx_queue_remove(&raw mut (*event).queue);
    }
}
