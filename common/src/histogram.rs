//! Histograms: how a column's values lie between its bounds.
//!
//! Each segment keeps, where they say more than its smallest and largest value do, the values that cut its sorted values into equally large
//! parts (Piatetsky-Shapiro and Connell, "Accurate estimation of the number of tuples satisfying a condition", SIGMOD 1984), or all values,
//! if they are few; for each the shares of the values that are less, and that are not greater: so frequent values are known by name. A
//! table's histogram is the sum of its segments', read when an estimate asks for it.

use crate::ids::ColumnId;
use crate::manifest::{KnownColumn, ReadsDetails, Segment, Segments};
use crate::sql_type::SqlType;
use crate::statistics::{DistinctSketch, decode_bound, encode_bound};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Parts of a segment's histogram.
pub const HISTOGRAM_PARTS: usize = 16;
/// Most bytes of a column's histogram in a manifest; with longer values it gets fewer parts.
const HISTOGRAM_MAX_BYTES: usize = 320;
/// The same of strings among which none is frequent: their histogram tells less.
const RARE_TEXT_MAX_BYTES: usize = 160;
/// A value with at least this share is a frequent one; of others only the order is known.
const FREQUENT_MIN_SHARE: f64 = 0.01;
/// Of more segments, so many are looked at.
const SEGMENTS_MAX_COUNT: usize = 512;
/// Of more frequent values, so many are named.
const FREQUENT_MAX_COUNT: usize = 512;
/// A histogram whose cuts are all this near to where evenly spread values would have them says nothing.
const EVEN_MAX_DEVIATION: f64 = 0.03;

/// A value's place in the order of its column.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Point {
    /// Of a number, a date (days), a time (microseconds), a truth value (0 or 1).
    Number(f64),
    /// Of a string, in the order of its bytes.
    Text(String),
}

