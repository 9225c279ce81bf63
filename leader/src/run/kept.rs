//! Plans that are kept between the runs of a prepared statement: the logical plan as the engine's rules leave it, with its parameters
//! still open. It is used again as long as it is the plan that would be made: the same definitions and names, the same version of each table
//! that it reads (rules look at what is known of rows), and parameters of the same types. What remains to be done is to put the values in,
//! compute what they make constant, and make the physical plan, which looks at the values for pruning.

use super::Attempt;
use crate::plan::disabled_rules::DisabledRules;
use crate::plan::in_zone::asks_for_the_time;
use crate::plan::known_tables::KnownTable;
use crate::plan::parameters;
use crate::plan::super_options::SuperOptions;
use crate::plan::table::SliceTable;
use arrow::datatypes::SchemaRef;
use datafusion::common::ParamValues;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::logical_plan::TableScan;
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource, Volatility};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast;
use parking_lot::Mutex;
use slipher_common::assign::Zone;
use slipher_common::ids::{DatabaseId, TableId, Version};
use slipher_common::part::PART;
use slipher_common::{Result, SqlType};
use std::sync::{Arc, Weak};

/// A statement that runs for the first time may be the last one of its kind: its plan is kept from the second run on.
const KEPT_FROM_RUN: u32 = 2;
/// Plans of more nodes take a thread of their own longer than a change of threads does, and nothing is gained.
const NODES_MAX: usize = 32;

/// What is kept for one prepared statement.
#[derive(Debug, Default)]
pub(crate) struct KeptPlan(Mutex<Slot>);

#[derive(Debug, Default)]
struct Slot {
    runs: u32,
    found: Option<Found>,
}

impl Slot {
    /// Counts a run; whether it is not the first one.
    fn runs_again(&mut self) -> bool {
        self.runs = self.runs.saturating_add(1);
        self.runs >= KEPT_FROM_RUN
    }

    /// What was found out, seen like this: a plan, or that none is kept.
    fn of(&self, seen: &Seen) -> Option<Option<Arc<LogicalPlan>>> {
        self.found.as_ref().filter(|found| found.seen == *seen).map(|found| found.plan.clone())
    }
}

#[derive(Debug)]
struct Found {
    seen: Seen,
    /// None: nothing is kept of such a statement.
    plan: Option<Arc<LogicalPlan>>,
}

/// What a plan depends on besides the statement and the tables that it reads.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    definitions: Version,
    database: DatabaseId,
    search_path: Arc<Vec<String>>,
    temp_schema: Option<Arc<str>>,
    merge_joins: bool,
    zone: Option<Arc<Zone>>,
    /// Types of parameters.
    types: Vec<SqlType>,
}

/// Stands for a table in a plan that is kept, and holds nothing of it.
#[derive(Debug)]
struct KeptTable {
    id: TableId,
    schema: SchemaRef,
    known: Weak<KnownTable>,
}

impl TableSource for KeptTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Attempt {
    /// The physical plan of a statement that may have run before, and whether a former run's was of use; `kept` is what was kept of those.
    pub(crate) async fn plan_again(
        &self,
        kept: &KeptPlan,
        statement: &ast::Statement,
        parameters: Option<ParamValues>,
    ) -> Result<(Arc<dyn ExecutionPlan>, bool)> {
        if let Some(seen) = self.seen(parameters.as_ref()).filter(|_| kept.0.lock().runs_again()) {
            let known = kept.0.lock().of(&seen);
            let own = known.as_ref().and_then(|known| self.over_own_tables(known.as_deref()?));
            let reused = own.is_some();
            let plan = match (own, known) {
                (Some(own), _) => Some(own),
                // Nothing is kept of such a statement.
                (None, Some(None)) => None,
                (None, _) => self.plan_to_keep(kept, seen, statement).await,
            };
            if let Some(plan) = plan
                && let Ok(physical) = self.plan_kept(plan, parameters.clone()).await
            {
                return Ok((physical, reused));
            }
        }
        // Also where the values do not fit: the error is that of a plan which knows them.
        Ok((self.plan_statement(statement, parameters).await?, false))
    }

    /// What a plan depends on; None where none is kept.
    fn seen(&self, parameters: Option<&ParamValues>) -> Option<Seen> {
        let snapshot = &self.snapshot;
        if snapshot.disabled_rules != DisabledRules::default() || snapshot.super_options != SuperOptions::default() {
            return None;
        }
        let types = parameters.map(parameters::types_of_values).unwrap_or_default();
        Some(Seen {
            definitions: snapshot.state.definitions()?,
            database: snapshot.state.database(),
            search_path: Arc::clone(&snapshot.search_path),
            temp_schema: snapshot.temp_schema.clone(),
            merge_joins: snapshot.merge_joins,
            zone: snapshot.zone.clone(),
            types: types.into_iter().map(|known| known.filter(|known| is_settled(*known))).collect::<Option<_>>()?,
        })
    }

