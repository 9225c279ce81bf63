//! Which share of its input a predicate lets through, from what is known of the columns.
//!
//! The model is the textbook one (Selinger et al., "Access path selection in a relational database management system", SIGMOD 1979):
//! values spread evenly between the bounds, and columns are independent.

use arrow::datatypes::DataType;
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

/// What is known of one column.
#[derive(Clone, Debug)]
pub struct ColumnEstimate {
    /// Different values, at least 1.
    pub distinct: f64,
    /// Smallest and largest value as numbers (days, microseconds), where the type has such.
    pub bounds: Option<(f64, f64)>,
    /// Share of NULL, 0 to 1.
    pub nulls: f64,
}

impl ColumnEstimate {
    /// Nothing known but the number of rows.
    pub fn unknown(rows: f64) -> Self {
        Self { distinct: rows.max(1.0), bounds: None, nulls: 0.0 }
    }

    fn new(known: &ColumnStatistics, rows: f64) -> Self {
        let bound = |value: Option<&ScalarValue>| value.and_then(number);
        Self {
            distinct: known.distinct_count.get_value().map_or(rows, |count| *count as f64).max(1.0),
            bounds: bound(known.min_value.get_value()).zip(bound(known.max_value.get_value())),
            nulls: known.null_count.get_value().map_or(0.0, |nulls| *nulls as f64 / rows.max(1.0)),
        }
    }
}

/// The rows and columns of a table, if its rows are counted.
pub fn table_estimate(statistics: &Statistics) -> Option<(f64, Vec<ColumnEstimate>)> {
    let rows = *statistics.num_rows.get_value()? as f64;
    Some((rows, statistics.column_statistics.iter().map(|known| ColumnEstimate::new(known, rows)).collect()))
}

