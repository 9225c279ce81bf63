//! How many rows a logical plan yields, and what is known of its columns: from the statistics of segments upwards.
//!
//! The model is the textbook one (Selinger et al., "Access path selection in a relational database management system", SIGMOD 1979):
//! values spread evenly, columns are independent, and the values of the smaller domain of a join occur in the larger.

use crate::plan::table::SliceTable;
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::source_as_provider;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr, FetchType, Join, JoinType, LogicalPlan, Projection, TableScan};
use datafusion::physical_expr::create_physical_expr;
use slipher_common::catalog::Distribution;
use slipher_common::functions::TIGHT;
use slipher_common::selectivity::{ColumnEstimate, selectivity};

/// Where the rows of a relation lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Spread {
    /// On the slices, by nothing that a join could use.
    Anywhere,
    /// On the slices, by the hash of one output column.
    Key(usize),
    /// All on every node.
    Everywhere,
}

/// What is known of the output of a plan.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    /// Rows, at least 1: nothing is gained by an order that counts on an empty input.
    pub(super) rows: f64,
    /// One for each output column.
    pub(super) columns: Vec<ColumnEstimate>,
    pub(super) spread: Spread,
}

impl Relation {
    fn with_rows(mut self, rows: f64) -> Self {
        self.rows = rows.max(1.0);
        for column in &mut self.columns {
            column.distinct = column.distinct.min(self.rows);
        }
        self
    }
}

/// Estimates `plan`. None if it holds something whose size nobody knows (a table function, a foreign table).
pub(super) fn estimate(plan: &LogicalPlan) -> Option<Relation> {
    match plan {
        LogicalPlan::TableScan(scan) => scanned(scan),
        LogicalPlan::Filter(filter) => {
            let input = estimate(&filter.input)?;
            let share = share_of(&filter.predicate, filter.input.schema(), &input.columns);
            let rows = input.rows * share;
            Some(input.with_rows(rows))
        }
        LogicalPlan::Projection(projection) => projected(projection),
        LogicalPlan::SubqueryAlias(alias) => estimate(&alias.input),
        LogicalPlan::Sort(sort) => {
            let input = estimate(&sort.input)?;
            Some(at_most(input, sort.fetch))
        }
        LogicalPlan::Limit(limit) => {
            let input = estimate(&limit.input)?;
            match limit.get_fetch_type() {
                Ok(FetchType::Literal(rows)) => Some(at_most(input, rows)),
                _ => Some(input),
            }
        }
        LogicalPlan::Aggregate(aggregate) => grouped(aggregate),
        LogicalPlan::Join(join) => joined(join),
        LogicalPlan::Union(union) => {
            let inputs = union.inputs.iter().map(|input| estimate(input)).collect::<Option<Vec<_>>>()?;
            let rows: f64 = inputs.iter().map(|input| input.rows).sum();
            let columns = union.schema.fields().iter().map(|_| ColumnEstimate::unknown(rows)).collect();
            Some(Relation { rows: rows.max(1.0), columns, spread: Spread::Anywhere })
        }
        LogicalPlan::Window(window) => {
            let mut input = estimate(&window.input)?;
            input.columns.resize(window.schema.fields().len(), ColumnEstimate::unknown(input.rows));
            Some(input)
        }
        LogicalPlan::EmptyRelation(empty) => Some(unknown_columns(1.0, empty.schema.fields().len())),
        LogicalPlan::Values(values) => Some(unknown_columns(values.values.len() as f64, values.schema.fields().len())),
        _ => None,
    }
}

/// The column that an expression is, or is without its trailing blanks: rows lie by the one as by the other, and statistics count the same.
pub(super) fn compared_column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => compared_column(&alias.expr),
        Expr::ScalarFunction(call) if call.name() == TIGHT => call.args.first().and_then(compared_column),
        _ => None,
    }
}

/// Index of `column` in `plan`'s output.
pub(super) fn column_index(plan: &LogicalPlan, column: &Column) -> Option<usize> {
    plan.schema().maybe_index_of_column(column)
}

/// Share of the rows with `columns` (as in `schema`) that pass `predicate`.
pub(super) fn share_of(predicate: &Expr, schema: &DFSchema, columns: &[ColumnEstimate]) -> f64 {
    let physical = create_physical_expr(predicate, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default());
    physical.map_or(1.0, |predicate| selectivity(&predicate, columns))
}

fn unknown_columns(rows: f64, columns: usize) -> Relation {
    let rows = rows.max(1.0);
    Relation { rows, columns: vec![ColumnEstimate::unknown(rows); columns], spread: Spread::Everywhere }
}

fn at_most(input: Relation, rows_max: Option<usize>) -> Relation {
    let rows = rows_max.map_or(input.rows, |most| input.rows.min(most as f64));
    input.with_rows(rows)
}

