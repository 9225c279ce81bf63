//! UNION's branches must have types that fit together.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use slipher_common::casts::type_name;
use slipher_common::{Error, ErrorKind, SqlType};

/// 42804 where UNION would read numbers as dates or the other way round, as the engine does.
pub(crate) fn check_unions(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Union(union) = node else { return Ok(TreeNodeRecursion::Continue) };
        let inputs = union.inputs.iter().map(|input| input.schema().fields());
        for (first, second) in inputs.clone().zip(inputs.skip(1)) {
            for (one, other) in first.iter().zip(second) {
                let (one, other) = (one.data_type(), other.data_type());
                let numbers = |a: &DataType, b: &DataType| (a.is_numeric() || *a == DataType::Boolean) && b.is_temporal();
                if numbers(one, other) || numbers(other, one) {
                    return Err(cannot_be_matched(one, other).into());
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(|_| ())
}

/// 42804: a column of UNION cannot hold values of both types.
pub(crate) fn cannot_be_matched(one: &DataType, other: &DataType) -> Error {
    let name = |known: &DataType| SqlType::from_arrow(known).map_or_else(|_| type_name(known), |known| known.to_string());
    Error::new(ErrorKind::DatatypeMismatch, format!("UNION types {} and {} cannot be matched", name(one), name(other)))
}
