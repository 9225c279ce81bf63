//! Equi-depth histograms: how a column's values lie between its bounds.
//!
//! Each segment keeps the values that cut its sorted values into equally large parts (Piatetsky-Shapiro and Connell, "Accurate estimation
//! of the number of tuples satisfying a condition", SIGMOD 1984), where they say more than its smallest and largest value do. A value that
//! stands at several cuts is a frequent one. A table's histogram is the sum of its segments', read when an estimate asks for it.

use crate::ids::{ColumnId, SegmentId};
use crate::manifest::Segment;
use crate::sql_type::SqlType;
use crate::statistics::{DistinctSketch, decode_bound, encode_bound};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Parts of a segment's histogram.
pub const HISTOGRAM_PARTS: usize = 32;
/// Most bytes of a column's histogram in a manifest; with longer values it gets fewer parts.
const HISTOGRAM_MAX_BYTES: usize = 1024;
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

/// The encoded cuts of a segment's column: `sorted` are some or all of its values, of which none is NULL, in their order, `bounds` the smallest and
/// largest of all. Empty where they would say no more than those.
pub fn encode_histogram(sorted: &[ScalarValue], bounds: (&ScalarValue, &ScalarValue), sql_type: SqlType) -> Vec<Vec<u8>> {
    let (Some(min), Some(max)) = (Point::of(bounds.0), Point::of(bounds.1)) else { return Vec::new() };
    if min == max {
        return Vec::new();
    }
    let mut parts = HISTOGRAM_PARTS;
    while parts > 1 && sorted.len() >= parts {
        let cuts: Vec<&ScalarValue> = (1..parts).map(|cut| &sorted[cut * sorted.len() / parts]).collect();
        let is_even = |(index, cut): (usize, &&ScalarValue)| {
            let evenly = (index + 1) as f64 / parts as f64;
            matches!(Point::of(cut), Some(point @ Point::Number(_)) if (point.between(&min, &max) - evenly).abs() <= EVEN_MAX_DEVIATION)
        };
        if cuts.iter().enumerate().all(is_even) {
            return Vec::new();
        }
        let encoded: Option<Vec<Vec<u8>>> = cuts.iter().map(|cut| encode_bound(cut, sql_type, false)).collect();
        let Some(encoded) = encoded else { return Vec::new() };
        if encoded.iter().map(Vec::len).sum::<usize>() <= HISTOGRAM_MAX_BYTES {
            return encoded;
        }
        parts /= 2;
    }
    Vec::new()
}

/// The histogram of a column over the segments of a table.
#[derive(Clone)]
pub struct ColumnHistogram {
    segments: Arc<BTreeMap<SegmentId, Arc<Segment>>>,
    column: ColumnId,
    sql_type: SqlType,
    parts: OnceLock<Vec<SegmentHistogram>>,
}

impl fmt::Debug for ColumnHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ColumnHistogram {{ column: {}, segments: {} }}", self.column.0, self.segments.len())
    }
}

impl ColumnHistogram {
    /// Of a column of a table with these segments.
    pub fn new(segments: Arc<BTreeMap<SegmentId, Arc<Segment>>>, column: ColumnId, sql_type: SqlType) -> Self {
        Self { segments, column, sql_type, parts: OnceLock::new() }
    }

    /// Share, 0 to 1, of the values that are less than `point` or, if `inclusive`, equal to it. None where no segment knows its bounds.
    pub fn below(&self, point: &Point, inclusive: bool) -> Option<f64> {
        self.weighted(|segment| segment.below(point, inclusive))
    }

    /// Share, 0 to 1, of the values that are equal to `point`. None where no segment knows its bounds.
    pub fn equal(&self, point: &Point) -> Option<f64> {
        self.weighted(|segment| segment.equal(point))
    }

    fn weighted(&self, share: impl Fn(&SegmentHistogram) -> f64) -> Option<f64> {
        let segments = self.parts.get_or_init(|| self.read());
        let values: f64 = segments.iter().map(|segment| segment.values).sum();
        (values > 0.0).then(|| segments.iter().map(|segment| segment.values * share(segment)).sum::<f64>() / values)
    }

    /// What cannot be read is left out: these are estimates.
    fn read(&self) -> Vec<SegmentHistogram> {
        self.segments.values().filter_map(|segment| SegmentHistogram::read(segment, self.column, self.sql_type)).collect()
    }
}

/// The values of a column in one segment.
#[derive(Clone, Debug)]
struct SegmentHistogram {
    /// How many.
    values: f64,
    /// How many different ones.
    distinct: f64,
    /// The smallest, the cuts, the largest.
    bounds: Vec<Point>,
}