/// A value on the number line, if its type is on one.
fn number(value: &ScalarValue) -> Option<f64> {
    let whole = match value.data_type() {
        DataType::Date32 => value.cast_to(&DataType::Int32).ok()?,
        DataType::Timestamp(_, _) | DataType::Time64(_) => value.cast_to(&DataType::Int64).ok()?,
        known if known.is_numeric() => value.clone(),
        _ => return None,
    };
    match whole.cast_to(&DataType::Float64).ok()? {
        ScalarValue::Float64(number) => number.filter(|number| number.is_finite()),
        _ => None,
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
    let mut ranges: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for part in predicates.into_iter().flat_map(split_conjunction) {
        let Some((column, is_upper, value)) = bound(part, columns) else {
            share *= one(part, columns);
            continue;
        };
        let range = ranges.entry(column).or_insert((f64::NEG_INFINITY, f64::INFINITY));
        if is_upper {
            range.1 = range.1.min(value);
        } else {
            range.0 = range.0.max(value);
        }
    }
    for (column, (low, high)) in ranges {
        share *= columns.get(column).map_or(UNKNOWN_SHARE, |known| range_share(known, low, high));
    }
    share.clamp(SHARE_MIN, 1.0)
}

/// `column < value` and its like: the column, whether the value is its upper bound, the value.
fn bound(part: &Arc<dyn PhysicalExpr>, columns: &[ColumnEstimate]) -> Option<(usize, bool, f64)> {
    let binary = part.downcast_ref::<BinaryExpr>()?;
    let (left, right) = (binary.left(), binary.right());
    let (column, op, value) = match (column_of(left), literal(right), column_of(right), literal(left)) {
        (Some(column), Some(value), _, _) => (column, *binary.op(), value),
        (_, _, Some(column), Some(value)) => (column, binary.op().swap()?, value),
        _ => return None,
    };
    columns.get(column)?.bounds?;
    let is_upper = match op {
        Operator::Lt | Operator::LtEq => true,
        Operator::Gt | Operator::GtEq => false,
        _ => return None,
    };
    Some((column, is_upper, number(value)?))
}

fn range_share(known: &ColumnEstimate, low: f64, high: f64) -> f64 {
    let Some((min, max)) = known.bounds else { return UNKNOWN_SHARE };
    let width = max - min;
    let inside = high.min(max) - low.max(min);
    let share = if width > 0.0 { inside / width } else { 1.0 };
    // A range holds at least one of the values, if it holds any.
    let least = if inside < 0.0 { 0.0 } else { (1.0 / known.distinct).min(1.0) };
    share.clamp(least, 1.0) * (1.0 - known.nulls)
}

fn one(part: &Arc<dyn PhysicalExpr>, columns: &[ColumnEstimate]) -> f64 {
    let column = |expr: &Arc<dyn PhysicalExpr>| column_of(expr).and_then(|index| columns.get(index));
    if let Some(binary) = part.downcast_ref::<BinaryExpr>() {
        return binary_share(binary, columns);
    }
    if let Some(list) = part.downcast_ref::<InListExpr>() {
        let values = list.list().len() as f64;
        let share =
            column(list.expr()).map_or((values * LIKE_SHARE).min(UNKNOWN_SHARE), |known| (values / known.distinct).min(1.0));
        return if list.negated() { 1.0 - share } else { share };
    }
    if let Some(like) = part.downcast_ref::<LikeExpr>() {
        return if like.negated() { 1.0 - LIKE_SHARE } else { LIKE_SHARE };
    }
    if let Some(not) = part.downcast_ref::<NotExpr>() {
        return 1.0 - selectivity(not.arg(), columns);
    }
    if let Some(null) = part.downcast_ref::<IsNullExpr>() {
        return column(null.arg()).map_or(LIKE_SHARE, |known| known.nulls);
    }
    if let Some(known) = part.downcast_ref::<IsNotNullExpr>() {
        return column(known.arg()).map_or(1.0, |known| 1.0 - known.nulls);
    }
    match part.downcast_ref::<Literal>().map(Literal::value) {
        Some(ScalarValue::Boolean(Some(true))) => 1.0,
        Some(_) => 0.0,
        None => UNKNOWN_SHARE,
    }
}

fn binary_share(binary: &BinaryExpr, columns: &[ColumnEstimate]) -> f64 {
    let column = |expr: &Arc<dyn PhysicalExpr>| column_of(expr).and_then(|index| columns.get(index));
    let sides = (column(binary.left()), column(binary.right()));
    match binary.op() {
        Operator::Or => {
            let (left, right) = (selectivity(binary.left(), columns), selectivity(binary.right(), columns));
            left + right - left * right
        }
        Operator::And => selectivity(binary.left(), columns) * selectivity(binary.right(), columns),
        Operator::Eq => match sides {
            (Some(one), Some(other)) => 1.0 / one.distinct.max(other.distinct),
            (Some(known), None) | (None, Some(known)) => (1.0 - known.nulls) / known.distinct,
            (None, None) => LIKE_SHARE,
        },
        Operator::NotEq => match sides {
            (Some(known), None) | (None, Some(known)) => 1.0 - 1.0 / known.distinct,
            _ => 1.0,
        },
        Operator::LikeMatch | Operator::ILikeMatch | Operator::RegexMatch | Operator::RegexIMatch => LIKE_SHARE,
        Operator::NotLikeMatch | Operator::NotILikeMatch => 1.0 - LIKE_SHARE,
        Operator::RegexNotMatch | Operator::RegexNotIMatch => 1.0 - LIKE_SHARE,
        _ => UNKNOWN_SHARE,
    }
}

/// The column under casts.
fn column_of(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
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
    use datafusion::logical_expr::Operator::{And, Eq, GtEq, Lt, NotEq, Or};
    use datafusion::physical_expr::expressions::{binary, col, is_null, lit};

    fn columns() -> Vec<ColumnEstimate> {
        vec![
            ColumnEstimate { distinct: 100.0, bounds: Some((0.0, 1000.0)), nulls: 0.0 },
            ColumnEstimate { distinct: 4.0, bounds: None, nulls: 0.25 },
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
