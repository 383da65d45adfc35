//! The encodings against an array of registers and against each other.

use super::*;
use proptest::prelude::*;

const SPARSE_MAX: usize = 3000;

/// Registers as an array: what every encoding stands for.
fn registers(sketch: &[u8]) -> [u8; REGISTERS] {
    let mut registers = [0; REGISTERS];
    merge_into(sketch, encoding(sketch).unwrap(), &mut registers).unwrap();
    registers
}

fn raise_in(sketch: &mut Vec<u8>, index: usize, rank: u8, max: usize, at: &mut sparse::Position) -> bool {
    match raise(sketch, encoding(sketch).unwrap(), index, rank, max, at).unwrap() {
        Raised::Not => return false,
        Raised::Edit(edit) => edit.apply(sketch),
        Raised::Promoted(dense) => *sketch = dense,
    }
    true
}

fn from_start(sketch: &mut Vec<u8>, index: usize, rank: u8, max: usize) -> bool {
    raise_in(sketch, index, rank, max, &mut sparse::Position::start())
}

/// Registers that often are neighbours and hold few values, so that runs split and join.
fn raises() -> impl Strategy<Value = Vec<(usize, u8)>> {
    let index = prop_oneof![0usize..40, 16340usize..REGISTERS, 0usize..REGISTERS];
    prop::collection::vec((index, prop_oneof![10 => 1u8..4, 1 => 1u8..=32]), 0..300)
}

