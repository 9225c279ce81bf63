//! Which share of its input a predicate lets through, from what is known of the columns.
//!
//! The model is the textbook one (Selinger et al., "Access path selection in a relational database management system", SIGMOD 1979):
//! columns are independent, and their values lie as their histograms say, or evenly between the bounds.

use crate::functions::tight_argument;
use crate::histogram::{ColumnHistogram, Point};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::split_conjunction;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A comparison with a value that is not known before the query runs, or of a kind not listed here.
const UNKNOWN_SHARE: f64 = 0.3;
/// LIKE with a pattern that is not one value.
const LIKE_SHARE: f64 = 0.1;
/// The least that is believed of a predicate.
const SHARE_MIN: f64 = 1e-6;

const MICROSECONDS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const DAY_MICROSECONDS: f64 = 86_400e6;
/// Values of an IN list that are estimated one by one; more are taken to be like them.
const IN_LIST_SAMPLE: usize = 32;

/// What is known of a table's rows.
#[derive(Clone, Debug)]
pub struct TableStatistics {
    /// As the engine has it.
    pub engine: Statistics,
    /// One for each column, where there is one.
    pub histograms: Vec<Arc<ColumnHistogram>>,
    /// For each column whether no string of it ends in a blank; none known where it is shorter.
    pub tight: Vec<bool>,
}

impl TableStatistics {
    /// Nothing known of tables with this schema.
    pub fn unknown(schema: &arrow::datatypes::Schema) -> Self {
        Self { engine: Statistics::new_unknown(schema), histograms: Vec::new(), tight: Vec::new() }
    }

    /// The rows and columns of the table, if its rows are counted.
    pub fn estimate(&self) -> Option<(f64, Vec<ColumnEstimate>)> {
        let rows = *self.engine.num_rows.get_value()? as f64;
        let histogram = |index: usize| self.histograms.get(index).cloned();
        let columns = self.engine.column_statistics.iter().enumerate();
        Some((rows, columns.map(|(index, known)| ColumnEstimate::new(known, histogram(index), rows)).collect()))
    }
}

/// What is known of one column.
#[derive(Clone, Debug)]
pub struct ColumnEstimate {
    /// Different values, at least 1.
    pub distinct: f64,
    /// Smallest and largest value.
    pub bounds: Option<(ScalarValue, ScalarValue)>,
    /// Share of NULL, 0 to 1.
    pub nulls: f64,
    /// How the values lie between the bounds.
    pub histogram: Option<Arc<ColumnHistogram>>,
}

impl ColumnEstimate {
    /// Nothing known but the number of rows.
    pub fn unknown(rows: f64) -> Self {
        Self { distinct: rows.max(1.0), bounds: None, nulls: 0.0, histogram: None }
    }

    fn new(known: &ColumnStatistics, histogram: Option<Arc<ColumnHistogram>>, rows: f64) -> Self {
        let (min, max) = (known.min_value.get_value().cloned(), known.max_value.get_value().cloned());
        Self {
            distinct: known.distinct_count.get_value().map_or(rows, |count| *count as f64).max(1.0),
            bounds: min.zip(max),
            nulls: known.null_count.get_value().map_or(0.0, |nulls| *nulls as f64 / rows.max(1.0)),
            histogram,
        }
    }

    /// The place of `value` among the values of the column.
    fn point(&self, value: &ScalarValue) -> Option<Point> {
        let data_type = self.bounds.as_ref()?.0.data_type();
        match (&data_type, value.data_type()) {
            (DataType::Date32, DataType::Timestamp(_, _)) => match Point::of(&value.cast_to(&MICROSECONDS).ok()?)? {
                Point::Number(at) => Some(Point::Number(at / DAY_MICROSECONDS)),
                other => Some(other),
            },
            // Numbers are on one line, and strings of all kinds.
            (column, other) if *column == other || column.is_numeric() && other.is_numeric() => Point::of(value),
            (column, _) => Point::of(&value.cast_to(column).ok()?),
        }
    }

    /// Share of the rows with this value.
    fn equal(&self, value: &ScalarValue) -> f64 {
        let known = self.histogram.as_ref().and_then(|histogram| histogram.equal(&self.point(value)?));
        known.unwrap_or(1.0 / self.distinct) * (1.0 - self.nulls)
    }

