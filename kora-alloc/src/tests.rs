//! The counter against a model: what is allocated and not freed, and never less than what was asked for.

use super::*;
use std::alloc::Layout;

/// Only calls of the allocator itself are counted: the tests' own memory comes from the system's.
fn counted(f: impl FnOnce()) -> isize {
    let before = thread_bytes();
    f();
    thread_bytes() - before
}

#[test]
fn every_byte_that_is_counted_is_given_back() {
    let sizes = [1, 7, 8, 9, 15, 16, 17, 24, 63, 64, 65, 100, 1024, 1025, 8192, 65_536, 1 << 20, 40 << 20];
    for size in sizes {
        for align in [1, 8, 16, 32, 64, 4096, 1 << 16] {
            let layout = Layout::from_size_align(size, align).expect("a valid layout");
            let mut block = std::ptr::null_mut();
            // SAFETY: a layout with a size; the block is freed once, with its own layout.
            let taken = counted(|| unsafe {
                block = Allocator.alloc(layout);
                assert!(!block.is_null() && block.align_offset(align) == 0, "{layout:?}");
                block.write_bytes(0xaa, size);
            });
            assert!(taken >= size as isize, "{layout:?}: {taken}");
            // SAFETY: as above.
            let freed = counted(|| unsafe { Allocator.dealloc(block, layout) });
            assert_eq!(taken, -freed, "{layout:?}");
        }
    }
}

#[test]
fn zeroed_blocks_are_zero_and_counted() {
    for (size, align) in [(1, 1), (24, 8), (1000, 16), (5000, 128), (3 << 20, 8)] {
        let layout = Layout::from_size_align(size, align).expect("a valid layout");
        for _ in 0..3 {
            let mut block = std::ptr::null_mut();
            // SAFETY: a layout with a size; the block is freed once, with its own layout.
            let sum = counted(|| unsafe {
                block = Allocator.alloc_zeroed(layout);
                assert!(std::slice::from_raw_parts(block, size).iter().all(|&byte| byte == 0));
                block.write_bytes(0xff, size);
            });
            assert!(sum >= size as isize);
            // SAFETY: as above.
            assert_eq!(counted(|| unsafe { Allocator.dealloc(block, layout) }), -sum);
        }
    }
}

#[test]
fn resizing_keeps_the_bytes_and_the_count() {
    for align in [1, 8, 16, 64] {
        let mut layout = Layout::from_size_align(64, align).expect("a valid layout");
        let mut held = 0;
        // SAFETY: a layout with a size.
        let mut block = unsafe {
            let mut block = std::ptr::null_mut();
            held += counted(|| block = Allocator.alloc(layout));
            block.write_bytes(7, 64);
            block
        };
        for size in [65, 640, 8, 100_000, 64, 1 << 21, 16] {
            // SAFETY: a block of this layout, resized to a size that is not zero.
            held += counted(|| unsafe { block = Allocator.realloc(block, layout, size) });
            layout = Layout::from_size_align(size, align).expect("a valid layout");
            assert!(held >= size as isize && block.align_offset(align) == 0);
            // SAFETY: the first bytes were written, and eight of them were never cut off.
            assert!(unsafe { std::slice::from_raw_parts(block, 8) }.iter().all(|&byte| byte == 7));
        }
        // SAFETY: a block of this layout.
        held += counted(|| unsafe { Allocator.dealloc(block, layout) });
        assert_eq!(held, 0, "alignment {align}");
    }
}

#[test]
fn what_another_thread_frees_is_missing_there() {
    let layout = Layout::from_size_align(100, 8).expect("a valid layout");
    let mut address = 0;
    // SAFETY: a layout with a size.
    let taken = counted(|| unsafe { address = Allocator.alloc(layout).expose_provenance() });
    let freed = std::thread::spawn(move || {
        let block = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: the block was allocated with this layout and is freed once.
        counted(|| unsafe { Allocator.dealloc(block, layout) })
    });
    assert_eq!(freed.join().expect("no panic"), -taken);
}

