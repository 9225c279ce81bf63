//! Columns of the row outside, in a subquery.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Which columns of the row outside stand for which columns of a plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings(pub(super) Vec<(Column, Column)>);

impl Bindings {
    fn of(&self, outer: &Column) -> Option<&Column> {
        self.0.iter().find(|(known, _)| known == outer).map(|(_, column)| column)
    }

    /// The columns outside.
    pub(super) fn outer(&self) -> Vec<Column> {
        self.0.iter().map(|(outer, _)| outer.clone()).collect()
    }

    /// The columns that stand for them.
    pub(super) fn columns(&self) -> Vec<Column> {
        self.0.iter().map(|(_, column)| column.clone()).collect()
    }

    /// `expr` with the columns outside replaced.
    pub(super) fn bind(&self, expr: Expr) -> Result<Expr> {
        expr.transform_up(|inner| match &inner {
            Expr::OuterReferenceColumn(_, outer) => match self.of(outer) {
                Some(column) => Ok(Transformed::yes(Expr::Column(column.clone()))),
                None => Ok(Transformed::no(inner)),
            },
            _ => Ok(Transformed::no(inner)),
        })
        .data()
    }
}

/// The columns of `schema`, the input of the node that holds the subquery `plan`, that the subquery reads. Other outer columns in
/// it belong to a node further outside: the innermost scope that has a name is meant by it.
pub(super) fn columns_of(plan: &LogicalPlan, schema: &DFSchema) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            collect(expr, schema, &mut columns)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    columns.sort();
    columns.dedup();
    Ok(columns)
}

fn collect(expr: &Expr, schema: &DFSchema, columns: &mut Vec<Column>) -> Result<()> {
    expr.apply(|inner| {
        if let Expr::OuterReferenceColumn(_, column) = inner
            && schema.has_column(column)
        {
            columns.push(column.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(|_| ())
}

/// Whether `expr` reads one of `outer`.
pub(super) fn reads(expr: &Expr, outer: &[Column]) -> Result<bool> {
    expr.exists(|inner| Ok(matches!(inner, Expr::OuterReferenceColumn(_, column) if outer.contains(column))))
}

/// Whether an expression of `plan` itself reads one of `outer`.
pub(super) fn node_reads(plan: &LogicalPlan, outer: &[Column]) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found |= reads(expr, outer)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Whether `plan` or something below it reads one of `outer`.
pub(super) fn plan_reads(plan: &LogicalPlan, outer: &[Column]) -> Result<bool> {
    plan.exists(|node| node_reads(node, outer))
}

/// `expr`, of the row outside, as it is written inside.
pub(super) fn as_outer(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|inner| match inner {
        Expr::Column(column) => {
            let field = schema.field_from_column(&column)?.clone();
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// `expr`, a condition of a join with the row outside: the columns of `outer` are columns of one of its sides.
pub(super) fn as_inner(expr: Expr, outer: &[Column]) -> Result<Expr> {
    Bindings(outer.iter().map(|column| (column.clone(), column.clone())).collect()).bind(expr)
}

/// `expr` with each column replaced by what `replacement` says.
pub(super) fn with_columns(expr: Expr, mut replacement: impl FnMut(&Column) -> Option<Expr>) -> Result<Expr> {
    expr.transform_up(|inner| match &inner {
        Expr::Column(column) => match replacement(column) {
            Some(other) => Ok(Transformed::yes(other)),
            None => Ok(Transformed::no(inner)),
        },
        _ => Ok(Transformed::no(inner)),
    })
    .data()
}
