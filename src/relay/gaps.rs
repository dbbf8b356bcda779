//! What is missing between events that can be seen, and whether it may still come. Pure: what the database says is given.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::table::outbox::Writer;

/// The positions above a frontier, up to the last of these, that are not among them: in ranges, the lowest first.
pub(super) fn missing(frontier: i64, seen: impl IntoIterator<Item = i64>) -> Vec<RangeInclusive<i64>> {
    let mut gaps = Vec::new();
    let mut next = frontier + 1;
    for position in seen {
        if position > next {
            gaps.push(next..=position - 1);
        }
        next = position + 1;
    }
    gaps
}

/// What is left of a gap without the positions that were found in it, the lowest first.
pub(super) fn without(gap: &RangeInclusive<i64>, found: impl IntoIterator<Item = i64>) -> Vec<RangeInclusive<i64>> {
    missing(gap.start() - 1, found.into_iter().chain([gap.end() + 1]))
}

/// Which of the transactions that write now may still fill a gap, of which those were known before.
///
/// A transaction that began later cannot: its positions are higher. A prepared one always may, whatever it was called before: a
/// crash of the server gives it another id.
pub(super) fn may_fill(known: Option<&[String]>, now: &[Writer]) -> Vec<String> {
    let known: Option<BTreeSet<&str>> = known.map(|ids| ids.iter().map(String::as_str).collect());
    let may = |writer: &&Writer| writer.is_prepared || known.as_ref().is_none_or(|ids| ids.contains(&*writer.id));
    now.iter().filter(may).map(|writer| writer.id.clone()).collect()
}

/// The same positions in ranges that do not overlap, the lowest first.
pub(super) fn joined(ranges: impl IntoIterator<Item = RangeInclusive<i64>>) -> Vec<RangeInclusive<i64>> {
    let mut ranges: Vec<RangeInclusive<i64>> = ranges.into_iter().collect();
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut joined: Vec<RangeInclusive<i64>> = Vec::new();
    for range in ranges {
        match joined.last_mut().filter(|last| range.start() <= last.end()) {
            Some(last) => *last = *last.start()..=*last.end().max(range.end()),
            None => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_gap_at_the_beginning_is_one_and_what_lies_above_the_last_is_none() {
        assert_eq!(missing(0, [1, 2, 3]), [] as [RangeInclusive<i64>; 0]);
        assert_eq!(missing(0, [3, 4, 7]), [1..=2, 5..=6]);
        assert_eq!(missing(6, [7]), [] as [RangeInclusive<i64>; 0]);
        assert_eq!(missing(6, []), [] as [RangeInclusive<i64>; 0]);
        assert_eq!(without(&(5..=9), [5, 7]), [6..=6, 8..=9]);
        assert_eq!(without(&(5..=5), [5]), [] as [RangeInclusive<i64>; 0]);
        assert_eq!(without(&(5..=6), []), [5..=6]);
    }

    #[test]
    fn who_may_fill_a_gap_only_becomes_fewer_but_for_what_is_prepared() {
        let writer = |id: &str, is_prepared| Writer { id: id.to_owned(), is_prepared };
        let now = [writer("3/1", false), writer("4/2", false), writer("-1/99", true)];
        assert_eq!(may_fill(None, &now), ["3/1", "4/2", "-1/99"]);
        let known = ["3/1".to_owned(), "5/7".to_owned()];
        assert_eq!(may_fill(Some(&known), &now), ["3/1", "-1/99"]);
        assert_eq!(may_fill(Some(&known), &[]), [""; 0]);
    }

    #[test]
    fn ranges_that_overlap_are_one_and_others_are_not() {
        assert_eq!(joined([7..=9, 1..=3, 2..=2, 3..=5, 9..=9]), [1..=5, 7..=9]);
        assert_eq!(joined([]), []);
    }

    proptest! {
        #[test]
        fn what_is_seen_and_what_is_missing_are_together_everything_up_to_the_last(
            frontier in 0..50i64,
            seen in prop::collection::btree_set(51..200i64, 0..40),
        ) {
            let gaps = missing(frontier, seen.iter().copied());
            let mut all: Vec<i64> = gaps.into_iter().flatten().chain(seen.iter().copied()).collect();
            all.sort_unstable();
            let expected: Vec<i64> = seen.last().map_or_else(Vec::new, |last| (frontier + 1..=*last).collect());
            prop_assert_eq!(all, expected);
        }
    }
}