    /// Share of the rows with values that are less than `point` or, if `inclusive`, equal to it.
    fn below(&self, point: &Point, inclusive: bool) -> Option<f64> {
        let known = self.histogram.as_ref().and_then(|histogram| histogram.below(point, inclusive));
        known.or_else(|| {
            let (min, max) = self.bounds.as_ref()?;
            let (Some(Point::Number(min)), Some(Point::Number(max)), Point::Number(at)) = (Point::of(min), Point::of(max), point)
            else {
                return None;
            };
            match max > min {
                true => Some(((at - min) / (max - min)).clamp(0.0, 1.0)),
                false => Some(f64::from(u8::from(min < *at || inclusive && min == *at))),
            }
        })
    }

    /// Whether no value can be in the range.
    fn is_outside(&self, range: &Range) -> bool {
        let Some((min, max)) = &self.bounds else { return false };
        let (min, max) = (Point::of(min), Point::of(max));
        let above = |low: &Limit| max.as_ref().is_some_and(|max| low.point > *max);
        let under = |high: &Limit| min.as_ref().is_some_and(|min| high.point < *min);
        range.low.as_ref().is_some_and(above) || range.high.as_ref().is_some_and(under)
    }

    /// Share of the rows with values in `range`.
    fn within(&self, range: &Range) -> f64 {
        let below = |limit: &Option<Limit>, inclusive: fn(&Limit) -> bool, without: f64| match limit {
            Some(limit) => self.below(&limit.point, inclusive(limit)),
            None => Some(without),
        };
        let low = below(&range.low, |limit| !limit.inclusive, 0.0);
        let Some((high, low)) = below(&range.high, |limit| limit.inclusive, 1.0).zip(low) else { return UNKNOWN_SHARE };
        // A range holds at least one of the values, if it holds any.
        let least = if self.is_outside(range) { 0.0 } else { (1.0 / self.distinct).min(1.0) };
        (high - low).clamp(least, 1.0) * (1.0 - self.nulls)
    }
}

/// One end of a range.
#[derive(Clone, Debug)]
struct Limit {
    point: Point,
    inclusive: bool,
}

/// Bounds that predicates set.
#[derive(Clone, Debug, Default)]
struct Range {
    low: Option<Limit>,
    high: Option<Limit>,
}

impl Range {
    /// Takes up a bound; the narrower one stays.
    fn narrow(&mut self, limit: Limit, is_upper: bool) {
        let kept = if is_upper { &mut self.high } else { &mut self.low };
        let is_narrower = kept.as_ref().is_none_or(|kept| match is_upper {
            true => limit.point < kept.point,
            false => limit.point > kept.point,
        });
        if is_narrower {
            *kept = Some(limit);
        }
    }

    /// Strings that begin with `prefix`.
    fn of_prefix(prefix: &str) -> Self {
        let low = Limit { point: Point::Text(prefix.to_owned()), inclusive: true };
        let last = format!("{prefix}{}", char::MAX);
        Self { low: Some(low), high: Some(Limit { point: Point::Text(last), inclusive: true }) }
    }
}

/// Share of the rows for which `predicate` holds, between 0 and 1. Its columns are indexes into `columns`.
pub fn selectivity(predicate: &Arc<dyn PhysicalExpr>, columns: &[ColumnEstimate]) -> f64 {
    selectivity_of_all(split_conjunction(predicate), columns)
}

/// Share of the rows for which all of `predicates` hold.
pub fn selectivity_of_all<'a>(
    predicates: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>,
    columns: &[ColumnEstimate],
) -> f64 {
    let mut share = 1.0;
    // Two bounds of one column are one range; as independent facts they would be taken for less than they are.
    let mut ranges: BTreeMap<usize, Range> = BTreeMap::new();
    for part in predicates.into_iter().flat_map(split_conjunction) {
        match bound(part, columns) {
            Some((column, is_upper, limit)) => ranges.entry(column).or_default().narrow(limit, is_upper),
            None => share *= one(part, columns),
        }
    }
    for (column, range) in ranges {
        share *= columns.get(column).map_or(UNKNOWN_SHARE, |known| known.within(&range));
    }
    share.clamp(SHARE_MIN, 1.0)
}

