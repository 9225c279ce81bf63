//! Which plan nodes may cross to compute nodes, and whether they arrive as they left.
//!
//! What a plan's encoding leaves out is lost without a word: the compute node then answers another question. So a kind of node
//! crosses only when it stands in [`KINDS`], which says what the node is made of; and in builds with debug assertions every plan is
//! decoded again and compared with itself, attribute by attribute, before it is run: so all tests of queries test its encoding.

use crate::catalog::Table;
use crate::error::{Error, ErrorKind};
use crate::plan::{
    AssignExec, FileScanExec, OnlyTask0Exec, ResultSinkExec, SliceScanExec, SliceSinkExec, TpchScanExec, WithoutKeysExec,
    decode_fragment, encode_fragment, fragment_session,
};
use arrow::datatypes::{Field, Schema};
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::physical_expr::window::SlidingAggregateWindowExpr;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, PlainAggregateWindowExpr, WindowAggExec, WindowExpr};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, displayable};
use datafusion::prelude::SessionConfig;
use datafusion_distributed::NetworkBoundaryExt;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

type Plan = Arc<dyn ExecutionPlan>;
/// What a node is made of beside its inputs, as text: each attribute that decides on its rows.
type Attributes = fn(&Plan) -> Option<Vec<String>>;

macro_rules! attributes {
    ($node:ident: $kind:ty => $($attribute:expr),* $(,)?) => {
        |plan: &Plan| {
            let $node = plan.downcast_ref::<$kind>()?;
            Some(vec![$(format!("{}: {:?}", stringify!($attribute), $attribute)),*])
        }
    };
}

/// The kinds of nodes that may cross.
const KINDS: &[(&str, Attributes)] = &[
    ("FilterExec", attributes!(filter: FilterExec => filter.predicate(), filter.projection(), filter.fetch())),
    ("ProjectionExec", attributes!(projection: ProjectionExec => projection.expr())),
    (
        "AggregateExec",
        attributes!(aggregate: AggregateExec => aggregate.mode(), aggregate.group_expr(), aggregate.aggr_expr(),
            aggregate.filter_expr(), aggregate.limit_options()),
    ),
    (
        "HashJoinExec",
        attributes!(join: HashJoinExec => join.on(), join.filter(), join.join_type(), join.partition_mode(), join.projection,
            join.null_equality(), join.null_aware, join.fetch()),
    ),
    (
        "NestedLoopJoinExec",
        attributes!(join: NestedLoopJoinExec => join.filter(), join.join_type(), join.projection(), join.fetch()),
    ),
    (
        "SortMergeJoinExec",
        attributes!(join: SortMergeJoinExec => join.on(), join.filter(), join.join_type(), join.sort_options(), join.null_equality()),
    ),
    ("CrossJoinExec", |_| Some(Vec::new())),
    ("SortExec", attributes!(sort: SortExec => sort.expr(), sort.fetch(), sort.preserve_partitioning())),
    // The same with a fetch.
    ("SortExec(TopK)", attributes!(sort: SortExec => sort.expr(), sort.fetch(), sort.preserve_partitioning())),
    ("SortPreservingMergeExec", attributes!(merge: SortPreservingMergeExec => merge.expr(), merge.fetch())),
    ("GlobalLimitExec", attributes!(limit: GlobalLimitExec => limit.skip(), limit.fetch())),
    ("LocalLimitExec", attributes!(limit: LocalLimitExec => limit.fetch())),
    ("CoalescePartitionsExec", attributes!(merge: CoalescePartitionsExec => merge.fetch())),
    ("RepartitionExec", attributes!(repartition: RepartitionExec => repartition.partitioning(), repartition.preserve_order())),
    ("WindowAggExec", attributes!(window: WindowAggExec => window.window_expr(), window.partition_keys())),
    (
        "BoundedWindowAggExec",
        attributes!(window: BoundedWindowAggExec => window.window_expr(), window.partition_keys(), window.input_order_mode),
    ),
    (
        "UnnestExec",
        attributes!(unnest: UnnestExec => unnest.list_column_indices(), unnest.struct_column_indices(), unnest.options()),
    ),
    ("UnionExec", |_| Some(Vec::new())),
    ("CooperativeExec", |_| Some(Vec::new())),
    ("EmptyExec", |_| Some(Vec::new())),
    ("PlaceholderRowExec", |_| Some(Vec::new())),
    ("DataSourceExec", |plan| Some(vec![displayable(plan.as_ref()).one_line().to_string()])),
    ("LazyMemoryExec", |plan| Some(vec![displayable(plan.as_ref()).one_line().to_string()])),
    (
        "SliceScanExec",
        attributes!(scan: SliceScanExec => scan.source().table_id, columns(&scan.source().schema), scan.source().hash_column,
            scan.source().replicated, scan.projection(), scan.predicates(), scan.limit(), scan.lanes()),
    ),
    (
        "FileScanExec",
        attributes!(scan: FileScanExec => columns(&scan.schema), scan.format, scan.tasks, scan.projection, scan.lanes),
    ),
    ("TpchScanExec", attributes!(scan: TpchScanExec => scan.table, scan.scale, scan.tasks, scan.lanes, scan.projection)),
    (
        "SliceSinkExec",
        attributes!(sink: SliceSinkExec => definition(&sink.target().table), sink.target().slice_count, sink.target().transaction_id,
            sink.target().tasks),
    ),
    ("AssignExec", attributes!(assign: AssignExec => definition(assign.table()), assign.options(), assign.identities())),
    (
        "ResultSinkExec",
        attributes!(sink: ResultSinkExec => sink.target().secret, sink.target().owner, columns(&sink.target().schema)),
    ),
    ("OnlyTask0Exec", |plan| plan.downcast_ref::<OnlyTask0Exec>().map(|_| Vec::new())),
    ("WithoutKeysExec", |plan| plan.downcast_ref::<WithoutKeysExec>().map(|_| Vec::new())),
    ("BroadcastExec", |_| Some(Vec::new())),
    ("NetworkShuffleExec", |_| Some(Vec::new())),
    ("NetworkCoalesceExec", |_| Some(Vec::new())),
    ("NetworkBroadcastExec", |_| Some(Vec::new())),
];

