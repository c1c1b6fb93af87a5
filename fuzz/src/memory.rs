//! An allocator that refuses what a thread asks for beyond a limit, so that memory taken because a
//! header claims a size ends the process where it is asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static LIMIT: Cell<isize> = const { Cell::new(isize::MAX) };
}

struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

// SAFETY: every call goes to the system's allocator unchanged, or returns null, which is allowed.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get() + layout.size() as isize;
        if held > LIMIT.get() {
            return std::ptr::null_mut();
        }
        HELD.set(held);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `work`, which may hold `limit` bytes at any time: more ends the process with "memory
/// allocation of … bytes failed".
pub fn limited(limit: usize, work: impl FnOnce()) {
    LIMIT.set(HELD.get() + limit as isize);
    work();
    LIMIT.set(isize::MAX);
}
