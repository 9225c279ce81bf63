//! The engine's planner with Slipher's passes: physical plan, then `align`, then the boundaries are numbered and shipped.

use crate::plan::aggregate_rules::with_aggregate_rules;
use crate::plan::align::align;
use crate::plan::all_tables::JoinAllTablesLocally;
use crate::plan::context::{DirectResults, QueryContext};
use crate::plan::date_bounds::DateBounds;
use crate::plan::disabled_rules::DisabledRules;
use crate::plan::equal_windows::EqualWindows;
use crate::plan::false_orders::{FalseOrders, with_unique_keys};
use crate::plan::filters_above::optimizer_rules;
use crate::plan::first_rows::with_first_rows;
use crate::plan::grouping_sets::with_plain_keys;
use crate::plan::held_casts::HeldCasts;
use crate::plan::join_keys::JoinKeys;
use crate::plan::join_order::{JoinOrder, OneMatch};
use crate::plan::kept_keys::with_kept_keys;
use crate::plan::literals::with_typed_literals;
use crate::plan::parts::parts_to_travel;
use crate::plan::plain_filters::with_plain_filters;
use crate::plan::scan_filters::{JOIN_SELECTION, SEGMENT_PRUNING, with_filters_in_scans};
use crate::plan::semantics::{CastsAreOurs, type_planner, with_windows_by_length};
use crate::plan::sorted_merges::with_sorted_merges;
use crate::plan::yielding::JoinsYield;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::OptimizerRule;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast;
use datafusion_distributed::{
    DistributedExt, DistributedLeafExec, RouteTasksEvent, ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse,
    SessionStateBuilderExt, WorkerResolver,
};
use slipher_common::channels::NodeChannels;
use slipher_common::fence::FENCE_HEADER;
use slipher_common::plan::{
    BACKGROUND_HEADER, QUERY_ID_HEADER, SliceScanExec, SlipherCodec, WHOLE_MEMORY_HEADER, check_crossing,
};
use std::sync::Arc;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

/// The engine's rule for common expressions.
const COMMON_EXPRESSIONS: &str = "common_sub_expression_eliminate";

/// Plans with [`QueryContext`] from the session's extensions.
#[derive(Debug)]
struct SlicePlanner;

#[async_trait]
impl QueryPlanner for SlicePlanner {
    async fn create_physical_plan(&self, logical: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let logical = parts_to_travel(logical)?;
        let plan = DefaultPhysicalPlanner::default().create_physical_plan(&logical, session).await?;
        match session.config().get_extension::<QueryContext>() {
            Some(query) => {
                let direct = session.config().get_extension::<DirectResults>();
                let plan = align(plan, &query, session.config().options(), direct.as_deref())?;
                check_crossing(&plan, session)?;
                Ok(plan)
            }
            None => Ok(plan),
        }
    }
}

struct TaskUrls(Arc<Vec<Url>>);

impl WorkerResolver for TaskUrls {
    fn get_urls(&self) -> Result<Vec<Url>> {
        Ok(self.0.as_ref().clone())
    }
}

/// The settings that distributed plans need to be right; engine-notes A1 and A7 give the reason of each.
pub(crate) fn engine_config(lanes: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(lanes)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(slipher_common::catalog::DATABASE, slipher_common::catalog::PUBLIC_SCHEMA);
    let options = config.options_mut();
    slipher_common::plan::apply_engine_options(options);
    // 1.5 is a NUMERIC, as in Redshift; a float would lose digits beside DECIMAL columns.
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.dialect = datafusion::common::config::Dialect::Redshift;
    config
}

/// A session for statements that touch no slices: expressions and the leader's own tables.
pub(crate) fn local_state(lanes: usize, runtime: Arc<RuntimeEnv>) -> SessionStateBuilder {
    SessionStateBuilder::new()
        .with_config(engine_config(lanes))
        .with_runtime_env(runtime)
        .with_default_features()
        .with_analyzer_rule(Arc::new(CastsAreOurs))
        .with_type_planner(type_planner())
        .with_optimizer_rules(with_join_keys(general_rules()))
        .with_physical_optimizer_rules(engine_rules())
}

/// The engine's physical rules, where they are wrong in ours.
fn engine_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules =
        with_unique_keys(with_first_rows(with_aggregate_rules(with_plain_filters(PhysicalOptimizer::default().rules))));
    rules.insert(0, Arc::new(FalseOrders));
    rules
}

/// The logical plan of a statement: keys of grouping sets first, as they are known by their names as they are written; then windows over
/// intervals, and literals get their types.
pub(crate) async fn logical_plan(session: &SessionState, statement: Box<ast::Statement>) -> Result<LogicalPlan> {
    let plan = session.statement_to_plan(EngineStatement::Statement(statement)).await?;
    with_typed_literals(with_windows_by_length(with_plain_keys(plan)?)?)
}

