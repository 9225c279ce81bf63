//! Which predicates the Vortex scan evaluates, and how they read there.

use crate::segment::storage::{is_restored, storage_literal};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr, in_list,
};
use slipher_common::{Error, Result};
use std::sync::Arc;

/// The two schemas of a scan.
pub(super) struct Schemas<'a> {
    /// What the table declares.
    pub(super) logical: &'a Schema,
    /// What its files hold; the same columns.
    pub(super) storage: &'a SchemaRef,
}

impl Schemas<'_> {
    /// `predicate` over stored values, if Vortex then yields exactly what the engine yields for the logical ones. A list of what is
    /// known to be equal: comparisons, NULL tests, IN, LIKE and their combinations. Not floats, whose order in the engine has a
    /// place for NaN and tells −0.0 from 0.0; not arithmetic, which Vortex checks for overflow in its own way.
    pub(super) fn over_storage(&self, predicate: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
        let data_type = predicate.data_type(self.logical).ok()?;
        if matches!(data_type, DataType::Float16 | DataType::Float32 | DataType::Float64) {
            return None;
        }
        if let Some(column) = predicate.downcast_ref::<Column>() {
            return Some(Arc::new(Column::new(self.storage.field(column.index()).name(), column.index())));
        }
        if let Some(literal) = predicate.downcast_ref::<Literal>() {
            return Some(Arc::new(Literal::new(storage_literal(literal.value())?)));
        }
        if let Some(list) = predicate.downcast_ref::<InListExpr>() {
            return self.in_list(list);
        }
        if let Some(binary) = predicate.downcast_ref::<BinaryExpr>() {
            self.compares_alike(binary).then_some(())?;
        } else if let Some(cast) = predicate.downcast_ref::<CastExpr>() {
            let source = cast.expr().data_type(self.logical).ok()?;
            (!is_restored(&source) && !is_restored(&data_type)).then_some(())?;
        } else if !(predicate.downcast_ref::<NotExpr>().is_some()
            || predicate.downcast_ref::<IsNullExpr>().is_some()
            || predicate.downcast_ref::<IsNotNullExpr>().is_some()
            || predicate.downcast_ref::<LikeExpr>().is_some())
        {
            return None;
        }
        let children = predicate.children().into_iter().map(|child| self.over_storage(child)).collect::<Option<Vec<_>>>()?;
        Arc::clone(predicate).with_new_children(children).ok()
    }

    fn compares_alike(&self, binary: &BinaryExpr) -> bool {
        use Operator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
        let (left, right) = (binary.left().data_type(self.logical), binary.right().data_type(self.logical));
        let known = matches!(binary.op(), Eq | NotEq | Lt | LtEq | Gt | GtEq | And | Or);
        // Types that the engine compares after a conversion of its own stay with it.
        known && matches!((left, right), (Ok(left), Ok(right)) if left == right)
    }

    fn in_list(&self, list: &InListExpr) -> Option<Arc<dyn PhysicalExpr>> {
        let value = self.over_storage(list.expr())?;
        let elements = list.list().iter().map(|element| self.over_storage(element)).collect::<Option<Vec<_>>>()?;
        // Built anew: a list keeps its values in a set of the old type.
        in_list(value, elements, &list.negated(), self.storage).ok()
    }
}

/// A predicate over the table's columns as one over `columns` (indexes into the table's).
pub(super) fn over_columns(predicate: Arc<dyn PhysicalExpr>, columns: &[usize]) -> Result<Arc<dyn PhysicalExpr>> {
    let moved = predicate.transform_down(|node| {
        let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
        match columns.iter().position(|index| *index == column.index()) {
            Some(place) => Ok(Transformed::yes(Arc::new(Column::new(column.name(), place)) as Arc<dyn PhysicalExpr>)),
            None => Err(Error::internal(format!("a filter needs column \"{}\", which is not read", column.name())).into()),
        }
    });
    Ok(moved.data()?)
}
