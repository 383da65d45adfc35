//! Sizes and counts, each with its reason.

/// Native stack of one interpreter in bytes: virtual, only what is touched is memory. Lua nests 200 C calls; the largest frames among
/// them are those of `string.gsub` with a function, which hold an 8 KiB buffer each: 200 * 9 KiB. Below the last of them are at most 30 KiB of pattern
/// matching ([`PATTERN_ITEMS_MAX`]) or 1 MiB of nested values in cjson, cmsgpack or a reply.
pub(crate) const NATIVE_STACK_BYTES: usize = 4 << 20;

/// Instructions between two looks at whether the time slice is over: some 50 us.
pub(crate) const HOOK_INSTRUCTIONS: i32 = 10_000;

/// Elements written or read natively between two looks at the time slice: about as long.
pub(crate) const SLICE_ELEMENTS: u32 = 5_000;

/// Items of a pattern that the matcher takes a native stack frame for, as in Lua 5.2 and later. Lua 5.1 has no limit and overflows its stack.
pub(crate) const PATTERN_ITEMS_MAX: usize = 200;

/// Compiled scripts that one interpreter keeps; when there are more it forgets all and compiles anew.
pub(crate) const COMPILED_MAX: usize = 1_000;

/// Capacity of buffers that is kept from script to script.
pub(crate) const KEPT_BUFFER_BYTES: usize = 64 << 10;

/// Longest source: the lexer counts in 32 bits.
pub(crate) const SOURCE_BYTES_MAX: usize = 1 << 29;

/// Recursion on the native stack while values are converted: frames of some 300 bytes. Redis stops at about 4,000, where Lua's stack ends.
pub(crate) const NESTING_MAX: usize = 2_600;

const _: () = assert!(NESTING_MAX * 400 + 200 * 9_000 + PATTERN_ITEMS_MAX * 200 < NATIVE_STACK_BYTES);