    /// A new plan, which is kept from now on.
    async fn plan_to_keep(&self, kept: &KeptPlan, seen: Seen, statement: &ast::Statement) -> Option<LogicalPlan> {
        let types: Vec<_> = seen.types.iter().copied().map(Some).collect();
        let statement = statement.clone();
        let planned = self.on_planner(move |attempt| attempt.plan_open_here(&statement, &types)).await;
        let plan = planned.ok().flatten();
        let to_keep = plan.as_ref().and_then(|plan| Some(Arc::new(without_tables(plan.clone()).ok()?)));
        kept.0.lock().found = Some(Found { seen, plan: to_keep });
        plan
    }

    /// The optimized plan of a statement with its parameters open; None where the values, the time or the session could make another one.
    fn plan_open_here(&self, statement: &ast::Statement, types: &[Option<SqlType>]) -> Result<Option<LogicalPlan>> {
        let plan = self.plan_typed_here(statement, types, None)?;
        if !may_be_kept(&plan, types.len())? {
            return Ok(None);
        }
        let plan = self.session.optimize(&plan)?;
        Ok(may_be_kept(&plan, types.len())?.then_some(plan))
    }

    /// The plan over the tables as this attempt sees them; None where one of them has another version.
    fn over_own_tables(&self, plan: &LogicalPlan) -> Option<LogicalPlan> {
        let mut same = true;
        let plan = plan.clone().transform_up(|node| {
            let LogicalPlan::TableScan(scan) = node else { return Ok(Transformed::no(node)) };
            let source: &dyn std::any::Any = scan.source.as_ref();
            let own = source.downcast_ref::<KeptTable>().and_then(|kept| self.snapshot.table_if(kept.id, &kept.known));
            let Some(own) = own else {
                same = false;
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source: provider_as_source(Arc::new(own)), ..scan })))
        });
        plan.data().ok().filter(|_| same)
    }

    /// The physical plan of a logical one whose parameters are open. Made by the thread that asks: there is little left to do.
    async fn plan_kept(&self, plan: LogicalPlan, parameters: Option<ParamValues>) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let plan = match parameters {
            None => plan,
            Some(parameters) => {
                let constants = SimplifyExpressions::new();
                let plan = plan.with_param_values(parameters)?;
                plan.transform_up(|node| constants.rewrite(node, self.session.as_ref())).data()?
            }
        };
        self.session.query_planner().create_physical_plan(&plan, self.session.as_ref()).await
    }
}

/// Types of which a value is what it is before anybody asks for it. Text becomes what it meets.
fn is_settled(known: SqlType) -> bool {
    use SqlType::{BigInt, Boolean, Date, Decimal, DoublePrecision, Integer, Real, SmallInt, Timestamp, TimestampTz};
    matches!(
        known,
        SmallInt | Integer | BigInt | Decimal { .. } | Real | DoublePrecision | Boolean | Date | Timestamp | TimestampTz
    )
}

/// Whether a plan is the same whenever it is made of the same definitions and tables. With parameters it reads one table at most: which join
/// is best may depend on their values; and they stand in conditions and columns of the result, not where the engine needs a number.
fn may_be_kept(plan: &LogicalPlan, parameters: usize) -> Result<bool> {
    let (mut nodes, mut tables, mut may) = (0, 0, true);
    plan.apply_with_subqueries(|node| {
        nodes += 1;
        may &= match node {
            LogicalPlan::TableScan(scan) => {
                tables += 1;
                source_as_provider(&scan.source).is_ok_and(|provider| provider.as_ref().is::<SliceTable>())
            }
            LogicalPlan::Join(_) | LogicalPlan::Union(_) | LogicalPlan::Subquery(_) => parameters == 0,
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::EmptyRelation(_) => true,
            _ => false,
        };
        let plain = matches!(node, LogicalPlan::Projection(_) | LogicalPlan::Filter(_));
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                may &= match part {
                    Expr::ScalarFunction(call) => {
                        call.func.signature().volatility == Volatility::Immutable && call.func.name() != PART
                    }
                    Expr::Placeholder(_) => plain,
                    Expr::ScalarVariable(..) => false,
                    // `now` is another moment each time.
                    Expr::Literal(value, _) => !asks_for_the_time(value),
                    _ => true,
                };
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(if may { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(may && nodes <= NODES_MAX && (parameters == 0 || tables <= 1))
}

/// The plan with nothing of its tables but what tells them.
fn without_tables(plan: LogicalPlan) -> EngineResult<LogicalPlan> {
    let light = |node: LogicalPlan| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(Transformed::no(node)) };
        let provider = source_as_provider(&scan.source)?;
        let Some(table) = provider.as_ref().downcast_ref::<SliceTable>() else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let (id, schema) = (table.definition().id, scan.source.schema());
        let source: Arc<dyn TableSource> = Arc::new(KeptTable { id, schema, known: Arc::downgrade(table.known_table()) });
        Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan })))
    };
    plan.transform_up(light).data()
}
