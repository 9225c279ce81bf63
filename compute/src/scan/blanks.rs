//! Comparisons that do not see trailing blanks, as ranges of the values as they are stored.
//!
//! Files keep bounds of values by bytes, and filter by bytes. `tight(v) = 'a'` holds for 'a', 'a ', 'a  ' and so on: all of them lie
//! between 'a' and 'a!', as '!' comes right after the blank. The exact condition stays above; the range only spares reading.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, InListExpr, Literal};
use slipher_common::functions::tight_argument;
use std::sync::Arc;

/// Conditions on stored values that hold wherever `predicate` does, if that compares `tight(value)` with literals.
pub(super) fn ranges(predicate: &Arc<dyn PhysicalExpr>) -> Vec<Arc<dyn PhysicalExpr>> {
    let Some(Range { value, kind, low, high }) = range(predicate) else { return Vec::new() };
    let bound = |op: Operator, text: Option<String>| -> Option<Arc<dyn PhysicalExpr>> {
        let literal = Literal::new(like(&kind, text?)?);
        Some(Arc::new(BinaryExpr::new(Arc::clone(&value), op, Arc::new(literal))))
    };
    bound(Operator::GtEq, low).into_iter().chain(bound(Operator::Lt, high)).collect()
}

/// Values of at least `low` and less than `high`.
struct Range {
    value: Arc<dyn PhysicalExpr>,
    /// A literal of its type.
    kind: ScalarValue,
    low: Option<String>,
    high: Option<String>,
}

fn range(predicate: &Arc<dyn PhysicalExpr>) -> Option<Range> {
    if let Some(list) = predicate.downcast_ref::<InListExpr>().filter(|list| !list.negated()) {
        return list_range(list);
    }
    let binary = predicate.downcast_ref::<BinaryExpr>()?;
    if *binary.op() == Operator::Or {
        let (one, other) = (range(binary.left())?, range(binary.right())?);
        let (low, high) = (one.low.zip(other.low), one.high.zip(other.high));
        let both = Range { low: low.map(|(one, other)| one.min(other)), high: high.map(|(one, other)| one.max(other)), ..one };
        return (*both.value == *other.value).then_some(both);
    }
    let (value, op, kind) = match (tight_argument(binary.left()), tight_argument(binary.right())) {
        (Some(value), _) => (value, *binary.op(), literal(binary.right())?),
        (_, Some(value)) => (value, binary.op().swap()?, literal(binary.left())?),
        _ => return None,
    };
    let text = text_of(&kind)?;
    let (low, high) = match op {
        Operator::Eq => (Some(text.to_owned()), Some(after(text))),
        Operator::Gt | Operator::GtEq => (Some(text.to_owned()), None),
        // A value may have a blank where the literal has what comes before the blank: a tab, say.
        Operator::Lt | Operator::LtEq if text.bytes().all(|byte| byte >= b' ') => (None, Some(after(text))),
        _ => return None,
    };
    Some(Range { value: Arc::clone(value), low, high, kind: kind.clone() })
}

fn list_range(list: &InListExpr) -> Option<Range> {
    let value = Arc::clone(tight_argument(list.expr())?);
    let literals = list.list().iter().map(literal).collect::<Option<Vec<_>>>()?;
    let texts = literals.iter().filter(|value| !value.is_null()).map(text_of).collect::<Option<Vec<_>>>()?;
    let low = texts.iter().min().map(|text| (*text).to_owned())?;
    let high = texts.iter().map(|text| after(text)).max()?;
    Some(Range { value, kind: literals.first()?.clone(), low: Some(low), high: Some(high) })
}

fn literal(expression: &Arc<dyn PhysicalExpr>) -> Option<ScalarValue> {
    expression.downcast_ref::<Literal>().map(|literal| literal.value().clone())
}

fn text_of(value: &ScalarValue) -> Option<&str> {
    value.try_as_str().flatten()
}

/// The first string behind all that are equal to `text` but for their blanks.
fn after(text: &str) -> String {
    format!("{text}!")
}

/// A literal of the same type.
fn like(kind: &ScalarValue, text: String) -> Option<ScalarValue> {
    match kind {
        ScalarValue::Utf8(_) => Some(ScalarValue::Utf8(Some(text))),
        ScalarValue::LargeUtf8(_) => Some(ScalarValue::LargeUtf8(Some(text))),
        ScalarValue::Utf8View(_) => Some(ScalarValue::Utf8View(Some(text))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::config::ConfigOptions;
    use datafusion::physical_expr::ScalarFunctionExpr;
    use datafusion::physical_expr::expressions::{col, in_list};
    use proptest::prelude::*;
    use slipher_common::functions::tight_udf;

    fn truth(predicate: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Vec<bool> {
        let values = predicate.evaluate(rows).unwrap().into_array(rows.num_rows()).unwrap();
        let values = values.as_boolean();
        (0..values.len()).map(|row| values.is_valid(row) && values.value(row)).collect()
    }

    proptest! {
        #[test]
        fn no_row_that_is_wanted_is_out_of_the_range(
            values in prop::collection::vec("[ab!\t ]{0,4} {0,2}", 1..30),
            texts in prop::collection::vec("[ab!\t ]{0,3}[ab!\t]|", 1..4),
            kind in 0usize..7,
        ) {
            let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Utf8View, true)]));
            let array: ArrayRef = Arc::new(StringViewArray::from_iter_values(&values));
            let rows = RecordBatch::try_new(Arc::clone(&schema), vec![array]).unwrap();
            let value = col("v", &schema).unwrap();
            let tight = ScalarFunctionExpr::try_new(tight_udf().unwrap(), vec![value], &schema, Arc::new(ConfigOptions::default()));
            let tight: Arc<dyn PhysicalExpr> = Arc::new(tight.unwrap());
            let literal = |text: &String| -> Arc<dyn PhysicalExpr> { Arc::new(Literal::new(ScalarValue::Utf8View(Some(text.clone())))) };
            let ops = [Operator::Eq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];
            let compared = |op: Operator, text: &String| -> Arc<dyn PhysicalExpr> {
                Arc::new(BinaryExpr::new(Arc::clone(&tight), op, literal(text)))
            };
            let predicate = match (ops.get(kind), kind) {
                (Some(op), _) => compared(*op, &texts[0]),
                (None, 5) => in_list(Arc::clone(&tight), texts.iter().map(literal).collect(), &false, &schema).unwrap(),
                (None, _) => {
                    let sides = (compared(Operator::Eq, &texts[0]), compared(Operator::Lt, &texts[texts.len() - 1]));
                    Arc::new(BinaryExpr::new(sides.0, Operator::Or, sides.1))
                }
            };
            let wanted = truth(&predicate, &rows);
            for range in ranges(&predicate) {
                let inside = truth(&range, &rows);
                prop_assert!(wanted.iter().zip(&inside).all(|(wanted, inside)| !wanted || *inside), "{predicate} within {range}: {values:?}");
            }
        }
    }
}
