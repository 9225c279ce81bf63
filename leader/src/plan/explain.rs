//! EXPLAIN: the plan in Redshift's words, with what each join moved; EXPLAIN ANALYZE: rows, time and bytes per stage, task and slice.

use super::window_keys::PARTITION_KEY;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion_distributed::{
    BroadcastExec, DistributedExec, DistributedLeafExec, NetworkBoundaryExt, NetworkBroadcastExec, NetworkCoalesceExec,
    NetworkShuffleExec, display_plan_ascii,
};
use slipher_common::Result;
use slipher_common::plan::{OnlyTask0Exec, SliceScanExec, WithoutKeysExec};
use std::sync::Arc;

type Plan = Arc<dyn ExecutionPlan>;

/// Rows of a leaf without statistics.
const ROWS_UNKNOWN: f64 = 1.0;

/// What a join moved over the network, in Redshift's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Movement {
    /// Both sides lie by the join key.
    DistNone,
    /// The inner (build) side is a copy on every node.
    DistAllNone,
    /// The inner side is shuffled.
    DistInner,
    /// The outer (probe) side is shuffled.
    DistOuter,
    /// The inner side is copied to every node.
    BcastInner,
    /// Both sides are shuffled.
    DistBoth,
    /// Both sides are gathered in one task.
    DistAllInner,
}

impl Movement {
    fn label(self) -> &'static str {
        match self {
            Self::DistNone => "DS_DIST_NONE",
            Self::DistAllNone => "DS_DIST_ALL_NONE",
            Self::DistInner => "DS_DIST_INNER",
            Self::DistOuter => "DS_DIST_OUTER",
            Self::BcastInner => "DS_BCAST_INNER",
            Self::DistBoth => "DS_DIST_BOTH",
            Self::DistAllInner => "DS_DIST_ALL_INNER",
        }
    }
}

/// The lines of EXPLAIN. `verbose` adds the engine's own plan, stage by stage.
pub(crate) fn explain(plan: &Plan, verbose: bool) -> Result<Vec<String>> {
    let mut lines = outline(plan);
    if verbose {
        lines.push(String::new());
        let stages = match plan.downcast_ref::<DistributedExec>() {
            Some(_) => display_plan_ascii(plan.as_ref(), false),
            None => displayable(plan.as_ref()).indent(true).to_string(),
        };
        lines.extend(stages.lines().map(str::to_owned));
    }
    Ok(lines)
}

/// Children with the boundaries' and leaves' contents in place of them.
pub(super) fn inputs(plan: &Plan) -> Vec<Plan> {
    if let Some(boundary) = plan.as_network_boundary() {
        return boundary.input_stage().local_plan().into_iter().map(Arc::clone).collect();
    }
    plan.children().into_iter().map(Arc::clone).collect()
}

/// Shows `plan` and everything below it to `look`, through network boundaries.
pub(crate) fn visit(plan: &Plan, look: &mut impl FnMut(&Plan)) {
    look(plan);
    for input in inputs(plan) {
        visit(&input, look);
    }
}

/// The scan inside a leaf that has one variant per task.
fn leaf(plan: &Plan) -> &Plan {
    plan.downcast_ref::<DistributedLeafExec>().map_or(plan, DistributedLeafExec::original)
}

