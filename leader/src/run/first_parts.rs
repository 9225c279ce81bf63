//! WITH RECURSIVE over tables: the leader runs the first part, then the part that repeats with the rows that came last in the place of the
//! query's own name, until none come. Each run is a distributed query of its own; the rows stand in the statement's plan as constants do.
//!
//! What reads no table at all is left to the engine, which repeats it in one stream. A WITH query that answers something else each time
//! (`random()`) and is read more than once runs first, too: all who read it see the same rows.

use super::{Attempt, guarded};
use crate::bind::ONCE;
use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, TableReference};
use datafusion::datasource::{MemTable, provider_as_source, source_as_provider};
use datafusion::error::Result as EngineResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, RecursiveQuery, SubqueryAlias};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use parking_lot::Mutex;
use slipher_common::functions::tight_key;
use slipher_common::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Whom the rows' memory belongs to; errors know the name.
const MEMORY_HOLDER: &str = "RecursiveQuery";
/// What the rows are called in the plan.
const RUN_FIRST: &str = "slipher$run_first";

/// What a plan is, and the plan.
type Shown = (String, Arc<dyn ExecutionPlan>);

/// The plans of parts that run first, which EXPLAIN shows instead of running them: each with what it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShownParts(Arc<Mutex<Vec<Shown>>>);

impl ShownParts {
    /// Those that were met, first first.
    pub(crate) fn take(&self) -> Vec<Shown> {
        std::mem::take(&mut self.0.lock())
    }
}

/// A part of a plan that must run before the rest.
enum First {
    Recursive(RecursiveQuery),
    /// A WITH query that is read more than once, and would answer differently.
    Once(SubqueryAlias),
}

impl First {
    /// Whether a node is the part.
    fn is(&self, node: &LogicalPlan) -> bool {
        match (self, node) {
            (Self::Recursive(query), LogicalPlan::RecursiveQuery(other)) => query == other,
            (Self::Once(query), LogicalPlan::SubqueryAlias(other)) => query.alias == other.alias,
            _ => false,
        }
    }

    /// Names and types of its rows.
    fn schema(&self) -> &DFSchemaRef {
        match self {
            Self::Recursive(query) => query.static_term.schema(),
            Self::Once(query) => &query.schema,
        }
    }
}

impl Attempt {
    /// The plan with rows in place of what must run before it.
    pub(crate) async fn with_first_parts_run(&self, mut plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut number = 0_usize;
        while let Some(first) = innermost(&plan)? {
            number += 1;
            let rows = match (&self.shows, &first) {
                (Some(shown), _) => self.shown_parts(&first, shown).await?,
                (None, First::Recursive(query)) => self.rows_of(query).await?,
                (None, First::Once(query)) => self.rows_once(query).await?,
            };
            let rows = scan_of(rows, &format!("{RUN_FIRST}_{number}"), first.schema())?;
            let in_place = |node: LogicalPlan| match first.is(&node) {
                true => Transformed::yes(rows.clone()),
                false => Transformed::no(node),
            };
            plan = plan.transform_up_with_subqueries(|node| Ok(in_place(node))).data()?;
        }
        Ok(plan)
    }

    /// Runs a WITH query.
    async fn rows_once(&self, query: &SubqueryAlias) -> Result<Vec<RecordBatch>> {
        let schema = nullable(query.schema.inner());
        let reservation = MemoryConsumer::new(MEMORY_HOLDER).register(&self.session.runtime_env().memory_pool);
        let mut rows = Rows { known: None, all: Vec::new(), reservation };
        rows.add(self.part(LogicalPlan::clone(&query.input), &schema).await?)?;
        Ok(rows.all)
    }

    /// Runs a recursive query.
    async fn rows_of(&self, query: &RecursiveQuery) -> Result<Vec<RecordBatch>> {
        let schema = nullable(query.static_term.schema().inner());
        let whole = LogicalPlan::RecursiveQuery(query.clone());
        if !Met::in_plan(&whole)?.recurses_over_tables() {
            // The engine repeats it in one stream.
            return self.part(whole, &schema).await;
        }
        let mut rows = Rows {
            known: query.is_distinct.then(|| Known::new(&schema)).transpose()?,
            all: Vec::new(),
            reservation: MemoryConsumer::new(MEMORY_HOLDER).register(&self.session.runtime_env().memory_pool),
        };
        let first = self.part(LogicalPlan::clone(&query.static_term), &schema).await?;
        let mut last = rows.add(first)?;
        while last.iter().any(|batch| batch.num_rows() > 0) {
            let step = over_rows(&query.recursive_term, &query.name, last)?;
            last = rows.add(self.part(step, &schema).await?)?;
        }
        Ok(rows.all)
    }

