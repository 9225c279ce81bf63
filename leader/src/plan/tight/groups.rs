//! GROUP BY, DISTINCT and windows: the keys are compared, a member is shown.

use super::Tightening;
use crate::plan::tight::expressions::{call, is_keyed, of_key, tight};
use crate::plan::tight::scope::Scope;
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, GroupingSet};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Case, Distinct, DistinctOn, Expr, LogicalPlan, Projection, Window};
use slipher_common::functions::AS_TYPE;
use slipher_common::member::member_udaf;
use slipher_common::sql_type::TYPE_METADATA_KEY;
use slipher_common::{Error, SqlType};
use std::sync::Arc;

/// One key of a grouping.
struct Key {
    /// What rows are compared by.
    key: Expr,
    /// The name of the aggregate that picks the value that is shown, where that is not the key.
    member: Option<String>,
}

/// One aggregate.
struct Aggregated {
    expr: Expr,
    /// Its answer is a key of strings with their blanks.
    keyed: bool,
    name: Option<String>,
}

impl Tightening {
    pub(super) fn aggregate(&self, aggregate: Aggregate, scope: &Scope<'_>) -> Result<Transformed<LogicalPlan>> {
        let mut changed = false;
        let mut members = Vec::new();
        let mut keys = Vec::new();
        for group in grouping_set_to_exprlist(&aggregate.group_expr)? {
            let shown = self.value(group.clone(), scope)?;
            let key = tight(shown.data.clone(), scope)?;
            changed |= shown.transformed || key.transformed;
            let is_constant = matches!(&shown.data, Expr::Literal(value, _) if value.data_type() != DataType::BinaryView);
            let member = (key.transformed && !is_constant).then(|| self.name());
            if let Some(name) = &member {
                let picked = AggregateFunction::new_udf(member_udaf(), vec![shown.data], false, None, Vec::new(), None);
                members.push(Expr::AggregateFunction(picked).alias(name));
            }
            keys.push((group.clone(), Key { key: key.data, member }));
        }
        let mut aggregates = Vec::new();
        for expr in &aggregate.aggr_expr {
            let one = self.value(expr.clone(), scope)?;
            changed |= one.transformed;
            let keyed = one.transformed && is_keyed(&one.data);
            let name = one.transformed.then(|| self.name());
            let expr = match &name {
                Some(name) => one.data.unalias().alias(name),
                None => one.data,
            };
            aggregates.push(Aggregated { expr, keyed, name });
        }
        if !changed {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        let replaced = |expr: &Expr| {
            let found = keys.iter().find(|(group, _)| group == expr).map(|(_, key)| key.key.clone());
            found.unwrap_or_else(|| expr.clone())
        };
        let groups: Vec<Expr> = aggregate.group_expr.iter().map(|group| in_sets(group, &replaced)).collect();
        let all = aggregates.iter().map(|one| one.expr.clone()).chain(members).collect();
        let grouped = Aggregate::try_new(Arc::clone(&aggregate.input), groups, all)?;
        let keys = keys.into_iter().map(|(_, key)| key).collect::<Vec<_>>();
        Ok(Transformed::yes(shown(&aggregate, grouped, &keys, &aggregates)?))
    }

    pub(super) fn distinct(&self, input: Arc<LogicalPlan>, scope: &Scope<'_>) -> Result<Transformed<LogicalPlan>> {
        let columns = input.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
        if columns.iter().all(|column| !scope.is_text(column) || scope.is_tight(column)) {
            return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
        }
        self.aggregate(Aggregate::try_new(input, columns, Vec::new())?, scope)
    }

    pub(super) fn distinct_on(&self, on: DistinctOn, scope: &Scope<'_>) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new_for_projection();
        let mut changed = false;
        let mut on_expr = Vec::with_capacity(on.on_expr.len());
        for expr in on.on_expr {
            let key = self.compared(expr, scope)?;
            changed |= key.transformed;
            on_expr.push(key.data);
        }
        let mut select_expr = Vec::with_capacity(on.select_expr.len());
        for expr in on.select_expr {
            let name = names.save(&expr);
            let value = self.value(expr, scope)?;
            changed |= value.transformed;
            select_expr.push(if value.transformed { name.restore(value.data) } else { value.data });
        }
        let sort_expr = match on.sort_expr {
            Some(sorts) => {
                let sorted = self.sorts(sorts, scope)?;
                changed |= sorted.transformed;
                Some(sorted.data)
            }
            None => None,
        };
        let on = DistinctOn { on_expr, select_expr, sort_expr, ..on };
        Ok(Transformed::new_transformed(LogicalPlan::Distinct(Distinct::On(on)), changed))
    }

    pub(super) fn window(&self, window: Window, scope: &Scope<'_>) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new_for_projection();
        let inputs = window.input.schema().fields().len();
        let mut exprs = Vec::with_capacity(window.window_expr.len());
        let mut keyed = vec![false; inputs];
        let mut changed = false;
        for expr in &window.window_expr {
            let name = names.save(expr);
            let one = self.value(expr.clone(), scope)?;
            changed |= one.transformed;
            keyed.push(one.transformed && is_keyed(&one.data));
            exprs.push(match (one.transformed, keyed.last()) {
                (false, _) => one.data,
                (true, Some(true)) => one.data.unalias().alias(self.name()),
                (true, _) => name.restore(one.data.unalias()),
            });
        }
        if !changed {
            return Ok(Transformed::no(LogicalPlan::Window(window)));
        }
        let compared = Window::try_new(exprs, Arc::clone(&window.input))?;
        if !keyed.contains(&true) {
            return Ok(Transformed::yes(LogicalPlan::Window(compared)));
        }
        let mut columns = Vec::with_capacity(keyed.len());
        for (index, (qualifier, field)) in window.schema.iter().enumerate() {
            let column = Expr::Column(Column::from(compared.schema.qualified_field(index)));
            columns.push(match keyed.get(index) {
                Some(true) => {
                    declared(of_key(column, field.data_type())?, field)?.alias_qualified(qualifier.cloned(), field.name())
                }
                _ => column,
            });
        }
        let compared = Arc::new(LogicalPlan::Window(compared));
        Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, compared)?)))
    }
}

