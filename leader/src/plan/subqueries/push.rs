//! A subquery computed for all outer values at once.
//!
//! D is the set of the different outer values. `push` turns a subquery into a plan that yields, for each value in D, what the
//! subquery yields for it, beside that value: the columns of D go down to where they are read, and every node on the way keeps what
//! belongs to different values apart.

use super::outer::{Bindings, plan_reads};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, lit, when};
use slipher_common::Error;
use std::sync::Arc;

/// The name of the set of outer values.
const DOMAIN: &str = "__outer";

/// A plan with the columns of D beside its own.
#[derive(Clone, Debug)]
pub(super) struct Pushed {
    pub(super) plan: LogicalPlan,
    /// The columns of D.
    pub(super) bindings: Bindings,
}

/// Pushes D down.
#[derive(Debug)]
pub(super) struct Pusher<'a> {
    /// Where the outer values come from.
    pub(super) input: &'a LogicalPlan,
    /// The outer columns that the subquery reads.
    pub(super) outer: Vec<Column>,
    /// Names given so far.
    pub(super) names: &'a mut usize,
}

impl Pusher<'_> {
    /// What `plan` yields for each of the outer values.
    pub(super) fn push(&mut self, plan: &LogicalPlan) -> Result<Pushed> {
        if !plan_reads(plan, &self.outer)? {
            let domain = self.domain()?;
            let joined = LogicalPlanBuilder::from(domain.plan).cross_join(plan.clone())?.build()?;
            return Ok(Pushed { plan: joined, bindings: domain.bindings });
        }
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.push(&alias.input)?;
                self.named_as(input, &alias.input.schema().columns(), &alias.schema)
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(distinct) => self.distinct(distinct),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            // Order without a limit is nothing that another node may rely on.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.push(&sort.input),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Values(values) => self.push(&super::values::values_as_union(values)?),
            other => Err(refused(other)),
        }
    }

    /// D under a new name.
    pub(super) fn domain(&mut self) -> Result<Pushed> {
        if is_volatile(self.input)? {
            let instead = "store the random values in a table first";
            return Err(Error::not_supported("a correlated subquery of this form over random values", instead).into());
        }
        *self.names += 1;
        let name = format!("{DOMAIN}_{}", self.names);
        // Names that no column has, qualified or not.
        let named = |index: usize| format!("{name}_{}", index + 1);
        let columns = self.outer.iter().enumerate().map(|(index, column)| Expr::Column(column.clone()).alias(named(index)));
        let projection = Projection::try_new(columns.collect(), Arc::new(self.input.clone()))?;
        let plan = LogicalPlanBuilder::from(LogicalPlan::Projection(projection)).distinct()?.alias(name.as_str())?.build()?;
        let columns = (0..self.outer.len()).map(|index| Column::new(Some(name.as_str()), named(index)));
        let bindings = Bindings(self.outer.iter().cloned().zip(columns).collect());
        Ok(Pushed { plan, bindings })
    }

    /// `pushed`, whose `columns` are those of `schema`, with the schema's names.
    pub(super) fn named_as(&self, pushed: Pushed, columns: &[Column], schema: &DFSchema) -> Result<Pushed> {
        let exprs = columns.iter().zip(schema.iter()).map(|(column, field)| named(Expr::Column(column.clone()), field));
        let domain = pushed.bindings.columns().into_iter().map(Expr::Column);
        let projection = Projection::try_new(exprs.chain(domain).collect(), Arc::new(pushed.plan))?;
        Ok(Pushed { plan: LogicalPlan::Projection(projection), bindings: pushed.bindings })
    }
}

/// `expr` with the name of `field`.
pub(super) fn named(expr: Expr, field: (Option<&datafusion::common::TableReference>, &arrow::datatypes::FieldRef)) -> Expr {
    let (qualifier, name) = (field.0.cloned(), field.1.name().clone());
    if expr.qualified_name() == (qualifier.clone(), name.clone()) { expr } else { expr.alias_qualified(qualifier, name) }
}

/// The condition that the values of two sides are the same, NULL with NULL. It is made of plain equalities: the engine makes joins
/// that find NULL equal to NULL of `IS NOT DISTINCT FROM`, and later adds conditions to them for which that is wrong.
pub(super) fn same_values(one: &[Column], other: &[Column], left: &DFSchema, right: &DFSchema) -> Result<Vec<Expr>> {
    let mut conditions = Vec::new();
    for (one, other) in one.iter().zip(other) {
        let (field, opposite) = (left.field_from_column(one)?, right.field_from_column(other)?);
        let (a, b) = (Expr::Column(one.clone()), Expr::Column(other.clone()));
        if !field.is_nullable() && !opposite.is_nullable() {
            conditions.push(a.eq(b));
            continue;
        }
        let value = ScalarValue::new_default(field.data_type())?;
        let filled = |expr: &Expr| when(expr.clone().is_null(), lit(value.clone())).otherwise(expr.clone());
        conditions.push(filled(&a)?.eq(filled(&b)?));
        conditions.push(a.is_null().eq(b.is_null()));
    }
    Ok(conditions)
}

pub(super) fn refused(node: &LogicalPlan) -> datafusion::error::DataFusionError {
    let what = match node {
        LogicalPlan::RecursiveQuery(_) => "a recursive query that reads columns of the query outside",
        LogicalPlan::Subquery(_) => "LATERAL in a subquery that reads columns of the query outside",
        LogicalPlan::Limit(_) => "LIMIT or OFFSET that is no number, in a subquery that reads columns of the query outside",
        _ => "a subquery of this form that reads columns of the query outside",
    };
    Error::not_supported(what, "write the subquery in FROM and join it").into()
}

fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    let mut volatile = false;
    plan.apply(|node| {
        volatile |= node.expressions().iter().any(Expr::is_volatile);
        Ok(if volatile { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(volatile)
}