impl Point {
    /// The place of `value`; None of NULL and of what has none.
    pub fn of(value: &ScalarValue) -> Option<Self> {
        let whole = match value {
            ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
                return text.clone().map(Self::Text);
            }
            ScalarValue::Boolean(value) => return value.map(|value| Self::Number(f64::from(u8::from(value)))),
            _ => match value.data_type() {
                DataType::Date32 => value.cast_to(&DataType::Int32).ok()?,
                DataType::Timestamp(_, _) | DataType::Time64(_) => value.cast_to(&DataType::Int64).ok()?,
                known if known.is_numeric() => value.clone(),
                _ => return None,
            },
        };
        match whole.cast_to(&DataType::Float64).ok()? {
            ScalarValue::Float64(number) => number.filter(|number| number.is_finite()).map(Self::Number),
            _ => None,
        }
    }

    /// Where `self` lies between two others, 0 to 1.
    fn between(&self, low: &Self, high: &Self) -> f64 {
        let (at, low, high) = match (self, low, high) {
            (Self::Number(at), Self::Number(low), Self::Number(high)) => (*at, *low, *high),
            (Self::Text(at), Self::Text(low), Self::Text(high)) => {
                let common = low.bytes().zip(high.bytes()).take_while(|(one, other)| one == other).count();
                (digits(at, common), digits(low, common), digits(high, common))
            }
            _ => return 0.5,
        };
        if high > low { ((at - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 }
    }
}

/// The six bytes of `text` after the first `from` as digits of a number.
fn digits(text: &str, from: usize) -> f64 {
    let bytes = text.as_bytes().get(from..).unwrap_or_default();
    (0..6).fold(0.0, |number, index| number * 256.0 + f64::from(bytes.get(index).copied().unwrap_or(0)))
}

/// The encoded histogram of a segment's column: `sorted` are some or all of its values, of which none is NULL, in their order, `bounds` the
/// smallest and largest of all. Empty where it would say no more than those.
pub fn encode_histogram(sorted: &[ScalarValue], bounds: (&ScalarValue, &ScalarValue), sql_type: SqlType) -> Vec<u8> {
    let (Some(min), Some(max)) = (Point::of(bounds.0), Point::of(bounds.1)) else { return Vec::new() };
    if min == max {
        return Vec::new();
    }
    let mut parts = HISTOGRAM_PARTS;
    while parts > 1 && sorted.len() >= parts {
        let cuts = cuts(sorted, parts);
        let is_even = |cut: &Cut<&ScalarValue>| {
            let Some(point @ Point::Number(_)) = Point::of(cut.value) else { return false };
            !cut.is_frequent() && (point.between(&min, &max) - (cut.below + cut.up_to) / 2.0).abs() <= EVEN_MAX_DEVIATION
        };
        if cuts.iter().all(is_even) {
            return Vec::new();
        }
        let some_frequent = cuts.iter().any(Cut::is_frequent);
        let most = if matches!(min, Point::Text(_)) && !some_frequent { RARE_TEXT_MAX_BYTES } else { HISTOGRAM_MAX_BYTES };
        let Some(encoded) = encode_cuts(&cuts, sql_type) else { return Vec::new() };
        if encoded.len() <= most {
            return encoded;
        }
        parts /= 2;
    }
    Vec::new()
}

/// A value with the shares, 0 to 1, of the values that are less, and that are not greater.
#[derive(Clone, Debug, PartialEq)]
struct Cut<T> {
    value: T,
    below: f64,
    up_to: f64,
}

impl<T> Cut<T> {
    fn share(&self) -> f64 {
        self.up_to - self.below
    }

    fn is_frequent(&self) -> bool {
        self.share() >= FREQUENT_MIN_SHARE
    }
}

/// All different values, if they are fewer than `parts`; otherwise those between equally large parts.
fn cuts(sorted: &[ScalarValue], parts: usize) -> Vec<Cut<&ScalarValue>> {
    let mut all = Vec::new();
    let mut start = 0;
    for same in sorted.chunk_by(|one, other| one == other) {
        let share = |count: usize| count as f64 / sorted.len() as f64;
        all.push((start..start + same.len(), Cut { value: &same[0], below: share(start), up_to: share(start + same.len()) }));
        start += same.len();
    }
    if all.len() >= parts {
        let ends: Vec<usize> = (1..parts).map(|cut| cut * sorted.len() / parts).collect();
        all.retain(|(rows, _)| ends.iter().any(|end| rows.contains(end)));
    }
    all.into_iter().map(|(_, cut)| cut).collect()
}

/// For each cut its shares (65535 is 1), a byte with the length of its value, and that.
fn encode_cuts(cuts: &[Cut<&ScalarValue>], sql_type: SqlType) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for cut in cuts {
        for share in [cut.below, cut.up_to] {
            all.extend(((share * f64::from(u16::MAX)).round() as u16).to_le_bytes());
        }
        let encoded = encode_bound(cut.value, sql_type, false)?;
        all.push(u8::try_from(encoded.len()).ok()?);
        all.extend(encoded);
    }
    Some(all)
}

/// Reads what [`encode_cuts`] wrote.
fn decode_cuts(mut bytes: &[u8], sql_type: SqlType) -> Option<Vec<Cut<Point>>> {
    let share = |bytes: [u8; 2]| f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX);
    let mut cuts = Vec::new();
    while let Some(([below, more_below, up_to, more_up_to, length], rest)) = bytes.split_first_chunk() {
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        let value = decode_point(value, sql_type)?;
        cuts.push(Cut { value, below: share([*below, *more_below]), up_to: share([*up_to, *more_up_to]) });
        bytes = rest;
    }
    bytes.is_empty().then_some(cuts)
}

fn decode_point(bytes: &[u8], sql_type: SqlType) -> Option<Point> {
    Point::of(&decode_bound(bytes, sql_type).ok()??.0)
}

/// The histogram of a column over the segments of a table.
#[derive(Clone)]
pub struct ColumnHistogram {
    segments: Arc<Segments>,
    details: Arc<dyn ReadsDetails>,
    column: ColumnId,
    sql_type: SqlType,
    known: OnceLock<Vec<SegmentHistogram>>,
}

impl fmt::Debug for ColumnHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ColumnHistogram {{ column: {}, segments: {} }}", self.column.0, self.segments.len())
    }
}

