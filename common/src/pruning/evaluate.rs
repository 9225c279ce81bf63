//! From expressions to what they may yield.

use super::bounds::TableSegments;
use super::range::Range;
use super::text;
use super::truth::Truth;
use crate::functions::{AS_TYPE, DATE_TRUNC, HELD, ROUND_TO_WHOLE, TIGHT, TO_DOUBLE, TO_REAL};
use arrow::array::{Array, ArrayRef, RecordBatch, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{SortOptions, sort};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr, TryCastExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use std::cmp::Ordering;
use std::sync::Arc;

type Expression = Arc<dyn PhysicalExpr>;

/// Functions that leave values of one argument in their order, or make neighbours equal, and are NULL where it is; with the place of the argument.
/// All others must be literals.
const KEEP_ORDER: &[(&str, usize)] =
    &[(AS_TYPE, 0), (DATE_TRUNC, 1), (ROUND_TO_WHOLE, 0), (TO_DOUBLE, 0), (TO_REAL, 0), ("ceil", 0), ("floor", 0)];

/// The segments in which all of `predicates`, over the table's columns, may be true for some row.
pub fn may_hold(segments: &TableSegments, predicates: &[Expression]) -> BooleanBuffer {
    let evaluation = Evaluation { segments, count: segments.all().len() };
    predicates.iter().fold(segments.live().clone(), |kept, predicate| &kept & &evaluation.truth(predicate).yes)
}

struct Evaluation<'a> {
    segments: &'a TableSegments,
    count: usize,
}

impl Evaluation<'_> {
    fn truth(&self, condition: &Expression) -> Truth {
        self.known_truth(condition).unwrap_or_else(|| Truth::unknown(self.count))
    }

    /// None where nothing is known of it.
    fn known_truth(&self, condition: &Expression) -> Option<Truth> {
        if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
            return match binary.op() {
                Operator::And => Some(self.truth(binary.left()).and(&self.truth(binary.right()))),
                Operator::Or => Some(self.truth(binary.left()).or(self.truth(binary.right()))),
                op => self.range(binary.left())?.compared(*op, &self.range(binary.right())?),
            };
        }
        if let Some(not) = condition.downcast_ref::<NotExpr>() {
            return Some(self.known_truth(not.arg())?.negated());
        }
        if let Some(test) = condition.downcast_ref::<IsNullExpr>() {
            return self.is_null(test.arg());
        }
        if let Some(test) = condition.downcast_ref::<IsNotNullExpr>() {
            return Some(self.is_null(test.arg())?.negated());
        }
        if let Some(list) = condition.downcast_ref::<InListExpr>() {
            let inside = self.in_list(list)?;
            return Some(if list.negated() { inside.negated() } else { inside });
        }
        if let Some(like) = condition.downcast_ref::<LikeExpr>() {
            let pattern = literal(like.pattern())?.try_as_str().flatten().filter(|_| !like.case_insensitive())?;
            let alike = text::like(&self.range(like.expr())?, pattern)?;
            return Some(if like.negated() { alike.negated() } else { alike });
        }
        self.value(condition)?.truth()
    }

    fn is_null(&self, argument: &Expression) -> Option<Truth> {
        let Range { values, nulls, .. } = self.range(argument)?;
        let nothing = BooleanBuffer::new_unset(self.count);
        Some(Truth { yes: values, no: nothing, null: nulls }.nulls_as_true())
    }

    /// Between what the values of an expression lie.
    fn range(&self, expression: &Expression) -> Option<Range> {
        self.value(expression).or_else(|| {
            let is_condition = expression.downcast_ref::<BinaryExpr>().is_some()
                || expression.downcast_ref::<NotExpr>().is_some()
                || expression.downcast_ref::<IsNullExpr>().is_some()
                || expression.downcast_ref::<IsNotNullExpr>().is_some()
                || expression.downcast_ref::<InListExpr>().is_some()
                || expression.downcast_ref::<LikeExpr>().is_some();
            is_condition.then(|| self.known_truth(expression)).flatten().map(|truth| Range::of_truth(&truth))
        })
    }

    /// The same of what is no condition: columns, literals, casts, functions.
    fn value(&self, expression: &Expression) -> Option<Range> {
        if let Some(column) = expression.downcast_ref::<Column>() {
            return self.segments.column(column.index()).cloned();
        }
        if let Some(value) = literal(expression) {
            return Range::of_literal(value, self.count).ok();
        }
        if let Some(cast) = expression.downcast_ref::<CastExpr>() {
            return self.range(cast.expr())?.cast(cast.cast_type(), cast.cast_options().safe);
        }
        if let Some(cast) = expression.downcast_ref::<TryCastExpr>() {
            return self.range(cast.expr())?.cast(cast.cast_type(), true);
        }
        self.call(expression, expression.downcast_ref::<ScalarFunctionExpr>()?)
    }

    fn call(&self, expression: &Expression, call: &ScalarFunctionExpr) -> Option<Range> {
        if call.name() == TIGHT {
            // The key of a SUPER value is other bytes.
            if *call.return_type() == DataType::BinaryView {
                return None;
            }
            return text::tight(&self.range(call.args().first()?)?);
        }
        if call.name() == HELD {
            return self.range(call.args().first()?);
        }
        let (_, place) = KEEP_ORDER.iter().find(|(name, _)| *name == call.name())?;
        let others = call.args().iter().enumerate().filter(|(other, _)| other != place);
        let others_known = others.map(|(_, other)| literal(other)).all(|value| value.is_some_and(|value| !value.is_null()));
        let range = self.range(call.args().get(*place).filter(|_| others_known)?)?;
        let of_bound = |bound: &ArrayRef| -> Option<ArrayRef> {
            let schema = Schema::new(vec![Field::new("bound", bound.data_type().clone(), true)]);
            let mut arguments = call.args().to_vec();
            arguments[*place] = Arc::new(Column::new("bound", 0));
            let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(bound)]).ok()?;
            let called = Arc::clone(expression).with_new_children(arguments).ok()?;
            called.evaluate(&batch).ok()?.into_array(self.count).ok()
        };
        Range::new(of_bound(&range.low)?, of_bound(&range.high)?, range.values, range.nulls).ok()
    }

    /// `value IN (literals)`.
    fn in_list(&self, list: &InListExpr) -> Option<Truth> {
        let range = self.range(list.expr())?;
        let all = list.list().iter().map(literal).collect::<Option<Vec<_>>>()?;
        let listed: Vec<ScalarValue> = all.iter().filter(|value| !value.is_null()).map(|value| (*value).clone()).collect();
        let with_null = listed.len() < all.len();
        let never = BooleanBuffer::new_unset(self.count);
        let (yes, no) = match listed.is_empty() {
            true => (never, BooleanBuffer::new_set(self.count)),
            false => among(&range, listed)?,
        };
        // What is not in a list with NULL may be equal to that.
        let null = if with_null { &range.nulls | &range.values } else { range.nulls.clone() };
        let no = if with_null { BooleanBuffer::new_unset(self.count) } else { no };
        Some(Truth { yes: &yes & &range.values, no: &no & &range.values, null })
    }
}