#[test]
fn an_empty_sketch_is_one_run() {
    let sketch = empty();
    assert_eq!(sketch, b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
    assert_eq!(count(&sketch, Encoding::Sparse), Ok(0));
    assert_eq!(cached_count(&sketch), Some(0));
}

#[test]
fn the_hash_is_murmur_hash_64a() {
    // Of an independent implementation, with the seed that all sketches have.
    for (text, hash) in [
        (b"".as_slice(), 0xd8df_ea65_85bc_9732_u64),
        (b"a", 0x53d2_470a_9b43_b1a7),
        (b"12345678", 0x95eb_b863_8913_2953),
        (b"hello world", 0xa919_bc30_51f6_24b7),
        (&b"\x00\xff".repeat(9), 0x5912_3440_c959_5cec),
    ] {
        assert_eq!(murmur::murmur_hash_64a(text, SEED), hash, "{text:?}");
    }
}

#[test]
fn only_strings_that_begin_as_sketches_do_are_sketches() {
    let dense = to_dense(&empty()).unwrap();
    assert_eq!(dense.len(), dense::LEN);
    assert_eq!(encoding(&dense), Some(Encoding::Dense));
    assert_eq!(encoding(&dense[..dense.len() - 1]), None);
    assert_eq!(encoding(&[dense.as_slice(), b"\0"].concat()), None);
    assert_eq!(encoding(b"HYLL\x01\0\0\0\0\0\0\0\0\0\0"), None);
    assert_eq!(
        encoding(b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0"),
        Some(Encoding::Sparse),
        "its runs are looked at later"
    );
    assert_eq!(encoding(b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0\x7f\xff"), None);
    assert_eq!(encoding(b"hyll\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff"), None);
    assert_eq!(encoding(b""), None);
}

#[test]
fn a_sparse_sketch_is_promoted_by_a_long_run_or_by_its_length() {
    let mut sketch = empty();
    assert!(from_start(&mut sketch, 7, 32, SPARSE_MAX));
    assert_eq!(encoding(&sketch), Some(Encoding::Sparse));
    assert!(from_start(&mut sketch, 7, 33, SPARSE_MAX));
    assert_eq!(encoding(&sketch), Some(Encoding::Dense));
    assert_eq!(registers(&sketch)[7], 33);

    let mut sketch = empty();
    let mut len = 0;
    for index in (0..REGISTERS).step_by(2) {
        assert!(from_start(&mut sketch, index, 1 + (index % 16) as u8, 100));
        if encoding(&sketch) == Some(Encoding::Dense) {
            break;
        }
        len = sketch.len();
    }
    assert!((98..=100).contains(&len), "{len}");
    assert_eq!(encoding(&sketch), Some(Encoding::Dense));
}

#[test]
fn the_estimate_is_within_a_few_standard_errors() {
    let mut registers = [0; REGISTERS];
    let mut shown = 0u64;
    for target in [1u64, 10, 100, 1000, 10_000, 100_000, 1_000_000] {
        while shown < target {
            let (index, rank) = place(&shown.to_le_bytes());
            registers[index] = registers[index].max(rank);
            shown += 1;
        }
        let estimate = estimate::estimate(&registers);
        let error = estimate.abs_diff(target) as f64;
        let standard_error = 1.04 / (REGISTERS as f64).sqrt() * target as f64;
        assert!(error <= (4.0 * standard_error).max(1.0), "{estimate} for {target}");
    }
    assert_eq!(estimate::estimate(&[63; REGISTERS]), 1 << 63);
}

#[test]
fn the_cache_is_valid_until_it_is_outdated() {
    let mut sketch = empty();
    cache_count(0x0102_0304_0506_0708).apply(&mut sketch);
    assert_eq!(cached_count(&sketch), Some(0x0102_0304_0506_0708));
    outdate_count(&sketch).unwrap().apply(&mut sketch);
    assert_eq!(cached_count(&sketch), None);
    assert_eq!(outdate_count(&sketch), None);
    assert_eq!(sketch[8..16], [8, 7, 6, 5, 4, 3, 2, 0x81]);
}

proptest! {
    #[test]
    fn every_encoding_holds_the_highest_of_each_register(raises in raises()) {
        let (mut sparse, mut dense, mut model) = (empty(), to_dense(&empty()).unwrap(), [0u8; REGISTERS]);
        for &(index, rank) in &raises {
            let higher = rank > model[index];
            model[index] = model[index].max(rank);
            prop_assert_eq!(from_start(&mut sparse, index, rank, SPARSE_MAX), higher);
            prop_assert_eq!(from_start(&mut dense, index, rank, SPARSE_MAX), higher);
        }
        prop_assert_eq!(encoding(&sparse), Some(Encoding::Sparse));
        prop_assert_eq!(registers(&sparse), model);
        prop_assert_eq!(registers(&dense), model);
        prop_assert_eq!(to_dense(&sparse).unwrap(), dense.clone());
        prop_assert_eq!(dense::with_registers(&dense, &model), dense.clone());
        prop_assert_eq!(count(&sparse, Encoding::Sparse), count(&dense, Encoding::Dense));
        let covered: usize = sparse::Runs::of(&sparse).map(sparse::Run::len).sum();
        prop_assert_eq!(covered, REGISTERS);
    }

    #[test]
    fn raising_upwards_needs_no_search_from_the_start(before in raises(), raises in raises()) {
        let mut by_search = empty();
        for (index, rank) in before {
            from_start(&mut by_search, index, rank, SPARSE_MAX);
        }
        let mut by_position = by_search.clone();
        let mut upwards = raises;
        upwards.sort_unstable();
        upwards.dedup_by_key(|raise| raise.0);
        let mut at = sparse::Position::start();
        for (index, rank) in upwards {
            from_start(&mut by_search, index, rank, SPARSE_MAX);
            raise_in(&mut by_position, index, rank, SPARSE_MAX, &mut at);
            prop_assert_eq!(&by_position, &by_search);
        }
    }

    #[test]
    fn hostile_bytes_are_corrupted_or_hold_registers(
        body in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x7f), Just(0xff), 0x80u8..0x90], 0..60),
        index in 0usize..REGISTERS,
        rank in 1u8..=51,
    ) {
        let mut sketch = empty();
        sketch.truncate(HEADER_LEN);
        sketch.extend(body);
        let counted = count(&sketch, Encoding::Sparse);
        prop_assert_eq!(to_dense(&sketch).is_ok(), counted.is_ok());
        let raised = raise(&sketch, Encoding::Sparse, index, rank, SPARSE_MAX, &mut sparse::Position::start());
        if counted.is_ok() {
            prop_assert!(raised.is_ok());
        }
        if let Ok(Raised::Edit(edit)) = raised {
            edit.apply(&mut sketch);
            prop_assert_eq!(count(&sketch, Encoding::Sparse).is_ok(), counted.is_ok());
        }
    }

    #[test]
    fn forged_dense_registers_give_an_estimate(seed: u64, top in 1u64..=64) {
        let mut registers = [0; REGISTERS];
        for (index, register) in registers.iter_mut().enumerate() {
            *register = (murmur::murmur_hash_64a(&index.to_le_bytes(), seed) % top) as u8;
        }
        let sketch = dense::with_registers(&empty(), &registers);
        prop_assert_eq!(self::registers(&sketch), registers);
        prop_assert_eq!(count(&sketch, Encoding::Dense), Ok(estimate::estimate(&registers)));
    }
}