fn scanned(scan: &TableScan) -> Option<Relation> {
    let provider = source_as_provider(&scan.source).ok()?;
    let table = provider.as_ref().downcast_ref::<SliceTable>()?;
    let (rows, all) = table.known().estimate()?;
    let table = table.definition();
    let indices = scan.projection.clone().unwrap_or_else(|| (0..all.len()).collect());
    let spread = match (table.distribution == Distribution::All, table.dist_key_index()) {
        (true, _) => Spread::Everywhere,
        (false, Some(key)) => indices.iter().position(|index| *index == key).map_or(Spread::Anywhere, Spread::Key),
        (false, None) => Spread::Anywhere,
    };
    let columns = indices.iter().map(|index| all.get(*index).cloned()).collect::<Option<Vec<_>>>()?;
    Some(Relation { rows: 1.0, columns, spread }.with_rows(rows))
}

fn projected(projection: &Projection) -> Option<Relation> {
    let input = estimate(&projection.input)?;
    let source = |expr: &Expr| compared_column(expr).and_then(|column| column_index(&projection.input, column));
    let sources: Vec<Option<usize>> = projection.expr.iter().map(source).collect();
    let column = |source: &Option<usize>| {
        source.and_then(|index| input.columns.get(index).cloned()).unwrap_or_else(|| ColumnEstimate::unknown(input.rows))
    };
    let spread = match input.spread {
        Spread::Key(key) => sources.iter().position(|source| *source == Some(key)).map_or(Spread::Anywhere, Spread::Key),
        other => other,
    };
    Some(Relation { rows: input.rows, columns: sources.iter().map(column).collect(), spread })
}

fn grouped(aggregate: &Aggregate) -> Option<Relation> {
    let input = estimate(&aggregate.input)?;
    let mut groups = 1.0;
    let mut columns = Vec::new();
    let mut spread = if input.spread == Spread::Everywhere { Spread::Everywhere } else { Spread::Anywhere };
    for (position, expr) in aggregate.group_expr.iter().enumerate() {
        let source = compared_column(expr).and_then(|column| column_index(&aggregate.input, column));
        if let (Some(index), Spread::Key(key)) = (source, input.spread)
            && index == key
        {
            spread = Spread::Key(position);
        }
        let column = source.and_then(|index| input.columns.get(index).cloned());
        let column = column.unwrap_or_else(|| ColumnEstimate::unknown(input.rows));
        groups *= column.distinct;
        columns.push(column);
    }
    let rows = f64::min(groups, input.rows);
    columns.resize(aggregate.schema.fields().len(), ColumnEstimate::unknown(rows));
    Some(Relation { rows: 1.0, columns, spread }.with_rows(rows))
}

fn joined(join: &Join) -> Option<Relation> {
    let (mut left, right) = (estimate(&join.left)?, estimate(&join.right)?);
    let mut share = 1.0;
    let mut kept = 1.0f64;
    for (one, other) in &join.on {
        let (one, other) = (distinct_of(one, &join.left, &left), distinct_of(other, &join.right, &right));
        share /= one.max(other);
        kept *= (other / one).min(1.0);
    }
    let matches = (left.rows * right.rows * share).max(1.0);
    let rows = match join.join_type {
        JoinType::Inner => matches,
        JoinType::Left => matches.max(left.rows),
        JoinType::Right => matches.max(right.rows),
        JoinType::Full => matches.max(left.rows).max(right.rows),
        JoinType::LeftSemi => left.rows * kept,
        JoinType::LeftAnti => left.rows * (1.0 - kept).max(ANTI_SHARE_MIN),
        JoinType::LeftMark => left.rows,
        _ => return None,
    };
    if join.join_type == JoinType::LeftSemi {
        for (one, other) in &join.on {
            let known = distinct_of(other, &join.right, &right);
            if let Some(column) = compared_column(one)
                && let Some(column) = column_index(&join.left, column).and_then(|index| left.columns.get_mut(index))
            {
                column.distinct = column.distinct.min(known);
            }
        }
    }
    let one_sided = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark);
    let spread = if right.spread == Spread::Everywhere || one_sided { left.spread } else { Spread::Anywhere };
    let mut columns = left.columns;
    match join.join_type {
        JoinType::LeftMark => columns.push(ColumnEstimate { distinct: 2.0, ..ColumnEstimate::unknown(rows) }),
        _ if !one_sided => columns.extend(right.columns),
        _ => {}
    }
    Some(Relation { rows: 1.0, columns, spread }.with_rows(rows))
}

/// Rows of all tables that `plan` reads.
pub(super) fn scanned_rows(plan: &LogicalPlan) -> f64 {
    match plan {
        LogicalPlan::TableScan(_) => estimate(plan).map_or(f64::INFINITY, |relation| relation.rows),
        other => other.inputs().into_iter().map(scanned_rows).sum(),
    }
}

/// An anti join is never taken to keep less than this share: the estimate of what matches is too coarse.
const ANTI_SHARE_MIN: f64 = 0.1;

/// Different values of a join key.
pub(super) fn distinct_of(key: &Expr, plan: &LogicalPlan, relation: &Relation) -> f64 {
    let column = compared_column(key).and_then(|column| column_index(plan, column));
    let column = column.and_then(|index| relation.columns.get(index));
    column.map_or(relation.rows, |column| column.distinct).max(1.0)
}