#[test]
fn a_page_that_is_nearly_empty_is_sparse_and_a_full_one_is_not() {
    // A size that nothing else in this test program uses. The first page fills up and leaves the head of its queue.
    let layout = Layout::from_size_align(720, 8).expect("a valid layout");
    // SAFETY: layouts with a size; each block is freed once.
    unsafe {
        let blocks: Vec<*mut u8> = (0..1000).map(|_| Allocator.alloc(layout)).collect();
        assert!(!is_in_sparse_page(blocks[0], 50));
        for (i, &block) in blocks.iter().enumerate().take(500) {
            if i % 10 != 0 {
                Allocator.dealloc(block, layout);
            }
        }
        let sparse = blocks[..500].iter().step_by(10).filter(|block| is_in_sparse_page(**block, 50)).count();
        assert!(sparse >= 20, "{sparse} of 50 blocks lie in pages that are nearly empty");
        for (i, &block) in blocks.iter().enumerate() {
            if i >= 500 || i % 10 == 0 {
                Allocator.dealloc(block, layout);
            }
        }
    }
    purge(true);
}

#[test]
fn large_blocks_grow_and_shrink_and_keep_their_bytes() {
    let sizes = [1 << 20, 3 << 20, 5 << 20, 64 << 20, 64 << 20 | 4096, 6 << 20, 4 << 20, 1 << 20];
    let mut layout = Layout::from_size_align(sizes[0], 8).expect("a valid layout");
    let mut held = 0;
    // SAFETY: layouts with a size; the block is used within its size and freed once.
    unsafe {
        let mut block = std::ptr::null_mut();
        held += counted(|| block = Allocator.alloc(layout));
        for (at, size) in sizes.into_iter().enumerate().skip(1) {
            block.write(at as u8);
            block.add(layout.size().min(size) - 1).write(0x55);
            let kept = layout.size().min(size) - 1;
            held += counted(|| block = Allocator.realloc(block, layout, size));
            layout = Layout::from_size_align(size, 8).expect("a valid layout");
            assert_eq!((block.read(), block.add(kept).read()), (at as u8, 0x55));
            assert!(held >= size as isize, "{held} for {size}");
        }
        held += counted(|| Allocator.dealloc(block, layout));
    }
    assert_eq!(held, 0);
}

#[test]
fn large_blocks_go_back_in_parts_where_a_thread_asks_for_it() {
    let layout = Layout::from_size_align(40 << 20, 16).expect("a valid layout");
    std::thread::spawn(move || {
        // SAFETY: a layout with a size; each block is freed once.
        unsafe {
            assert!(!release_some());
            let blocks = [Allocator.alloc_zeroed(layout), Allocator.alloc(layout)];
            for block in blocks {
                assert_eq!(block.add(layout.size() - 1).read(), 0);
                block.write_bytes(1, layout.size());
            }
            assert!(thread_bytes() >= 80 << 20);
            for block in blocks {
                Allocator.dealloc(block, layout);
            }
            assert!(thread_bytes() < 1 << 20, "what is freed is not counted");
        }
        let mut parts = 1;
        while release_some() {
            parts += 1;
        }
        assert_eq!(parts, 20, "parts of 4 MiB");
    })
    .join()
    .expect("no panic");
}

#[test]
fn what_is_cut_off_a_large_block_goes_back_in_parts() {
    let layout = |size| Layout::from_size_align(size, 16).expect("a valid layout");
    std::thread::spawn(move || {
        // SAFETY: layouts with a size; the block is used within its size and freed once.
        unsafe {
            release_some();
            let mut block = Allocator.alloc(layout(44 << 20));
            block.write_bytes(3, 44 << 20);
            block = Allocator.realloc(block, layout(44 << 20), (4 << 20) + 5);
            assert_eq!(block.add((4 << 20) + 4).read(), 3);
            assert!(thread_bytes() < 5 << 20, "what is cut off is not counted");
            let mut parts = 1;
            while release_some() {
                parts += 1;
            }
            assert_eq!(parts, 10, "parts of 4 MiB");
            // It can grow into where the end was, or move; what comes is zero.
            let grown = Allocator.realloc(block, layout((4 << 20) + 5), 44 << 20);
            assert_eq!((grown.read(), grown.add((44 << 20) - 1).read()), (3, 0));
            Allocator.dealloc(grown, layout(44 << 20));
        }
        assert_eq!(thread_bytes(), 0);
    })
    .join()
    .expect("no panic");
}

