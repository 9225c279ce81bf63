//! Which strings cannot end in a blank.

use crate::plan::table::SliceTable;
use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, Join, JoinType, LogicalPlan, TableScan};
use slipher_common::functions::{AS_CHAR, AS_TYPE, BLANK_KEY, TIGHT, TO_TEXT};
use slipher_common::member::MEMBER;
use slipher_common::single_value::single_value_udaf;

/// What the expressions of a node see.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) schema: &'a DFSchema,
    /// For each field of the schema whether no string of it ends in a blank.
    pub(super) tight: &'a [bool],
    /// What correlated columns refer to.
    pub(super) outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    /// Whether the column cannot end in a blank; of several that the name may mean, none.
    fn is_tight_column(&self, column: &Column) -> bool {
        let mut found = false;
        for (index, (qualifier, field)) in self.schema.iter().enumerate() {
            let meant = field.name() == &column.name
                && match (&column.relation, qualifier) {
                    (Some(wanted), Some(known)) => wanted.resolved_eq(known),
                    (Some(_), None) => false,
                    (None, _) => true,
                };
            if meant {
                found = true;
                if !self.tight.get(index).copied().unwrap_or(false) {
                    return false;
                }
            }
        }
        found
    }

    fn is_tight_outer(&self, column: &Column) -> bool {
        let mut scope = self.outer;
        while let Some(outer) = scope {
            if outer.schema.has_column(column) {
                return outer.is_tight_column(column);
            }
            scope = outer.outer;
        }
        false
    }

    /// Whether the expression is a string, or a SUPER value: those are compared by keys.
    pub(super) fn is_text(&self, expr: &Expr) -> bool {
        // What has no type yet (a parameter that is only described) is compared by nobody.
        expr.get_type(self.schema).is_ok_and(|data_type| is_keyed(&data_type))
    }

    /// Whether the expression, if it is a string, cannot end in a blank.
    pub(super) fn is_tight(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Column(column) => self.is_tight_column(column),
            Expr::OuterReferenceColumn(_, column) => self.is_tight_outer(column),
            Expr::Alias(alias) => self.is_tight(&alias.expr),
            Expr::Literal(value, _) => !ends_in_blank(value) && (value.is_null() || value.data_type() != DataType::BinaryView),
            Expr::Cast(cast) => self.is_tight_text(&cast.expr),
            Expr::TryCast(cast) => self.is_tight_text(&cast.expr),
            Expr::Case(case) => {
                let mut results = case.when_then_expr.iter().map(|(_, result)| result).chain(&case.else_expr);
                results.all(|result| self.is_tight(result))
            }
            Expr::ScalarFunction(call) => self.is_tight_call(call),
            Expr::AggregateFunction(call) => is_one_of_them(call.func.name()) && self.are_tight(&call.params.args),
            Expr::WindowFunction(call) => is_one_of_them(call.fun.name()) && self.are_tight(&call.params.args),
            Expr::ScalarSubquery(subquery) => of_plan(&subquery.subquery, Some(self)).first().copied().unwrap_or(false),
            _ => false,
        }
    }

    /// A cast to a string: what numbers, days and truth values look like does not end in a blank.
    fn is_tight_text(&self, source: &Expr) -> bool {
        match source.get_type(self.schema) {
            Ok(data_type) if data_type.is_string() => self.is_tight(source),
            Ok(data_type) => data_type.is_primitive() || data_type.is_null() || data_type == DataType::Boolean,
            Err(_) => false,
        }
    }

    fn are_tight(&self, arguments: &[Expr]) -> bool {
        arguments.iter().all(|argument| !self.is_text(argument) || self.is_tight(argument))
    }

    fn is_tight_call(&self, call: &ScalarFunction) -> bool {
        let first = || call.args.first().is_some_and(|argument| self.is_tight(argument));
        match (call.name(), call.args.as_slice()) {
            // A key is compared as it is.
            (TIGHT | BLANK_KEY | AS_CHAR | "md5", _) | ("rtrim" | "btrim" | "trim", [_]) => true,
            ("rtrim" | "btrim", [_, Expr::Literal(letters, _)]) => {
                letters.try_as_str().flatten().is_some_and(|letters| letters.contains(' '))
            }
            (TO_TEXT, [only]) => self.is_tight_text(only),
            (AS_TYPE | "nullif" | "upper" | "lower" | "initcap" | "ltrim" | "right", _) => first(),
            ("coalesce" | "nvl" | "ifnull" | "greatest" | "least", arguments) => self.are_tight(arguments),
            _ => false,
        }
    }
}