/// What the join moved; `None` for a node that is no join.
pub(crate) fn movement(plan: &Plan) -> Option<Movement> {
    let (build, probe, partitioned) = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        (join.left(), join.right(), matches!(join.partition_mode(), PartitionMode::Partitioned))
    } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        (join.left(), join.right(), false)
    } else if let Some(join) = plan.downcast_ref::<CrossJoinExec>() {
        (join.left(), join.right(), false)
    } else {
        return None;
    };
    let (build, probe) = (exchange_below(build), exchange_below(probe));
    Some(match (partitioned, build, probe) {
        (true, Exchange::Shuffle, Exchange::Shuffle) => Movement::DistBoth,
        (true, Exchange::Shuffle, _) => Movement::DistInner,
        (true, _, Exchange::Shuffle) => Movement::DistOuter,
        (true, _, _) => Movement::DistNone,
        (false, Exchange::Broadcast, _) => Movement::BcastInner,
        (false, Exchange::Gather, _) | (false, _, Exchange::Gather) => Movement::DistAllInner,
        (false, _, _) => Movement::DistAllNone,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Exchange {
    None,
    Shuffle,
    Broadcast,
    Gather,
}

/// The first network boundary below `plan` through nodes that leave rows where they are.
fn exchange_below(plan: &Plan) -> Exchange {
    if plan.is::<NetworkShuffleExec>() {
        return Exchange::Shuffle;
    }
    if plan.is::<NetworkBroadcastExec>() {
        return Exchange::Broadcast;
    }
    if plan.is::<NetworkCoalesceExec>() {
        return Exchange::Gather;
    }
    match plan.children().as_slice() {
        [child] if !plan.is::<AggregateExec>() => exchange_below(child),
        _ => Exchange::None,
    }
}

/// The plan in Redshift's words.
pub(crate) fn outline(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    render(plan, 0, &mut lines);
    lines
}

/// One line per node that a Redshift user knows; nodes that only move batches have none.
fn render(plan: &Plan, depth: usize, lines: &mut Vec<String>) {
    let plan = leaf(plan);
    let below = match title(plan) {
        Some(title) => {
            // PostgreSQL's layout: two blanks, then six for each further level.
            let indent = if depth == 0 { 0 } else { 2 + 6 * (depth - 1) };
            let arrow = if depth == 0 { "" } else { "->  " };
            lines.push(format!("{:indent$}{arrow}XN {title}  ({})", "", cost(plan)));
            let indent = indent + if depth == 0 { 2 } else { 6 };
            lines.extend(details(plan).into_iter().map(|detail| format!("{:indent$}{detail}", "")));
            depth + 1
        }
        None => depth,
    };
    for input in inputs(plan) {
        render(&input, below, lines);
    }
}

fn title(plan: &Plan) -> Option<String> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let label = movement(plan).map(Movement::label).unwrap_or_default();
        return Some(format!("Hash {} {label}", join_words(&join.join_type().to_string())));
    }
    if plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>() {
        return Some(format!("Nested Loop {}", movement(plan).map(Movement::label).unwrap_or_default()));
    }
    if let Some(scan) = plan.downcast_ref::<SliceScanExec>() {
        return Some(format!("Seq Scan on {}", scan.source().table_name));
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let partial = if matches!(aggregate.mode(), AggregateMode::Partial) { "Partial " } else { "" };
        let kind = if aggregate.group_expr().is_empty() { "Aggregate" } else { "HashAggregate" };
        return Some(format!("{partial}{kind}"));
    }
    if plan.is::<SortExec>() {
        return Some("Sort".to_owned());
    }
    if plan.is::<SortPreservingMergeExec>() {
        return Some("Merge".to_owned());
    }
    if plan.is::<GlobalLimitExec>() || plan.is::<LocalLimitExec>() {
        return Some("Limit".to_owned());
    }
    if plan.is::<NetworkCoalesceExec>() {
        return Some("Network (Send to Leader)".to_owned());
    }
    if plan.is::<NetworkShuffleExec>() {
        return Some("Network (Distribute)".to_owned());
    }
    if plan.is::<NetworkBroadcastExec>() {
        return Some("Network (Broadcast)".to_owned());
    }
    if plan.is::<UnionExec>() {
        return Some("Append".to_owned());
    }
    let silent = plan.is::<DistributedExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<FilterExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<BroadcastExec>()
        || plan.is::<OnlyTask0Exec>()
        || plan.is::<WithoutKeysExec>()
        || plan.name() == "CooperativeExec"
        || plan.name() == "CoalesceBatchesExec";
    (!silent).then(|| plan.name().trim_end_matches("Exec").to_owned())
}

fn join_words(join_type: &str) -> String {
    match join_type {
        "Inner" => "Join".to_owned(),
        "LeftSemi" | "RightSemi" => "Semi Join".to_owned(),
        "LeftAnti" | "RightAnti" => "Anti Join".to_owned(),
        "LeftMark" | "RightMark" => "Mark Join".to_owned(),
        other => format!("{other} Join"),
    }
}

/// An expression without the column indexes that the engine prints behind names.
fn plain(expression: impl std::fmt::Display) -> String {
    let text = expression.to_string().replace(PARTITION_KEY, "");
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter == '@' && rest.peek().is_some_and(char::is_ascii_digit) {
            while rest.next_if(char::is_ascii_digit).is_some() {}
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// A number with commas between groups of three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

fn details(plan: &Plan) -> Vec<String> {
    let mut details = Vec::new();
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let conditions: Vec<String> = join.on().iter().map(|(left, right)| plain(format_args!("{left} = {right}"))).collect();
        details.push(format!("Hash Cond: ({})", conditions.join(" AND ")));
        if let Some(filter) = join.filter() {
            details.push(format!("Join Filter: {}", plain(filter.expression())));
        }
    }
    if let Some(scan) = plan.downcast_ref::<SliceScanExec>()
        && !scan.predicates().is_empty()
    {
        let filters: Vec<String> = scan.predicates().iter().map(plain).collect();
        details.push(format!("Filter: ({})", filters.join(" AND ")));
    }
    if let Some(segments) = plan.downcast_ref::<SliceScanExec>().and_then(|scan| scan.source().segments.as_ref()) {
        let (read, all) = segments.counts();
        details.push(format!("segments {} of {}", grouped(read), grouped(all)));
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        details.push(format!("Sort Key: {}", plain(sort.expr())));
    }
    details
}

/// Estimated rows and width. The cost is the number of rows below and including the node: good for comparing plans, no time.
fn cost(plan: &Plan) -> String {
    let rows = estimated_rows(plan);
    let below = inputs(plan).iter().map(total_rows).fold(0.0, |sum, rows| sum + rows);
    let width: usize = plan.schema().fields().iter().map(|field| field.data_type().primitive_width().unwrap_or(32)).sum();
    format!("cost={below:.2}..{:.2} rows={rows:.0} width={width}", below + rows)
}

/// What the engine estimates; where it knows nothing, as above a network boundary, what the largest input has.
pub(crate) fn estimated_rows(plan: &Plan) -> f64 {
    let plan = leaf(plan);
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new());
    if let Some(rows) = statistics.ok().and_then(|known| known.num_rows.get_value().copied()) {
        return rows as f64;
    }
    inputs(plan).iter().map(estimated_rows).fold(ROWS_UNKNOWN, f64::max)
}

fn total_rows(plan: &Plan) -> f64 {
    let plan = leaf(plan);
    inputs(plan).iter().map(total_rows).fold(estimated_rows(plan), |sum, rows| sum + rows)
}