/// What sessions of queries are copies of: all that no query changes.
pub(crate) fn query_prototype(
    lanes: usize,
    channels: NodeChannels,
    runtime: Arc<RuntimeEnv>,
    collect_metrics: bool,
    disabled: &DisabledRules,
) -> Result<SessionState> {
    let mut rules = with_filters_in_scans(engine_rules(), disabled.keep(SEGMENT_PRUNING));
    let after_selection = rules.iter().position(|rule| rule.name() == JOIN_SELECTION).map_or(rules.len(), |index| index + 1);
    rules.insert(after_selection, Arc::new(JoinAllTablesLocally));
    let mut rules = with_sorted_merges(rules);
    rules.push(Arc::new(JoinsYield));
    rules.retain(|rule| disabled.keep(rule.name()));
    let builder = SessionStateBuilder::new()
        .with_config(engine_config(lanes))
        .with_runtime_env(runtime)
        .with_default_features()
        .with_analyzer_rule(Arc::new(CastsAreOurs))
        .with_type_planner(type_planner())
        .with_optimizer_rules(logical_rules(disabled))
        .with_physical_optimizer_rules(rules)
        .with_query_planner(Arc::new(SlicePlanner))
        .with_distributed_planner()
        .with_distributed_user_codec(SlipherCodec)
        .with_distributed_channel_resolver(channels)
        .with_distributed_scale_up_leaf_node_handler(one_scan_per_task)
        .with_distributed_compression(None)?
        .with_distributed_children_isolator_unions(false)?
        .with_distributed_broadcast_joins(false)?
        .with_distributed_dynamic_task_count(false)?
        .with_distributed_metrics_collection(collect_metrics)?;
    Ok(builder.build())
}

/// Makes a copy of a prototype the session of one query, over `query`'s layout.
pub(crate) fn prepare_for(session: &mut SessionState, query: &Arc<QueryContext>) -> Result<()> {
    let routing = Arc::clone(query);
    session.config_mut().set_extension(Arc::clone(query));
    session.set_distributed_passthrough_headers(query_headers(query)?)?;
    session.set_distributed_worker_resolver(TaskUrls(Arc::clone(&query.addresses)));
    session.set_distributed_route_tasks_handler(move |event: RouteTasksEvent<'_>| routing.route(&event));
    session.set_distributed_max_tasks_per_stage(query.layout.tasks())
}

/// The engine's logical optimizer, where it is wrong in ours.
fn general_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = with_kept_keys(optimizer_rules());
    let common = rules.iter().position(|rule| rule.name() == COMMON_EXPRESSIONS).unwrap_or(rules.len());
    rules.insert(common, Arc::new(EqualWindows));
    rules.push(Arc::new(HeldCasts));
    rules
}

/// The same with our rules at its end, without those that the session leaves out.
fn logical_rules(disabled: &DisabledRules) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = general_rules();
    rules.push(Arc::new(DateBounds));
    rules.push(Arc::new(JoinOrder));
    rules.push(Arc::new(OneMatch));
    rules = with_join_keys(rules);
    rules.retain(|rule| disabled.keep(rule.name()));
    rules
}

/// `rules`, and the one that must come after all that make joins.
fn with_join_keys(mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    rules.push(Arc::new(JoinKeys));
    rules
}

/// A scan of slices becomes one scan per task, each with its own segments.
fn one_scan_per_task(event: ScaleUpLeafNodeEvent<'_>) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
    let scan = event.plan.downcast_ref::<SliceScanExec>()?;
    let variants = (0..event.task_count).map(|task| Arc::new(scan.for_task(task)) as Arc<dyn ExecutionPlan>);
    let leaf = DistributedLeafExec::try_new(Arc::clone(event.plan), variants);
    Some(leaf.map(|leaf| ScaleUpLeafNodeEventResponse::new(Arc::new(leaf))))
}

/// The query's name and trace, for its tasks on compute nodes.
pub(crate) fn query_headers(query: &QueryContext) -> Result<HeaderMap> {
    let value = HeaderValue::from_str(&query.query_id)
        .map_err(|error| slipher_common::Error::internal(format!("query id \"{}\": {error}", query.query_id)))?;
    let mut headers = HeaderMap::from_iter([(HeaderName::from_static(QUERY_ID_HEADER), value)]);
    if query.background {
        headers.insert(HeaderName::from_static(BACKGROUND_HEADER), HeaderValue::from_static("1"));
    }
    if query.whole_memory {
        headers.insert(HeaderName::from_static(WHOLE_MEMORY_HEADER), HeaderValue::from_static("1"));
    }
    if let Some(fence) = &query.fence {
        let value = HeaderValue::from_str(&fence.to_string());
        let value = value.map_err(|error| slipher_common::Error::internal(format!("the header of a query: {error}")))?;
        headers.insert(HeaderName::from_static(FENCE_HEADER), value);
    }
    for (name, value) in slipher_common::trace::headers() {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    Ok(headers)
}