/// Whether values of a type are compared without what does not count: trailing blanks, or how a SUPER value is kept.
pub(super) fn is_keyed(data_type: &DataType) -> bool {
    data_type.is_string() || *data_type == DataType::BinaryView
}

/// Functions whose answer is one of the values they are given.
fn is_one_of_them(name: &str) -> bool {
    matches!(name, "min" | "max" | "first_value" | "last_value" | "nth_value" | "lag" | "lead" | MEMBER)
        || name == single_value_udaf().name()
}

pub(super) fn ends_in_blank(value: &ScalarValue) -> bool {
    value.try_as_str().flatten().is_some_and(|text| text.ends_with(' '))
}

/// For each output column of a plan whether no string of it ends in a blank.
pub(super) fn of_plan(plan: &LogicalPlan, outer: Option<&Scope<'_>>) -> Vec<bool> {
    let inputs: Vec<Vec<bool>> = plan.inputs().into_iter().map(|input| of_plan(input, outer)).collect();
    outputs(plan, &inputs, outer)
}

/// The same, where it is known of the inputs.
pub(super) fn outputs(plan: &LogicalPlan, inputs: &[Vec<bool>], outer: Option<&Scope<'_>>) -> Vec<bool> {
    let columns = plan.schema().fields().len();
    let over = |input: &LogicalPlan, exprs: &[Expr]| -> Vec<bool> {
        let flags = inputs.first().map(Vec::as_slice).unwrap_or_default();
        let scope = Scope { schema: input.schema(), tight: flags, outer };
        exprs.iter().map(|expr| scope.is_tight(expr)).collect()
    };
    let mut tight = match plan {
        LogicalPlan::Projection(projection) => over(&projection.input, &projection.expr),
        LogicalPlan::Aggregate(aggregate) => {
            let groups = grouping_set_to_exprlist(&aggregate.group_expr).unwrap_or_default();
            let mut tight = over(&aggregate.input, &groups.into_iter().cloned().collect::<Vec<_>>());
            // The number of the grouping set.
            let others = columns.saturating_sub(tight.len() + aggregate.aggr_expr.len());
            tight.resize(tight.len() + others, true);
            tight.extend(over(&aggregate.input, &aggregate.aggr_expr));
            tight
        }
        LogicalPlan::Window(window) => {
            let mut tight = inputs.first().cloned().unwrap_or_default();
            tight.extend(over(&window.input, &window.window_expr));
            tight
        }
        LogicalPlan::Distinct(Distinct::On(on)) => over(&on.input, &on.select_expr),
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => inputs.first().cloned().unwrap_or_default(),
        LogicalPlan::Union(_) => (0..columns).map(|column| inputs.iter().all(|input| input.get(column) == Some(&true))).collect(),
        LogicalPlan::Join(join) => joined(join, inputs),
        LogicalPlan::TableScan(scan) => scanned(scan),
        LogicalPlan::Values(values) => {
            let scope = Scope { schema: &values.schema, tight: &[], outer };
            (0..columns)
                .map(|column| values.values.iter().all(|row| row.get(column).is_some_and(|value| scope.is_tight(value))))
                .collect()
        }
        LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => Vec::new(),
    };
    tight.resize(columns, false);
    tight
}

fn joined(join: &Join, inputs: &[Vec<bool>]) -> Vec<bool> {
    let side = |index: usize| inputs.get(index).cloned().unwrap_or_default();
    match join.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => [side(0), side(1)].concat(),
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => side(0),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => side(1),
    }
}

/// Of other tables nobody knows.
fn scanned(scan: &TableScan) -> Vec<bool> {
    let Ok(provider) = source_as_provider(&scan.source) else { return Vec::new() };
    let Some(table) = provider.as_ref().downcast_ref::<SliceTable>() else { return Vec::new() };
    match &scan.projection {
        Some(columns) => columns.iter().map(|column| table.is_tight(*column)).collect(),
        None => (0..scan.projected_schema.fields().len()).map(|column| table.is_tight(column)).collect(),
    }
}
