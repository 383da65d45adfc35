//! How the arrays of nodes grow: by one size class of the allocator at a time, not twofold.
//!
//! A leaf moves through all sizes between half full and full. With arrays that double, a third of the memory would be spare; with the
//! allocator's own steps (four per doubling) it is a tenth, and a growth copies a few hundred bytes.

/// The least size class of at least so many bytes: `(4 + m) << e` words, as mimalloc and jemalloc have them.
fn size_class(bytes: usize) -> usize {
    let words = bytes.div_ceil(8).max(1);
    if words <= 8 {
        return words * 8;
    }
    let step = 1 << (words.ilog2() - 2);
    words.next_multiple_of(step) * 8
}

/// Makes room for one element more.
#[inline]
pub(super) fn make_room<T>(array: &mut Vec<T>) {
    if array.len() == array.capacity() {
        grow(array);
    }
}

#[cold]
fn grow<T>(array: &mut Vec<T>) {
    let len = array.len();
    let capacity = size_class((len + 1) * size_of::<T>()) / size_of::<T>();
    array.reserve_exact(capacity - len);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_are_four_per_doubling() {
        let classes: Vec<usize> = (1..=40).map(|words| size_class(words * 8) / 8).collect();
        let mut distinct = classes.clone();
        distinct.dedup();
        assert_eq!(distinct, [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40]);
        assert!(classes.iter().enumerate().all(|(i, &class)| class > i));
    }

    #[test]
    fn arrays_grow_by_about_a_fifth() {
        let mut array: Vec<u64> = Vec::new();
        let mut capacities = Vec::new();
        for i in 0..100 {
            make_room(&mut array);
            if capacities.last() != Some(&array.capacity()) {
                capacities.push(array.capacity());
            }
            array.push(i);
        }
        assert_eq!(capacities[8..], [10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112]);
    }
}
