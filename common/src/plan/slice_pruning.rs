//! Which slices a filter on the DISTKEY leaves to read.

use crate::distribution::slices_of;
use crate::error::Error;
use crate::functions::tight_argument;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The slices in which rows can be for which all `predicates` hold (over the table's schema), if those say something of the DISTKEY, column `key`.
pub(super) fn wanted_slices(
    key: usize,
    key_type: &DataType,
    slice_count: u32,
    predicates: &[Arc<dyn PhysicalExpr>],
) -> Result<Option<BTreeSet<u32>>, Error> {
    let of_type = |values: &Vec<ScalarValue>| values.iter().all(|value| value.data_type() == *key_type);
    let mut wanted: Option<BTreeSet<u32>> = None;
    for values in predicates.iter().flat_map(split_conjunction).filter_map(|part| values_of(part, key)).filter(of_type) {
        // Equality is never true for NULL.
        let known = values.into_iter().filter(|value| !value.is_null());
        let slices = known.map(|value| slices_of(&value.to_array()?, slice_count)).collect::<Result<Vec<_>, Error>>()?;
        let slices: BTreeSet<u32> = slices.into_iter().flatten().collect();
        wanted = Some(wanted.map_or(slices.clone(), |before| before.intersection(&slices).copied().collect()));
    }
    Ok(wanted)
}

/// The values that a condition leaves for a column: `column = value`, `column IN (values)`.
fn values_of(part: &Arc<dyn PhysicalExpr>, key: usize) -> Option<Vec<ScalarValue>> {
    // H does not see trailing blanks.
    let is_key = |expr: &Arc<dyn PhysicalExpr>| {
        let expr = tight_argument(expr).unwrap_or(expr);
        expr.downcast_ref::<Column>().is_some_and(|column| column.index() == key)
    };
    let value = |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Literal>().map(|literal| literal.value().clone());
    if let Some(binary) = part.downcast_ref::<BinaryExpr>() {
        return match binary.op() {
            Operator::Eq if is_key(binary.left()) => Some(vec![value(binary.right())?]),
            Operator::Eq if is_key(binary.right()) => Some(vec![value(binary.left())?]),
            // Either side of OR may be true.
            Operator::Or => {
                let (mut left, right) = (values_of(binary.left(), key)?, values_of(binary.right(), key)?);
                left.extend(right);
                Some(left)
            }
            _ => None,
        };
    }
    let list = part.downcast_ref::<InListExpr>().filter(|list| !list.negated() && is_key(list.expr()))?;
    list.list().iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::Operator::{And, Eq, Gt, Or};
    use datafusion::physical_expr::expressions::{binary, col, lit};

    const SLICES: u32 = 16;

    fn slice_of(key: i64) -> u32 {
        slices_of(&ScalarValue::Int64(Some(key)).to_array().unwrap(), SLICES).unwrap()[0]
    }

    #[test]
    fn only_the_slices_of_the_wanted_keys_are_left() {
        let schema = Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Int64, true)]);
        let key = |op, value: i64| binary(col("k", &schema).unwrap(), op, lit(value), &schema).unwrap();
        let both = |left, op, right| binary(left, op, right, &schema).unwrap();
        let all: Vec<u32> = (0..SLICES).collect();
        let left = |predicate: Arc<dyn PhysicalExpr>| -> Vec<u32> {
            let wanted = wanted_slices(0, &DataType::Int64, SLICES, &[predicate]).unwrap();
            wanted.map_or_else(|| all.clone(), |slices| slices.into_iter().collect())
        };
        assert_eq!(left(key(Eq, 33)), [slice_of(33)]);
        let mut two = vec![slice_of(33), slice_of(7)];
        two.sort_unstable();
        two.dedup();
        assert_eq!(left(both(key(Eq, 33), Or, key(Eq, 7))), two);
        assert_eq!(left(both(key(Eq, 33), And, key(Gt, 7))), [slice_of(33)]);
        let contradiction = left(both(key(Eq, 33), And, key(Eq, 7)));
        assert!(contradiction.is_empty() || slice_of(33) == slice_of(7));
        assert_eq!(left(key(Gt, 33)), all);
        // One side says nothing of the key.
        let other = binary(col("v", &schema).unwrap(), Eq, lit(1i64), &schema).unwrap();
        assert_eq!(left(both(key(Eq, 33), Or, Arc::clone(&other))), all);
        assert_eq!(left(other), all);
        // A value of another type would have another hash.
        assert_eq!(left(binary(col("k", &schema).unwrap(), Eq, lit(33i32), &schema).unwrap()), all);
    }
}
