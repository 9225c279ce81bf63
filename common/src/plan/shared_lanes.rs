//! Lanes that share the rows of their task, so that one large slice keeps all of them busy.

use super::runtime::SegmentRef;

/// Rows that segments are cut at multiples of, so that few blocks of values are decoded by two lanes.
const CUT_ROWS: u64 = 64 * 1024;

/// A lane may have more rows than its share by one part of so many: less is not worth a cut.
const SLACK_PARTS: u64 = 8;

/// `lanes` dealt anew, in the order they were in: each lane reads about as many rows as any other, and no row is read twice.
pub(super) fn shared(lanes: Vec<Vec<SegmentRef>>) -> Vec<Vec<SegmentRef>> {
    let count = lanes.len();
    let rows = lanes.iter().flatten().map(SegmentRef::rows_read).sum();
    let mut deal = Deal { rows, dealt: 0, lane: 0, lanes: vec![Vec::new(); count] };
    for segment in lanes.into_iter().flatten() {
        deal.add(segment);
    }
    deal.lanes
}

struct Deal {
    /// All rows.
    rows: u64,
    /// Those that some lane has.
    dealt: u64,
    /// The lane that gets the next ones.
    lane: usize,
    lanes: Vec<Vec<SegmentRef>>,
}

impl Deal {
    /// How many rows this lane and those before it should have.
    fn end(&self) -> u64 {
        let (lane, lanes) = (self.lane as u128 + 1, self.lanes.len().max(1) as u128);
        (u128::from(self.rows) * lane / lanes) as u64
    }

    fn add(&mut self, segment: SegmentRef) {
        let slack = self.rows / self.lanes.len().max(1) as u64 / SLACK_PARTS;
        let mut rest = segment;
        while self.lane + 1 < self.lanes.len() {
            let (left, end) = (rest.rows_read(), self.end());
            let room = end.saturating_sub(self.dealt);
            let cut = (room + CUT_ROWS / 2) / CUT_ROWS * CUT_ROWS;
            // What is too small for a cut goes where more of it belongs.
            let is_whole = if cut == 0 { room * 2 >= left } else { cut >= left };
            if is_whole || self.dealt + left <= end + slack {
                return self.push(rest);
            }
            if cut > 0 {
                let (first, others) = rest.cut(cut);
                self.push(first);
                rest = others;
            }
            self.lane += 1;
        }
        self.push(rest);
    }

    fn push(&mut self, segment: SegmentRef) {
        self.dealt += segment.rows_read();
        if let Some(lane) = self.lanes.get_mut(self.lane) {
            lane.push(segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SegmentId, SliceId};
    use crate::manifest::DeleteVector;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn segment(number: u32, rows: u64) -> SegmentRef {
        SegmentRef {
            id: SegmentId(uuid::Uuid::from_u128(u128::from(number))),
            slice: SliceId(number % 8),
            rows,
            bytes: rows,
            checksum: 0,
            other_copies: Vec::new().into(),
            delete_vector: None,
            number,
            part: None,
        }
    }

    fn rows_of(lanes: &[Vec<SegmentRef>]) -> Vec<u64> {
        lanes.iter().map(|lane| lane.iter().map(SegmentRef::rows_read).sum()).collect()
    }

    #[test]
    fn one_large_segment_keeps_all_lanes_busy() {
        let million = 1_000_000;
        let rows = rows_of(&shared(vec![vec![segment(0, million)], vec![], vec![], vec![]]));
        assert!(rows.iter().all(|rows| rows.abs_diff(million / 4) <= CUT_ROWS), "{rows:?}");
        assert_eq!(rows.iter().sum::<u64>(), million);
    }

    #[test]
    fn a_part_has_its_deleted_rows() {
        let deleted = [1, 70_000, 140_000, 199_999];
        let vector = DeleteVector::new(deleted.into_iter().collect());
        let lanes = shared(vec![vec![SegmentRef { delete_vector: vector, ..segment(0, 200_000) }], vec![], vec![]]);
        let parts = lanes.iter().flatten().map(|part| {
            let rows = part.delete_vector.iter().flat_map(|deleted| deleted.rows().iter()).collect::<Vec<_>>();
            (part.part.clone(), rows)
        });
        let expected =
            [(Some(0..65_536), vec![1]), (Some(65_536..131_072), vec![70_000]), (Some(131_072..200_000), vec![140_000, 199_999])];
        assert_eq!(parts.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn small_segments_are_not_cut() {
        let lanes = shared(vec![(0..8).map(|number| segment(number, 10)).collect(), vec![], vec![], vec![]]);
        assert_eq!(rows_of(&lanes), [20, 20, 20, 20]);
        assert!(lanes.iter().flatten().all(|segment| segment.part.is_none()));
    }

    proptest! {
        #[test]
        fn every_row_is_read_once(rows in prop::collection::vec(1u64..600_000, 0..30), lanes in 1usize..9) {
            let mut dealt: Vec<Vec<SegmentRef>> = vec![Vec::new(); lanes];
            for (number, rows) in (0u32..).zip(&rows) {
                dealt[number as usize % lanes].push(segment(number, *rows));
            }
            let dealt = shared(dealt);
            let mut read: BTreeMap<u32, Vec<std::ops::Range<u64>>> = BTreeMap::new();
            for segment in dealt.iter().flatten() {
                read.entry(segment.number).or_default().push(segment.part.clone().unwrap_or(0..segment.rows));
            }
            for (number, rows) in (0u32..).zip(&rows) {
                let mut parts = read.remove(&number).unwrap_or_default();
                parts.sort_by_key(|part| part.start);
                let mut ends = parts.iter().map(|part| part.end);
                prop_assert!(parts.iter().map(|part| part.start).eq(std::iter::once(0).chain(ends.clone()).take(parts.len())));
                prop_assert_eq!(ends.next_back(), Some(*rows));
            }
            prop_assert!(read.is_empty());
            let share = rows.iter().sum::<u64>().div_ceil(lanes as u64);
            for rows in rows_of(&dealt) {
                prop_assert!(rows <= share + share / SLACK_PARTS + CUT_ROWS, "{} of {}", rows, share);
            }
        }
    }
}