    /// Runs one part; its rows come under `schema`.
    async fn part(&self, plan: LogicalPlan, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let physical = self.short_way(self.plan_settled(plan).await?)?;
        let rows = self.runner.start(self, physical)?;
        let mut rows = guarded(rows, Arc::clone(&self.runner.cluster), self.query_id.clone(), CancellationToken::new());
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().await {
            match batch {
                Ok(batch) => batches.push(under(schema, &batch)?),
                Err(error) => return Err(self.runner.explain_failure(self, error.into()).await),
            }
        }
        Ok(batches)
    }

    /// Keeps the plans of the parts; answers no rows.
    async fn shown_parts(&self, first: &First, shown: &ShownParts) -> Result<Vec<RecordBatch>> {
        let query = match first {
            First::Once(query) => {
                let plan = self.plan_settled(LogicalPlan::clone(&query.input)).await?;
                let name = query.alias.table().trim_start_matches(ONCE).to_owned();
                shown.0.lock().push((format!("WITH query \"{name}\", which runs once:"), plan));
                return Ok(Vec::new());
            }
            First::Recursive(query) => query,
        };
        let start = self.plan_settled(LogicalPlan::clone(&query.static_term)).await?;
        let schema = nullable(query.static_term.schema().inner());
        let step = over_rows(&query.recursive_term, &query.name, vec![RecordBatch::new_empty(schema)])?;
        let step = self.plan_settled(step).await?;
        let name = &query.name;
        let mut shown = shown.0.lock();
        shown.push((format!("First part of recursive query \"{name}\":"), start));
        shown.push((format!("Part of \"{name}\" that is run until it yields no rows:"), step));
        Ok(Vec::new())
    }
}

/// Whether a plan has parts that must run before the rest.
pub(super) fn has_first_parts(plan: &LogicalPlan) -> EngineResult<bool> {
    let met = Met::in_plan(plan)?;
    Ok(met.recurses_over_tables() || met.reads.values().any(|reads| *reads > 1))
}

/// What of a plan may have to run first.
#[derive(Default)]
struct Met {
    recurses: bool,
    tables: bool,
    /// How often WITH queries are read that answer differently each time.
    reads: HashMap<TableReference, usize>,
}