impl ColumnHistogram {
    /// Of a column of a table with these segments, whose details are read there.
    pub fn new(segments: Arc<Segments>, details: Arc<dyn ReadsDetails>, column: ColumnId, sql_type: SqlType) -> Self {
        Self { segments, details, column, sql_type, known: OnceLock::new() }
    }

    /// Share, 0 to 1, of the values that are less than `point` or, if `inclusive`, equal to it. None where no segment knows its bounds.
    pub fn below(&self, point: &Point, inclusive: bool) -> Option<f64> {
        self.weighted(|segment| segment.below(point, inclusive))
    }

    /// Share, 0 to 1, of the values that are equal to `point`. None where no segment knows its bounds.
    pub fn equal(&self, point: &Point) -> Option<f64> {
        self.weighted(|segment| segment.equal(point))
    }

    /// The values that some segment knows to be frequent.
    pub fn frequent(&self) -> Vec<Point> {
        let segments = self.known.get_or_init(|| self.read());
        let cuts = segments.iter().flat_map(|segment| &segment.cuts).filter(|cut| cut.is_frequent());
        let mut frequent: Vec<Point> = Vec::new();
        for cut in cuts.take(FREQUENT_MAX_COUNT) {
            if !frequent.contains(&cut.value) {
                frequent.push(cut.value.clone());
            }
        }
        frequent
    }

    fn weighted(&self, share: impl Fn(&SegmentHistogram) -> f64) -> Option<f64> {
        let segments = self.known.get_or_init(|| self.read());
        let values: f64 = segments.iter().map(|segment| segment.values).sum();
        (values > 0.0).then(|| segments.iter().map(|segment| segment.values * share(segment)).sum::<f64>() / values)
    }

    /// What cannot be read is left out: these are estimates. Nothing, where little can be.
    fn read(&self) -> Vec<SegmentHistogram> {
        let stride = self.segments.len().div_ceil(SEGMENTS_MAX_COUNT).max(1);
        let (mut known, mut read, mut all) = (Vec::new(), 0.0, 0.0);
        for segment in self.segments.values().step_by(stride) {
            let Some(column) = segment.columns.find(self.column) else {
                all += segment.rows as f64;
                continue;
            };
            let of_segment = self.read_segment(segment, column);
            read += of_segment.as_ref().map_or(0.0, |known| known.values);
            all += values_of(segment, column);
            known.extend(of_segment);
        }
        if read * 2.0 >= all { known } else { Vec::new() }
    }

    fn read_segment(&self, segment: &Segment, known: KnownColumn<'_>) -> Option<SegmentHistogram> {
        let (min, max) = (decode_point(known.min, self.sql_type)?, decode_point(known.max, self.sql_type)?);
        let details = self.details.details(segment)?;
        let details = details.of(self.column);
        let cuts = details.map_or(Some(Vec::new()), |details| decode_cuts(&details.histogram, self.sql_type))?;
        let values = values_of(segment, known);
        let sketch = details.and_then(|details| DistinctSketch::from_bytes(&details.distinct_sketch));
        let distinct = sketch.map_or(values, |sketch| sketch.estimate() as f64);
        Some(SegmentHistogram { values, distinct: distinct.clamp(1.0, values.max(1.0)), min, max, cuts })
    }
}

/// Rows of a segment where a column is not NULL.
fn values_of(segment: &Segment, column: KnownColumn<'_>) -> f64 {
    segment.rows.saturating_sub(column.nulls) as f64
}

/// The values of a column in one segment.
#[derive(Clone, Debug)]
struct SegmentHistogram {
    /// How many.
    values: f64,
    /// How many different ones.
    distinct: f64,
    min: Point,
    max: Point,
    /// In their order.
    cuts: Vec<Cut<Point>>,
}

impl SegmentHistogram {
    fn below(&self, point: &Point, inclusive: bool) -> f64 {
        if *point < self.min || *point == self.min && !inclusive {
            return 0.0;
        }
        if *point > self.max || *point == self.max && inclusive {
            return 1.0;
        }
        let next = self.cuts.partition_point(|cut| cut.value < *point);
        if let Some(cut) = self.cuts.get(next).filter(|cut| cut.value == *point) {
            return if inclusive { cut.up_to } else { cut.below };
        }
        let (low, below) = match next.checked_sub(1).and_then(|last| self.cuts.get(last)) {
            Some(cut) => (&cut.value, cut.up_to),
            None => (&self.min, 0.0),
        };
        let (high, up_to) = self.cuts.get(next).map_or((&self.max, 1.0), |cut| (&cut.value, cut.below));
        below + (up_to - below).max(0.0) * point.between(low, high)
    }