/// A grouping expression or set with other keys.
fn in_sets(group: &Expr, replaced: &dyn Fn(&Expr) -> Expr) -> Expr {
    let all = |exprs: &[Expr]| exprs.iter().map(replaced).collect::<Vec<_>>();
    match group {
        Expr::GroupingSet(GroupingSet::Rollup(exprs)) => Expr::GroupingSet(GroupingSet::Rollup(all(exprs))),
        Expr::GroupingSet(GroupingSet::Cube(exprs)) => Expr::GroupingSet(GroupingSet::Cube(all(exprs))),
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
            Expr::GroupingSet(GroupingSet::GroupingSets(sets.iter().map(|set| all(set)).collect()))
        }
        other => replaced(other),
    }
}

/// The columns of `old` over `new`, which groups by keys.
fn shown(old: &Aggregate, new: Aggregate, keys: &[Key], aggregates: &[Aggregated]) -> Result<LogicalPlan> {
    let in_sets = matches!(old.group_expr.as_slice(), [Expr::GroupingSet(_)]);
    let groups: Vec<Expr> = grouping_set_to_exprlist(&new.group_expr)?.into_iter().cloned().collect();
    if in_sets && groups.len() != keys.len() {
        let error = Error::not_supported("a grouping set with one column twice", "group by it once");
        return Err(error.into());
    }
    let column = |index: usize| Expr::Column(Column::from(new.schema.qualified_field(index)));
    let mut columns = Vec::new();
    for (index, (qualifier, field)) in old.schema.iter().enumerate() {
        let number = index.checked_sub(keys.len() + usize::from(in_sets));
        let value = match (keys.get(index), number.and_then(|number| aggregates.get(number))) {
            (Some(key), _) => {
                let place = groups.iter().position(|group| *group == key.key);
                let group = column(place.ok_or_else(|| Error::internal("a key of a grouping is lost"))?);
                match &key.member {
                    None => group,
                    Some(name) => {
                        let member = Expr::Column(Column::new_unqualified(name));
                        declared(if in_sets { unless_null(group, member, field)? } else { member }, field)?
                    }
                }
            }
            (None, Some(Aggregated { keyed, name: Some(name), .. })) => {
                let answer = Expr::Column(Column::new_unqualified(name));
                if *keyed { declared(of_key(answer, field.data_type())?, field)? } else { answer }
            }
            (None, Some(_)) => Expr::Column(Column::from((qualifier, field))),
            // The number of the grouping set.
            (None, None) => column(groups.len()),
        };
        let is_named =
            matches!(&value, Expr::Column(column) if column.relation.as_ref() == qualifier && column.name == *field.name());
        columns.push(if is_named { value } else { value.alias_qualified(qualifier.cloned(), field.name()) });
    }
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(LogicalPlan::Aggregate(new)))?))
}

/// In a grouping set without the key there is nothing to show.
fn unless_null(key: Expr, member: Expr, field: &Field) -> Result<Expr> {
    let null = Expr::Literal(ScalarValue::try_new_null(field.data_type())?, None);
    Ok(Expr::Case(Case::new(None, vec![(Box::new(key.is_null()), Box::new(null))], Some(Box::new(member)))))
}

/// `value` of the type and with the nullability of `field`, which aggregates forget.
fn declared(value: Expr, field: &Field) -> Result<Expr> {
    let sql_type = match field.metadata().contains_key(TYPE_METADATA_KEY) {
        true => SqlType::of_field(field)?.to_string(),
        false => String::new(),
    };
    if sql_type.is_empty() && field.is_nullable() {
        return Ok(value);
    }
    let declared = Expr::Literal(ScalarValue::Utf8(Some(sql_type)), None);
    let nullable = Expr::Literal(ScalarValue::Boolean(Some(field.is_nullable())), None);
    call(AS_TYPE, vec![value, declared, nullable])
}
