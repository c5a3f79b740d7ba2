//! A counting allocator for tests of what allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting per thread. To be installed by a test binary:
///
/// ```
/// use forebay_testkit::alloc::{Counting, measure};
/// #[global_allocator]
/// static ALLOCATOR: Counting = Counting;
/// let (kept, counted) = measure(|| vec![0_u8; 100]);
/// assert_eq!((counted.allocations, counted.live_bytes), (1, 100));
/// drop(kept);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// What a thread has allocated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Allocated {
    /// Calls that gave memory, `realloc` included.
    pub allocations: u64,
    /// Bytes asked for and not given back. Negative where another thread's memory was freed.
    pub live_bytes: i64,
}

thread_local! {
    // `const`: without lazy initialisation, which would allocate.
    static COUNTED: Cell<Allocated> = const { Cell::new(Allocated { allocations: 0, live_bytes: 0 }) };
}

fn count(allocations: u64, bytes: i64) {
    // A thread that is ending has no counter any more: not counted.
    let _ = COUNTED.try_with(|cell| {
        let was = cell.get();
        cell.set(Allocated { allocations: was.allocations + allocations, live_bytes: was.live_bytes + bytes });
    });
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// What this thread has allocated so far.
#[must_use]
pub fn so_far() -> Allocated {
    COUNTED.with(Cell::get)
}

/// Runs something and says what it allocated.
pub fn measure<T>(body: impl FnOnce() -> T) -> (T, Allocated) {
    let before = so_far();
    let value = body();
    let after = so_far();
    let counted = Allocated {
        allocations: after.allocations - before.allocations,
        live_bytes: after.live_bytes - before.live_bytes,
    };
    (value, counted)
}

#[expect(unsafe_code, reason = "the trait of allocators is unsafe; every call is handed on to the system's allocator")]
// SAFETY: all four functions hand the caller's arguments unchanged to `System`, which keeps the contract; counting does
// not allocate (a `const` thread local without a destructor) and does not unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -signed(layout.size()));
        // SAFETY: `pointer` came from `System` with this layout, by the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, signed(size) - signed(layout.size()));
        // SAFETY: `pointer` came from `System` with this layout and `size` is good, by the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