    fn equal(&self, point: &Point) -> f64 {
        if *point < self.min || *point > self.max {
            return 0.0;
        }
        let frequent = || self.cuts.iter().filter(|cut| cut.is_frequent());
        if let Some(cut) = frequent().find(|cut| cut.value == *point) {
            return cut.share();
        }
        let others = 1.0 - frequent().map(Cut::share).sum::<f64>();
        (others / (self.distinct - frequent().count() as f64).max(1.0)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SegmentId, SliceId, TableId};
    use crate::manifest::{ColumnStatistics, Details, InlineDetails, SegmentColumns};
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    const TEXT: SqlType = SqlType::VarChar(100);

    fn segment(mut values: Vec<ScalarValue>, sql_type: SqlType) -> Segment {
        values.sort_by(|one, other| one.partial_cmp(other).unwrap());
        let (min, max) = (values.first().unwrap(), values.last().unwrap());
        let mut sketch = DistinctSketch::default();
        values.iter().for_each(|value| sketch.insert(xxh3_64(value.to_string().as_bytes())));
        let known = ColumnStatistics {
            column: ColumnId(1),
            nulls: 0,
            min: encode_bound(min, sql_type, false).unwrap(),
            max: encode_bound(max, sql_type, true).unwrap(),
            distinct_sketch: sketch.to_bytes(),
            histogram: encode_histogram(&values, (min, max), sql_type),
            trailing_blanks: Default::default(),
        };
        Segment {
            id: SegmentId(uuid::Uuid::from_u128(values.len() as u128)),
            table: TableId(1),
            slice: SliceId(0),
            slice_count: 8,
            rows: values.len() as u64,
            bytes: 0,
            checksum: 0,
            nodes: Vec::new(),
            columns: SegmentColumns::new([(&known).into()]),
            details: Details::of(&[known]),
            placement_epoch: 0,
            sorted_by: Vec::new(),
            delete_vector: None,
        }
    }

    fn histogram(segments: Vec<Segment>, sql_type: SqlType) -> ColumnHistogram {
        let segments = segments.into_iter().map(|segment| (segment.id, Arc::new(segment))).collect();
        ColumnHistogram::new(Arc::new(segments), Arc::new(InlineDetails), ColumnId(1), sql_type)
    }

    fn kept(segment: &Segment) -> Vec<u8> {
        segment.details.inline().unwrap().of(ColumnId(1)).unwrap().histogram.clone()
    }

    fn kept_cuts(segment: &Segment, sql_type: SqlType) -> usize {
        decode_cuts(&kept(segment), sql_type).unwrap().len()
    }

    fn text(value: &str) -> ScalarValue {
        ScalarValue::Utf8View(Some(value.to_owned()))
    }

    fn number(value: i64) -> ScalarValue {
        ScalarValue::Int64(Some(value))
    }

    fn place(value: &str) -> Point {
        Point::Text(value.to_owned())
    }

    #[test]
    fn frequent_values_are_known_by_name() {
        let status = |row: usize| {
            text(["closed", "open", "returned"][usize::from(row.is_multiple_of(10)) + usize::from(row.is_multiple_of(50))])
        };
        let known = histogram(vec![segment((0..10_000).map(status).collect(), TEXT)], TEXT);
        let share = |value: &str| known.equal(&place(value)).unwrap();
        for (value, expected) in [("closed", 0.9), ("open", 0.08), ("returned", 0.02), ("lost", 0.0), ("zebra", 0.0)] {
            assert!((share(value) - expected).abs() < 0.001, "{value}: {}", share(value));
        }
        // Among many others.
        let city = |row: usize| if row.is_multiple_of(4) { text("Berlin") } else { text(&format!("city {row}")) };
        let known = histogram(vec![segment((0..10_000).map(city).collect(), TEXT)], TEXT);
        assert!((known.equal(&place("Berlin")).unwrap() - 0.25).abs() < 0.001);
        assert!(known.equal(&place("city 77")).unwrap() < 0.001);
        assert!((known.below(&place("a"), false).unwrap() - 0.25).abs() < 0.001);
    }

    #[test]
    fn evenly_spread_numbers_need_no_cuts() {
        assert!(kept(&segment((0..10_000).map(number).collect(), SqlType::BigInt)).is_empty());
        let squares = segment((0..10_000).map(|i| number(i * i)).collect(), SqlType::BigInt);
        assert_eq!(kept_cuts(&squares, SqlType::BigInt), HISTOGRAM_PARTS - 1);
    }

    #[test]
    fn long_values_leave_fewer_parts() {
        let long = |row: usize, width: usize| text(&format!("{row:05} {}", "x".repeat(width)));
        let rare = segment((0..10_000).map(|row| long(row, 30)).collect(), TEXT);
        assert_eq!(kept_cuts(&rare, TEXT), HISTOGRAM_PARTS / 4 - 1);
        assert!(kept(&rare).len() <= RARE_TEXT_MAX_BYTES);
        let frequent = segment((0..10_000).map(|row| long(row % 3, 30)).collect(), TEXT);
        assert_eq!(kept_cuts(&frequent, TEXT), 3);
        // No bound is kept of a maximum of more than 64 bytes.
        let mut longer = segment((0..100).map(|row| long(row, 10)).collect(), TEXT);
        let bounded = longer.clone();
        let known = bounded.columns.find(ColumnId(1)).unwrap();
        longer.columns = SegmentColumns::new([KnownColumn { max: &[], ..known }]);
        assert_eq!(histogram(vec![longer.clone()], TEXT).equal(&place("a")), None);
        longer.rows = 9_999;
        let known = segment((0..99).map(|row| long(row, 10)).collect(), TEXT);
        assert_eq!(histogram(vec![longer, known], TEXT).equal(&place("a")), None, "little is known");
    }

    #[test]
    fn segments_count_by_their_values() {
        let low = segment((0..3_000).map(number).collect(), SqlType::BigInt);
        let high = segment((9_000..10_000).map(number).collect(), SqlType::BigInt);
        let known = histogram(vec![low, high], SqlType::BigInt);
        let below = |value: f64| known.below(&Point::Number(value), false).unwrap();
        assert!((below(5_000.0) - 0.75).abs() < 1e-9);
        assert!((below(1_500.0) - 0.375).abs() < 0.01);
        // One value in the segment that it can be in.
        let one = known.equal(&Point::Number(9_500.0)).unwrap();
        assert!((one * 4_000.0 - 1.0).abs() < 0.2, "{one}");
    }

    #[test]
    fn nothing_known_is_no_estimate() {
        assert_eq!(histogram(Vec::new(), TEXT).equal(&place("a")), None);
        assert_eq!(histogram(Vec::new(), TEXT).below(&place("a"), true), None);
    }

    proptest! {
        /// The share below any point differs from the true one by little more than a part, on each side.
        #[test]
        fn estimates_are_near(values in prop::collection::vec(prop_oneof![-1_000i64..1_000, 0i64..5, -1_000_000i64..1_000_000], 64..2_000), at in -1_100_000i64..1_100_000) {
            let known = histogram(vec![segment(values.iter().map(|value| number(*value)).collect(), SqlType::BigInt)], SqlType::BigInt);
            for at in [at, values[0], values[values.len() / 2]] {
                let total = values.len() as f64;
                let less = values.iter().filter(|value| **value < at).count() as f64 / total;
                let at_most = values.iter().filter(|value| **value <= at).count() as f64 / total;
                let point = Point::Number(at as f64);
                let room = 1.0 / HISTOGRAM_PARTS as f64 + EVEN_MAX_DEVIATION + 0.01;
                prop_assert!((known.below(&point, false).unwrap() - less).abs() <= room);
                prop_assert!((known.below(&point, true).unwrap() - at_most).abs() <= room);
                prop_assert!((known.equal(&point).unwrap() - (at_most - less)).abs() <= room);
            }
        }
    }
}