impl Met {
    fn in_plan(plan: &LogicalPlan) -> EngineResult<Self> {
        let mut met = Self::default();
        plan.apply_with_subqueries(|node| {
            match node {
                LogicalPlan::RecursiveQuery(_) => met.recurses = true,
                LogicalPlan::Dml(_) => met.tables = true,
                LogicalPlan::TableScan(scan) => {
                    met.tables |= !source_as_provider(&scan.source).is_ok_and(|table| table.is::<CteWorkTable>());
                }
                LogicalPlan::SubqueryAlias(query) if query.alias.table().starts_with(ONCE) => {
                    *met.reads.entry(query.alias.clone()).or_default() += 1;
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(met)
    }

    /// Whether it has recursive queries that the engine cannot repeat: those beside tables.
    fn recurses_over_tables(&self) -> bool {
        self.recurses && self.tables
    }

    /// The innermost WITH query of the plan that is read more than once and would answer differently.
    fn read_again(&self, plan: &LogicalPlan) -> EngineResult<Option<SubqueryAlias>> {
        if self.reads.values().all(|reads| *reads < 2) {
            return Ok(None);
        }
        last_met(plan, |node| match node {
            LogicalPlan::SubqueryAlias(query) if self.reads.get(&query.alias).is_some_and(|reads| *reads > 1) => Some(query),
            _ => None,
        })
    }
}

/// The last node on the way down that is one of these: it has none of them below it.
fn last_met<T: Clone>(plan: &LogicalPlan, one_of: impl Fn(&LogicalPlan) -> Option<&T>) -> EngineResult<Option<T>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        if let Some(node) = one_of(node) {
            found = Some(node.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// A part that must run first, and has no other one inside.
fn innermost(plan: &LogicalPlan) -> Result<Option<First>> {
    let met = Met::in_plan(plan)?;
    // A step of a recursive query may read what must run first.
    if let Some(query) = met.read_again(plan)? {
        let recurses = Met::in_plan(&query.input)?.recurses_over_tables();
        return match if recurses { innermost_recursive(&query.input)? } else { None } {
            Some(inner) => own_rows_only(inner).map(Some),
            None => Ok(Some(First::Once(query))),
        };
    }
    match met.recurses_over_tables() {
        true => innermost_recursive(plan)?.map(own_rows_only).transpose(),
        false => Ok(None),
    }
}

fn innermost_recursive(plan: &LogicalPlan) -> EngineResult<Option<RecursiveQuery>> {
    last_met(plan, |node| match node {
        LogicalPlan::RecursiveQuery(query) => Some(query),
        _ => None,
    })
}

/// A recursive query in the part of another one that repeats must not read that one's rows: it runs once.
fn own_rows_only(query: RecursiveQuery) -> Result<First> {
    let mut others = None;
    LogicalPlan::RecursiveQuery(query.clone()).apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<CteWorkTable>()
            && table.name() != query.name
        {
            others = Some(table.name().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match others {
        Some(other) => {
            let what = format!("recursive query \"{}\", which reads the recursive query \"{other}\" around it,", query.name);
            Err(Error::not_supported(what, "write them one after the other in WITH RECURSIVE"))
        }
        None => Ok(First::Recursive(query)),
    }
}

/// The part that repeats, over these rows.
fn over_rows(step: &LogicalPlan, name: &str, rows: Vec<RecordBatch>) -> EngineResult<LogicalPlan> {
    LogicalPlan::clone(step)
        .transform_up_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
            let provider = source_as_provider(&scan.source)?;
            let Some(_) = provider.downcast_ref::<CteWorkTable>().filter(|table| table.name() == name) else {
                return Ok(Transformed::no(node));
            };
            let schema = scan.source.schema();
            let rows = rows.iter().map(|batch| under(&schema, batch)).collect::<EngineResult<Vec<_>>>()?;
            let table = provider_as_source(Arc::new(MemTable::try_new(schema, vec![rows])?));
            let own = LogicalPlanBuilder::scan(scan.table_name.clone(), table, scan.projection.clone())?;
            Ok(Transformed::yes(own.build()?))
        })
        .data()
}

/// Rows under the names and types of the query.
fn scan_of(rows: Vec<RecordBatch>, name: &str, wanted: &DFSchemaRef) -> Result<LogicalPlan> {
    let schema = nullable(wanted.inner());
    let table = provider_as_source(Arc::new(MemTable::try_new(schema, vec![rows])?));
    let scan = LogicalPlanBuilder::scan(name, table, None)?;
    let own = scan.schema().columns();
    let named = wanted.iter().zip(own).map(|((qualifier, field), column)| match qualifier {
        Some(qualifier) => Expr::Column(column).alias_qualified(Some(qualifier.clone()), field.name()),
        None => Expr::Column(column).alias(field.name()),
    });
    let named: Vec<Expr> = named.collect();
    Ok(scan.project(named)?.build()?)
}

/// A schema that allows NULL everywhere: what the first part never yields the other may.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// A batch under another schema of as many columns.
fn under(schema: &SchemaRef, batch: &RecordBatch) -> EngineResult<RecordBatch> {
    let column = |(column, field): (&ArrayRef, &Arc<arrow::datatypes::Field>)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The rows of a recursive query as they come.
struct Rows {
    /// Of UNION, which yields each row once.
    known: Option<Known>,
    all: Vec<RecordBatch>,
    reservation: MemoryReservation,
}

impl Rows {
    /// Adds rows; answers those that are new.
    fn add(&mut self, batches: Vec<RecordBatch>) -> EngineResult<Vec<RecordBatch>> {
        let batches = match &mut self.known {
            Some(known) => {
                batches.iter().map(|batch| known.unknown(batch, &mut self.reservation)).collect::<EngineResult<Vec<_>>>()?
            }
            None => batches,
        };
        for batch in &batches {
            self.reservation.try_grow(batch.get_array_memory_size())?;
        }
        self.all.extend(batches.iter().cloned());
        Ok(batches)
    }
}

/// The rows that were met; blanks at the end of texts make no difference.
struct Known {
    converter: RowConverter,
    rows: HashSet<OwnedRow>,
}

impl Known {
    fn new(schema: &Schema) -> EngineResult<Self> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        Ok(Self { converter: RowConverter::new(fields.collect())?, rows: HashSet::new() })
    }

    /// The rows that were not met before.
    fn unknown(&mut self, batch: &RecordBatch, reservation: &mut MemoryReservation) -> EngineResult<RecordBatch> {
        let columns = batch.columns().iter().map(tight_key).collect::<Result<Vec<_>>>()?;
        let rows = self.converter.convert_columns(&columns)?;
        let mut new = Vec::new();
        let mut bytes = 0;
        for (index, row) in rows.iter().enumerate() {
            let row = row.owned();
            let size = row.as_ref().len() + size_of::<OwnedRow>();
            if self.rows.insert(row) {
                new.push(index as u64);
                bytes += size;
            }
        }
        reservation.try_grow(bytes)?;
        Ok(take_record_batch(batch, &UInt64Array::from(new))?)
    }
}