/// Whether there is memory at an address.
fn is_mapped(address: usize) -> bool {
    // SAFETY: the system looks whether the page is there and changes nothing.
    let failed = unsafe { libc::msync(std::ptr::without_provenance_mut(address), 4096, libc::MS_ASYNC) } != 0;
    !failed
}

#[test]
fn a_thread_that_ends_gives_back_what_waits() {
    // Larger than anything that other tests could map at the same place meanwhile.
    const SIZE: usize = 1 << 30;
    let layout = Layout::from_size_align(SIZE, 8).expect("a valid layout");
    let address = std::thread::spawn(move || {
        release_some();
        // SAFETY: a layout with a size; the block is freed once.
        unsafe {
            let block = Allocator.alloc(layout);
            assert!(!block.is_null());
            Allocator.dealloc(block, layout);
            assert!(is_mapped(block.addr() + SIZE / 2), "it waits");
            block.addr()
        }
    })
    .join()
    .expect("no panic");
    assert!((1..8).any(|part| !is_mapped(address + SIZE / 8 * part)));
}

#[test]
fn what_the_system_does_not_have_is_refused_and_costs_nothing() {
    for align in [1, 8, 4096] {
        let huge = Layout::from_size_align(isize::MAX as usize - 8192, align).expect("a valid layout");
        let small = Layout::from_size_align(5 << 20, align).expect("a valid layout");
        // SAFETY: layouts with a size; the block is freed once, with its own layout, which it still has.
        let sum = counted(|| unsafe {
            assert!(Allocator.alloc(huge).is_null());
            assert!(Allocator.alloc_zeroed(huge).is_null());
            let block = Allocator.alloc(small);
            block.write(9);
            assert!(Allocator.realloc(block, small, huge.size()).is_null());
            assert_eq!(block.read(), 9);
            Allocator.dealloc(block, small);
        });
        assert_eq!(sum, 0);
    }
}

#[test]
fn widely_aligned_blocks_are_resized_whatever_they_are() {
    for align in [4096, 8192, 1 << 20] {
        let layout = |size| Layout::from_size_align(size, align).expect("a valid layout");
        let sizes = [1 << 20, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 9 << 20, 4 << 20, 3 << 20, 5 << 20];
        // SAFETY: layouts with a size; the block is used within its size and freed once.
        let sum = counted(|| unsafe {
            let (mut block, mut size) = (Allocator.alloc_zeroed(layout(sizes[0])), sizes[0]);
            for new_size in sizes {
                block.write(1);
                block.add(size.min(new_size) - 1).write(2);
                block = Allocator.realloc(block, layout(size), new_size);
                assert!(block.addr().is_multiple_of(align));
                assert_eq!((block.read(), block.add(size.min(new_size) - 1).read()), (1, 2));
                size = new_size;
            }
            Allocator.dealloc(block, layout(size));
        });
        assert_eq!(sum, 0, "alignment {align}");
    }
}

#[test]
fn a_mapping_is_in_no_sparse_page() {
    let layout = Layout::from_size_align(8 << 20, 8).expect("a valid layout");
    // SAFETY: a layout with a size; the block is freed once.
    unsafe {
        let block = Allocator.alloc(layout);
        // Large strings lie somewhere in the buffer in which they came.
        for at in [0, 37, 4096, (5 << 20) + 19] {
            assert!(!is_in_sparse_page(block.add(at), 100));
        }
        Allocator.dealloc(block, layout);
    }
}