static KIND_BY_NAME: LazyLock<HashMap<&str, Attributes>> = LazyLock::new(|| KINDS.iter().copied().collect());

/// Checks everything of `plan` that is going to run on compute nodes. `session` is the leader's.
pub fn check_crossing(plan: &Plan, session: &dyn Session) -> Result<()> {
    plan.apply(|node| {
        if node.as_network_boundary().is_none() {
            return Ok(TreeNodeRecursion::Continue);
        }
        for shipped in node.children() {
            check_kinds(shipped)?;
            if cfg!(debug_assertions) {
                check_round_trip(&fragment(shipped)?, &session.task_ctx())?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(|_| ())
}

/// What one message carries of a plan: down to the next boundaries, whose own messages carry the rest.
fn fragment(shipped: &Plan) -> Result<Plan> {
    let cut = |node: Plan| {
        if node.as_network_boundary().is_none() {
            return Ok(Transformed::no(node));
        }
        let partitions = node.output_partitioning().partition_count();
        let rest: Plan = Arc::new(EmptyExec::new(node.schema()).with_partitions(partitions));
        Ok(Transformed::new(rest, true, TreeNodeRecursion::Jump))
    };
    Ok(Arc::clone(shipped).transform_down(cut)?.data)
}

fn check_kinds(shipped: &Plan) -> Result<()> {
    shipped
        .apply(|node| {
            if !KIND_BY_NAME.contains_key(node.name()) {
                return Err(stays_here(node.name()).into());
            }
            let windows = node.downcast_ref::<WindowAggExec>().map(WindowAggExec::window_expr);
            let windows = windows.or_else(|| node.downcast_ref::<BoundedWindowAggExec>().map(BoundedWindowAggExec::window_expr));
            windows.into_iter().flatten().try_for_each(check_window)?;
            // What is below the next boundary is looked at on its own.
            Ok(if node.as_network_boundary().is_some() { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue })
        })
        .map(|_| ())
}

/// An aggregate that the engine turned round to fit its input's order would answer as itself.
fn check_window(window: &Arc<dyn WindowExpr>) -> Result<()> {
    let any = window.as_any();
    let plain = any.downcast_ref::<PlainAggregateWindowExpr>().map(PlainAggregateWindowExpr::get_aggregate_expr);
    let sliding = any.downcast_ref::<SlidingAggregateWindowExpr>().map(SlidingAggregateWindowExpr::get_aggregate_expr);
    match plain.or(sliding).filter(|aggregate| aggregate.is_reversed()) {
        Some(aggregate) => {
            let what = format!("\"{}\" over windows in opposite orders", aggregate.fun().name());
            Err(Error::not_supported(what, "compute each of them in a subquery of its own").into())
        }
        None => Ok(()),
    }
}

fn stays_here(name: &str) -> Error {
    let error = match name {
        "RecursiveQueryExec" | "WorkTableExec" => {
            Error::new(ErrorKind::NotSupported, "WITH RECURSIVE joined with a distributed table is not supported")
        }
        _ => Error::new(ErrorKind::NotSupported, format!("{name} over a distributed table is not supported")),
    };
    error.with_hint("keep its rows in a temporary table first: CREATE TEMP TABLE ... AS")
}

/// `shipped` as a compute node gets it, compared with itself.
fn check_round_trip(shipped: &Plan, context: &TaskContext) -> Result<()> {
    static FRAGMENT: LazyLock<SessionState> = LazyLock::new(|| fragment_session(SessionConfig::new(), Arc::default()).build());
    let context = TaskContext::from(&*FRAGMENT).with_session_config(context.session_config().clone());
    let bytes = encode_fragment(shipped, context.session_config())?;
    compare(shipped, &decode_fragment(&bytes, &context)?)
}

fn compare(left: &Plan, arrived: &Plan) -> Result<()> {
    let (sent, got) = (described(left), described(arrived));
    if sent != got {
        let (sent, got): (Vec<_>, Vec<_>) = std::iter::zip(&sent, &got).filter(|(sent, got)| sent != got).unzip();
        let message =
            format!("a plan changes on its way to the compute nodes: {} left as {sent:?} and came as {got:?}", left.name());
        return Err(Error::internal(message).into());
    }
    if left.children().len() != arrived.children().len() {
        return Err(Error::internal(format!("inputs of {} are lost on the way to the compute nodes", left.name())).into());
    }
    // UNION brings its inputs to one schema whenever it is made: with projections that only cast.
    let projections_count = !left.is::<UnionExec>();
    std::iter::zip(left.children(), arrived.children()).try_for_each(|(left, arrived)| match projections_count {
        true => compare(left, arrived),
        false => compare(unprojected(left), unprojected(arrived)),
    })
}

/// What stands below the projections on top of a plan.
fn unprojected(mut plan: &Plan) -> &Plan {
    while let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        plan = projection.input();
    }
    plan
}

fn described(node: &Plan) -> Vec<String> {
    let attributes = KIND_BY_NAME.get(node.name()).and_then(|attributes| attributes(node)).unwrap_or_default();
    let schema = node.schema();
    let fields = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
    let mut described = vec![
        format!("name: {}", node.name()),
        format!("fields: {}", fields.collect::<Vec<_>>().join(", ")),
        format!("partitions: {}", node.output_partitioning().partition_count()),
    ];
    // What says nothing about rows: the schema an aggregate was planned over, and what the leader knows of a field beside its type.
    // A CASE's way of evaluation follows from the rest of it.
    const SILENT: &[&str] =
        &[", schema: Schema {", ", metadata: {", ", eval_method: WithExprScalarLookupTable(LiteralLookupTable {"];
    let spoken = |text: &String| type_alone(&SILENT.iter().fold(text.clone(), |text, silent| without(&text, silent)));
    described.extend(attributes.iter().map(spoken));
    described
}

/// A schema with all it says, in a fixed order.
fn columns(schema: &Schema) -> Vec<String> {
    let metadata = |field: &Field| {
        field.metadata().iter().collect::<BTreeMap<_, _>>().into_iter().map(|pair| format!("{pair:?}")).collect::<String>()
    };
    let column = |field: &Field| format!("{} {} {} {}", field.name(), field.data_type(), field.is_nullable(), metadata(field));
    schema.fields().iter().map(|field| column(field.as_ref())).collect()
}

/// A table as the nodes need it: the next column's number is the leader's.
fn definition(table: &Table) -> Table {
    Table { next_column_id: Default::default(), ..table.clone() }
}

/// `text` without each part that begins with `opening`, an open brace at its end, and ends with the brace's partner.
fn without(text: &str, opening: &str) -> String {
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once(opening) {
        left.push_str(before);
        rest = behind_partner(inside);
    }
    left + rest
}

/// Of the target of a cast only its type counts, and whether a field may be NULL says nothing about the rows there are.
fn type_alone(text: &str) -> String {
    const TARGET: &str = "target_field: Field { name: \"";
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, named)) = rest.split_once(TARGET) {
        left.push_str(before);
        left.push_str(TARGET);
        rest = named.find("\", data_type").map_or(named, |end| &named[end..]);
    }
    left.push_str(rest);
    for silent in [", nullable: true", ", nullable: false", ", explicit_target: true", ", explicit_target: false"] {
        left = left.replace(silent, "");
    }
    left
}

/// What stands behind the brace that closes the one before `inside`; braces in quotes do not count.
fn behind_partner(inside: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (1_usize, false, false);
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted && depth > 1 => depth -= 1,
            b'}' if !quoted => return &inside[at + 1..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_braces_are_left_out() {
        let text =
            "A { x: 1, schema: Schema { fields: [\"a } \\\" {\"], metadata: {} }, y: F { n: 2, metadata: {\"k\": \"v\"} } }";
        let left = without(&without(text, ", schema: Schema {"), ", metadata: {");
        assert_eq!(left, "A { x: 1, y: F { n: 2 } }");
    }
}