/// Where some value may be one of those listed, and where some may be none of them.
fn among(range: &Range, listed: Vec<ScalarValue>) -> Option<(BooleanBuffer, BooleanBuffer)> {
    let listed = sort(&ScalarValue::iter_to_array(listed).ok()?, None).ok()?;
    if listed.data_type() != range.low.data_type() {
        return None;
    }
    let with_low = make_comparator(&listed, &range.low, SortOptions::default()).ok()?;
    let with_high = make_comparator(&listed, &range.high, SortOptions::default()).ok()?;
    let (mut yes, mut no) = (Vec::with_capacity(range.low.len()), Vec::with_capacity(range.low.len()));
    for place in 0..range.low.len() {
        let (has_low, has_high) = (range.low.is_valid(place), range.high.is_valid(place));
        // The first value that is not below the range.
        let first = if has_low { first_not(listed.len(), |value| with_low(value, place) == Ordering::Less) } else { 0 };
        let inside = first < listed.len() && (!has_high || with_high(first, place) != Ordering::Greater);
        // Only one value lies in the range, and it is listed.
        let is_one = inside && has_low && has_high && with_low(first, place).is_eq() && with_high(first, place).is_eq();
        yes.push(inside);
        no.push(!is_one);
    }
    Some((BooleanBuffer::from(yes), BooleanBuffer::from(no)))
}

/// The first of `count` places for which `is_before`, true up to some place, is not.
fn first_not(count: usize, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if is_before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

fn literal(expression: &Expression) -> Option<&ScalarValue> {
    expression.downcast_ref::<Literal>().map(Literal::value)
}