/// `column < value` and its like: the column, whether the value is its upper bound, the value.
fn bound(part: &Arc<dyn PhysicalExpr>, columns: &[ColumnEstimate]) -> Option<(usize, bool, Limit)> {
    let binary = part.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    let (column, op, value) = match (column_of(left), literal(right), column_of(right), literal(left)) {
        (Some(column), Some(value), _, _) => (column, *binary.op(), value),
        (_, _, Some(column), Some(value)) => (column, binary.op().swap()?, value),
        _ => return None,
    };
    let (is_upper, inclusive) = match op {
        Operator::Lt => (true, false),
        Operator::LtEq => (true, true),
        Operator::Gt => (false, false),
        Operator::GtEq => (false, true),
        _ => return None,
    };
    let known = columns.get(column)?;
    let day_of = day_column(left).or(day_column(right)).is_some();
    match (day_of, known.point(value)?) {
        // After a day begins the next one; until a day means until its end.
        (true, Point::Number(at)) if inclusive == is_upper => {
            Some((column, is_upper, Limit { point: Point::Number(at + DAY_MICROSECONDS), inclusive: !is_upper }))
        }
        (_, point) => Some((column, is_upper, Limit { point, inclusive })),
    }
}

/// The moment under a cast to a day.
fn day_column(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    let cast = expr.downcast_ref::<CastExpr>().filter(|cast| *cast.cast_type() == DataType::Date32)?;
    column_of(cast.expr())
}

impl ColumnEstimate {
    /// Share of the rows whose moment lies in the day `value`; None if these are no moments.
    fn on_day(&self, value: &ScalarValue) -> Option<f64> {
        if !matches!(self.bounds.as_ref()?.0.data_type(), DataType::Timestamp(_, _)) {
            return None;
        }
        let Point::Number(from) = self.point(value)? else { return None };
        let low = Some(Limit { point: Point::Number(from), inclusive: true });
        let high = Some(Limit { point: Point::Number(from + DAY_MICROSECONDS), inclusive: false });
        Some(self.within(&Range { low, high }))
    }
}

/// Share of the strings of a column that LIKE a pattern.
fn like_share(like: &LikeExpr, known: Option<&ColumnEstimate>) -> f64 {
    let pattern = literal(like.pattern()).and_then(|value| value.try_as_str().flatten());
    let (Some(pattern), Some(known), false) = (pattern, known, like.case_insensitive()) else { return LIKE_SHARE };
    let prefix = pattern.split(['%', '_', '\\']).next().unwrap_or_default();
    if prefix.is_empty() || known.histogram.is_none() || known.bounds.is_none() {
        return LIKE_SHARE;
    }
    let share = known.within(&Range::of_prefix(prefix));
    match &pattern[prefix.len()..] {
        "" => share.min(known.equal(&ScalarValue::Utf8View(Some(prefix.to_owned())))),
        "%" => share,
        _ => share.min(LIKE_SHARE),
    }
}

fn one(part: &Arc<dyn PhysicalExpr>, columns: &[ColumnEstimate]) -> f64 {
    let column = |expr: &Arc<dyn PhysicalExpr>| column_of(expr).and_then(|index| columns.get(index));
    if let Some(binary) = part.downcast_ref::<BinaryExpr>() {
        return binary_share(binary, columns);
    }
    if let Some(list) = part.downcast_ref::<InListExpr>() {
        let values = list.list().len() as f64;
        let of_value = |known: &ColumnEstimate, value| literal(value).map_or(1.0 / known.distinct, |value| known.equal(value));
        let of_all = |known: &ColumnEstimate| {
            let sample = list.list().iter().take(IN_LIST_SAMPLE);
            let (share, count) = sample.fold((0.0, 0.0), |(share, count), value| (share + of_value(known, value), count + 1.0));
            f64::min(share * values / f64::max(count, 1.0), 1.0)
        };
        let known = column(list.expr());
        let share = known.map_or((values * LIKE_SHARE).min(UNKNOWN_SHARE), of_all);
        return if list.negated() { rest(share, known) } else { share };
    }
    if let Some(like) = part.downcast_ref::<LikeExpr>() {
        let share = like_share(like, column(like.expr()));
        return if like.negated() { rest(share, column(like.expr())) } else { share };
    }
    if let Some(not) = part.downcast_ref::<NotExpr>() {
        return rest(selectivity(not.arg(), columns), column(not.arg()));
    }
    if let Some(null) = part.downcast_ref::<IsNullExpr>() {
        return column(null.arg()).map_or(LIKE_SHARE, |known| known.nulls);
    }
    if let Some(known) = part.downcast_ref::<IsNotNullExpr>() {
        return column(known.arg()).map_or(1.0, |known| 1.0 - known.nulls);
    }
    if let Some(known) = column(part) {
        let is_true = ScalarValue::Boolean(Some(true));
        return if known.bounds.is_some() { known.equal(&is_true) } else { UNKNOWN_SHARE };
    }
    match part.downcast_ref::<Literal>().map(Literal::value) {
        Some(ScalarValue::Boolean(Some(true))) => 1.0,
        Some(_) => 0.0,
        None => UNKNOWN_SHARE,
    }
}