impl SegmentHistogram {
    fn read(segment: &Segment, column: ColumnId, sql_type: SqlType) -> Option<Self> {
        let known = segment.columns.iter().find(|known| known.column == column)?;
        let point = |bytes: &Vec<u8>| Point::of(&decode_bound(bytes, sql_type).ok()??.0);
        let inner = known.histogram.iter();
        let bounds = std::iter::once(&known.min).chain(inner).chain([&known.max]).map(point).collect::<Option<Vec<_>>>()?;
        let values = (segment.rows - known.nulls.min(segment.rows)) as f64;
        let distinct = DistinctSketch::from_bytes(&known.distinct_sketch).map_or(values, |sketch| sketch.estimate() as f64);
        Some(Self { values, distinct: distinct.clamp(1.0, values.max(1.0)), bounds })
    }

    fn parts(&self) -> f64 {
        (self.bounds.len() - 1) as f64
    }

    fn below(&self, point: &Point, inclusive: bool) -> f64 {
        let less = self.bounds.partition_point(|bound| bound < point);
        let at_most = self.bounds.partition_point(|bound| bound <= point);
        if at_most == 0 {
            return 0.0;
        }
        if less == self.bounds.len() {
            return 1.0;
        }
        let whole = match (at_most > less, inclusive) {
            (true, false) => less as f64,
            (true, true) => (at_most - 1) as f64,
            (false, _) => (less - 1) as f64 + point.between(&self.bounds[less - 1], &self.bounds[less]),
        };
        whole / self.parts()
    }

    fn equal(&self, point: &Point) -> f64 {
        let is_inside = self.bounds.first().is_some_and(|min| min <= point) && self.bounds.last().is_some_and(|max| point <= max);
        if !is_inside {
            return 0.0;
        }
        let (mut frequent, mut rows_of_frequent) = (0.0, 0.0);
        for same in self.bounds.chunk_by(|one, other| one == other).filter(|same| same.len() > 1) {
            let share = (same.len() - 1) as f64 / self.parts();
            if same.first() == Some(point) {
                return share;
            }
            frequent += 1.0;
            rows_of_frequent += share;
        }
        // Nothing else fills a part.
        let most = if self.bounds.len() > 2 { 1.0 / self.parts() } else { 1.0 };
        ((1.0 - rows_of_frequent) / (self.distinct - frequent).max(1.0)).clamp(0.0, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SliceId, TableId};
    use crate::manifest::ColumnStatistics;
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
        };
        Segment {
            id: SegmentId(uuid::Uuid::from_u128(values.len() as u128)),
            table: TableId(1),
            slice: SliceId(0),
            rows: values.len() as u64,
            bytes: 0,
            checksum: 0,
            nodes: Vec::new(),
            columns: vec![known],
            placement_epoch: 0,
            sorted_by: Vec::new(),
            delete_vector: None,
        }
    }

    fn histogram(segments: Vec<Segment>, sql_type: SqlType) -> ColumnHistogram {
        let segments = segments.into_iter().map(|segment| (segment.id, Arc::new(segment))).collect();
        ColumnHistogram::new(Arc::new(segments), ColumnId(1), sql_type)
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
        let status = |row: usize| text(["closed", "open", "returned"][usize::from(row % 10 == 0) + usize::from(row % 100 == 0)]);
        let known = histogram(vec![segment((0..10_000).map(status).collect(), TEXT)], TEXT);
        let share = |value: &str| known.equal(&place(value)).unwrap();
        assert!((share("closed") - 0.9).abs() < 0.05, "{}", share("closed"));
        assert!((share("open") - 0.09).abs() < 0.05, "{}", share("open"));
        assert!(share("returned") < 0.05, "{}", share("returned"));
        assert_eq!(share("zebra"), 0.0);
    }

    #[test]
    fn evenly_spread_numbers_need_no_cuts() {
        assert!(segment((0..10_000).map(number).collect(), SqlType::BigInt).columns[0].histogram.is_empty());
        let squares = segment((0..10_000).map(|i| number(i * i)).collect(), SqlType::BigInt);
        assert_eq!(squares.columns[0].histogram.len(), HISTOGRAM_PARTS - 1);
    }

    #[test]
    fn long_values_leave_fewer_parts() {
        let long = |row: usize| text(&format!("{row:05} {}", "x".repeat(54)));
        let cuts = &segment((0..10_000).map(long).collect(), TEXT).columns[0].histogram;
        assert_eq!(cuts.len(), HISTOGRAM_PARTS / 2 - 1);
        assert!(cuts.iter().map(Vec::len).sum::<usize>() <= HISTOGRAM_MAX_BYTES);
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
                let room = 3.0 / HISTOGRAM_PARTS as f64 + EVEN_MAX_DEVIATION;
                prop_assert!((known.below(&point, false).unwrap() - less).abs() <= room);
                prop_assert!((known.below(&point, true).unwrap() - at_most).abs() <= room);
                prop_assert!((known.equal(&point).unwrap() - (at_most - less)).abs() <= room);
            }
        }
    }
}
