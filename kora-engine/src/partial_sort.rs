//! Sorting the first elements of a slice only.
//!
//! The quicksort of J. Bentley and M. McIlroy ("Engineering a sort function", Software: Practice and Experience 23, 1993),
//! which does not go on where no wanted element can be. Among equal elements it decides which are first, and
//! their order, by its choices of pivots; they are those of the paper, and so of the BSD libraries and of Redis, whose
//! replies with COUNT depend on them.

use std::cmp::Ordering;

/// Below this many elements insertion sort is quicker.
const INSERTION_MAX: usize = 7;
/// Above this many the pivot is a median of nine.
const MEDIAN_OF_NINE: usize = 40;

/// Sorts so that the first `wanted` elements are the least ones in order; nothing is said of the others.
pub(crate) fn partial_sort<T>(elements: &mut [T], wanted: usize, compare: &impl Fn(&T, &T) -> Ordering) {
    let (mut elements, mut wanted) = (elements, wanted);
    loop {
        let len = elements.len();
        if len < INSERTION_MAX {
            return insertion_sort(elements, compare);
        }
        let pivot = pivot(elements, compare);
        elements.swap(0, pivot);
        let (less, greater) = partition(elements, compare);
        if less > 1 {
            partial_sort(&mut elements[..less], wanted, compare);
        }
        let start = len - greater;
        if greater <= 1 || wanted <= start {
            return;
        }
        wanted -= start;
        elements = &mut elements[start..];
    }
}

fn insertion_sort<T>(elements: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) {
    for end in 1..elements.len() {
        let mut at = end;
        while at > 0 && compare(&elements[at - 1], &elements[at]).is_gt() {
            elements.swap(at - 1, at);
            at -= 1;
        }
    }
}

fn pivot<T>(elements: &[T], compare: &impl Fn(&T, &T) -> Ordering) -> usize {
    let len = elements.len();
    let middle = len / 2;
    if len == INSERTION_MAX {
        return middle;
    }
    let median = |a: usize, b: usize, c: usize| {
        let below = |one: usize, other: usize| compare(&elements[one], &elements[other]).is_lt();
        if below(a, b) {
            if below(b, c) {
                b
            } else if below(a, c) {
                c
            } else {
                a
            }
        } else if below(c, b) {
            b
        } else if below(a, c) {
            a
        } else {
            c
        }
    };
    let (mut low, mut centre, mut high) = (0, middle, len - 1);
    if len > MEDIAN_OF_NINE {
        let eighth = len / 8;
        low = median(low, low + eighth, low + 2 * eighth);
        centre = median(centre - eighth, centre, centre + eighth);
        high = median(high - 2 * eighth, high - eighth, high);
    }
    median(low, centre, high)
}

/// Puts what is less than the first element before what is equal to it and that before what is greater; returns how many
/// are less and how many greater. Equal ones are gathered at both ends meanwhile.
fn partition<T>(elements: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) -> (usize, usize) {
    let len = elements.len();
    // Equal: before `equal_left` and from `equal_right` on. Not yet seen: from `left` to before `right`.
    let (mut equal_left, mut left, mut right, mut equal_right) = (1, 1, len, len);
    loop {
        while left < right {
            match compare(&elements[left], &elements[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    elements.swap(equal_left, left);
                    equal_left += 1;
                }
                Ordering::Less => {}
            }
            left += 1;
        }
        while left < right {
            match compare(&elements[right - 1], &elements[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    equal_right -= 1;
                    elements.swap(right - 1, equal_right);
                }
                Ordering::Greater => {}
            }
            right -= 1;
        }
        if left >= right {
            break;
        }
        elements.swap(left, right - 1);
        left += 1;
        right -= 1;
    }
    let (less, greater) = (left - equal_left, equal_right - right);
    // The equal ones go to the middle, in as few swaps as it takes.
    let moved = equal_left.min(less);
    for at in 0..moved {
        elements.swap(at, left - moved + at);
    }
    let moved = greater.min(len - equal_right);
    for at in 0..moved {
        elements.swap(left + at, len - moved + at);
    }
    (less, greater)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_elements_are_those_of_a_sorted_slice(
            mut numbers in prop::collection::vec(0u32..50, 0..300),
            wanted in 0usize..300,
        ) {
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            let wanted = wanted.min(numbers.len());
            partial_sort(&mut numbers, wanted, &Ord::cmp);
            prop_assert_eq!(&numbers[..wanted], &sorted[..wanted]);
            numbers.sort_unstable();
            prop_assert_eq!(numbers, sorted, "nothing is lost");
        }
    }
}