/// Share of the rows of which something does not hold that holds for `share` of them: of NULL it is not known.
fn rest(share: f64, column: Option<&ColumnEstimate>) -> f64 {
    (1.0 - share - column.map_or(0.0, |known| known.nulls)).max(0.0)
}

fn binary_share(binary: &BinaryExpr, columns: &[ColumnEstimate]) -> f64 {
    let column = |expr: &Arc<dyn PhysicalExpr>| column_of(expr).and_then(|index| columns.get(index));
    let sides = (column(binary.left()), column(binary.right()));
    let value = literal(binary.left()).or(literal(binary.right()));
    let is_day = day_column(binary.left()).or(day_column(binary.right())).is_some();
    let equal = |known: &ColumnEstimate| match value {
        Some(value) => known.on_day(value).filter(|_| is_day).unwrap_or_else(|| known.equal(value)),
        None => (1.0 - known.nulls) / known.distinct,
    };
    match binary.op() {
        Operator::Or => {
            let (left, right) = (selectivity(binary.left(), columns), selectivity(binary.right(), columns));
            left + right - left * right
        }
        Operator::And => selectivity(binary.left(), columns) * selectivity(binary.right(), columns),
        Operator::Eq => match sides {
            (Some(one), Some(other)) => 1.0 / one.distinct.max(other.distinct),
            (Some(known), None) | (None, Some(known)) => equal(known),
            (None, None) => LIKE_SHARE,
        },
        Operator::NotEq => match sides {
            (Some(known), None) | (None, Some(known)) => rest(equal(known), Some(known)),
            _ => 1.0,
        },
        Operator::LikeMatch | Operator::ILikeMatch | Operator::RegexMatch | Operator::RegexIMatch => LIKE_SHARE,
        Operator::NotLikeMatch | Operator::NotILikeMatch => 1.0 - LIKE_SHARE,
        Operator::RegexNotMatch | Operator::RegexNotIMatch => 1.0 - LIKE_SHARE,
        _ => UNKNOWN_SHARE,
    }
}

/// The column under casts, and without its trailing blanks.
fn column_of(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    let expr = tight_argument(expr).unwrap_or(expr);
    match expr.downcast_ref::<CastExpr>() {
        Some(cast) => column_of(cast.expr()),
        None => expr.downcast_ref::<Column>().map(Column::index),
    }
}

fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    expr.downcast_ref::<Literal>().map(Literal::value).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::Operator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    use datafusion::physical_expr::expressions::{binary, col, is_null, lit};

    fn columns() -> Vec<ColumnEstimate> {
        vec![
            ColumnEstimate {
                distinct: 100.0,
                bounds: Some((ScalarValue::Int64(Some(0)), ScalarValue::Int64(Some(1000)))),
                ..ColumnEstimate::unknown(1e6)
            },
            ColumnEstimate { distinct: 4.0, nulls: 0.25, ..ColumnEstimate::unknown(1e6) },
        ]
    }

    fn share(make: impl Fn(&dyn Fn(&str, Operator, i64) -> Arc<dyn PhysicalExpr>, &Schema) -> Arc<dyn PhysicalExpr>) -> f64 {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int64, true)]);
        let compare =
            |name: &str, op: Operator, value: i64| binary(col(name, &schema).unwrap(), op, lit(value), &schema).unwrap();
        selectivity(&make(&compare, &schema), &columns())
    }

    fn close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-9, "{actual} is not {expected}");
    }

    #[test]
    fn a_value_is_one_of_the_distinct_ones() {
        close(share(|is, _| is("a", Eq, 5)), 0.01);
        close(share(|is, _| is("a", NotEq, 5)), 0.99);
        close(share(|is, _| is("b", Eq, 5)), 0.75 / 4.0);
        close(share(|_, schema| is_null(col("b", schema).unwrap()).unwrap()), 0.25);
    }

    #[test]
    fn values_of_other_types_find_their_place() {
        let moments = |low: i64, high: i64| {
            let moment = |day: i64| ScalarValue::TimestampMicrosecond(Some(day * 86_400_000_000), None);
            ColumnEstimate { distinct: 1e6, bounds: Some((moment(low), moment(high))), ..ColumnEstimate::unknown(1e6) }
        };
        let days = |low: i32, high: i32| {
            let bounds = Some((ScalarValue::Date32(Some(low)), ScalarValue::Date32(Some(high))));
            ColumnEstimate { distinct: 100.0, bounds, ..ColumnEstimate::unknown(1e6) }
        };
        let schema = Schema::new(vec![Field::new("t", MICROSECONDS, true), Field::new("d", DataType::Date32, true)]);
        let columns = [moments(0, 100), days(0, 100)];
        let of = |left: Arc<dyn PhysicalExpr>, op, right: ScalarValue| {
            selectivity(&binary(left, op, lit(right), &schema).unwrap(), &columns)
        };
        let (t, d) = (col("t", &schema).unwrap(), col("d", &schema).unwrap());
        let day_of_t = || datafusion::physical_expr::expressions::cast(Arc::clone(&t), &schema, DataType::Date32).unwrap();
        let day = |day: i32| ScalarValue::Date32(Some(day));
        close(of(day_of_t(), Eq, day(50)), 0.01);
        close(of(day_of_t(), LtEq, day(49)), 0.5);
        close(of(day_of_t(), Lt, day(50)), 0.5);
        close(of(day_of_t(), GtEq, day(50)), 0.5);
        close(of(day_of_t(), Gt, day(49)), 0.5);
        let noon = ScalarValue::TimestampMicrosecond(Some(10 * 86_400_000_000 + 43_200_000_000), None);
        let moment_of_d = datafusion::physical_expr::expressions::cast(d, &schema, MICROSECONDS).unwrap();
        close(of(moment_of_d, Lt, noon), 0.105);
        close(share(|_, schema| binary(col("a", schema).unwrap(), Lt, lit(250.5f64), schema).unwrap()), 0.2505);
    }

    #[test]
    fn of_null_nothing_holds() {
        let not = |expr| Arc::new(NotExpr::new(expr)) as Arc<dyn PhysicalExpr>;
        close(share(|is, _| is("b", NotEq, 5)), 0.75 * 0.75);
        close(share(|_, schema| not(col("b", schema).unwrap())), 1.0 - UNKNOWN_SHARE - 0.25);
        let list = |negated| {
            share(|_, schema| {
                let values = (0..64).map(|value| lit(ScalarValue::Int64(Some(value)))).collect();
                let list = InListExpr::try_new(col("a", schema).unwrap(), values, negated, schema).unwrap();
                Arc::new(list)
            })
        };
        close(list(false), 0.64);
        close(list(true), 0.36);
    }

    #[test]
    fn two_bounds_are_one_range() {
        close(share(|is, schema| binary(is("a", GtEq, 400), And, is("a", Lt, 500), schema).unwrap()), 0.1);
        close(share(|is, _| is("a", Lt, 250)), 0.25);
        close(share(|is, _| is("a", Lt, -5)), SHARE_MIN);
        close(share(|is, schema| binary(is("a", GtEq, 400), And, is("b", Eq, 1), schema).unwrap()), 0.6 * 0.75 / 4.0);
    }

    #[test]
    fn either_of_two_is_more_than_one() {
        close(share(|is, schema| binary(is("a", Lt, 500), Or, is("a", GtEq, 500), schema).unwrap()), 0.75);
    }
}
