//! The engine's sessions: what one query is planned and run in, over one snapshot.

use super::Snapshot;
use super::backend_functions::{self, Signals};
use super::clock_functions;
use super::relations::{CATALOG, FUNCTIONS_SCHEMA, RelationCatalogs};
use super::tpch_function::{TPCH_FUNCTION, TpchFunction};
use crate::plan::known_tables::KnownTables;
use crate::plan::planner::{local_state, query_state};
use crate::plan::semantics;
use crate::plan::subqueries::SubqueriesToJoins;
use crate::plan::tight::TightComparisons;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use slipher_common::channels::NodeChannels;
use slipher_common::{Result, functions};
use std::sync::Arc;

/// What a row of a join's side weighs where its size is known better than its rows.
const BROADCAST_ROW_BYTES: usize = 8;

/// Makes the engine's sessions.
#[derive(Debug)]
pub(crate) struct EngineSessions {
    /// Connections to compute nodes.
    pub(crate) channels: NodeChannels,
    /// Lanes of every task.
    pub(crate) lanes: usize,
    /// A join's side of at most so many estimated rows is copied to every node.
    pub(crate) broadcast_rows_max: usize,
    /// The leader's own memory for queries.
    pub(crate) runtime: Arc<RuntimeEnv>,
    /// What was worked out of tables.
    pub(crate) known_tables: KnownTables,
    /// Reaches other sessions.
    pub(crate) signals: Arc<dyn Signals>,
}

impl EngineSessions {
    /// The engine's session over a snapshot.
    pub(crate) fn session(&self, snapshot: &Arc<Snapshot>, collect_metrics: bool) -> Result<SessionState> {
        let disabled = &snapshot.disabled_rules;
        let runtime = Arc::clone(&self.runtime);
        let mut session = match &snapshot.query {
            Ok(query) => query_state(Arc::clone(query), self.channels.clone(), runtime, collect_metrics, disabled)?,
            Err(_) => local_state(self.lanes, runtime).build(),
        };
        session.register_catalog_list(Arc::new(RelationCatalogs(Arc::clone(snapshot))));
        let options = session.config_mut().options_mut();
        options.catalog.default_catalog = CATALOG.to_owned();
        options.optimizer.prefer_hash_join = !snapshot.merge_joins;
        options.optimizer.hash_join_single_partition_threshold_rows = self.broadcast_rows_max;
        options.optimizer.hash_join_single_partition_threshold = self.broadcast_rows_max.saturating_mul(BROADCAST_ROW_BYTES);
        options.catalog.default_schema = FUNCTIONS_SCHEMA.to_owned();
        functions::register(&mut session)?;
        semantics::register(&mut session)?;
        session.add_analyzer_rule(Arc::new(TightComparisons));
        // Last: it joins by outer values byte for byte, and those joins are no comparisons of the user's.
        session.add_analyzer_rule(Arc::new(SubqueriesToJoins));
        backend_functions::register(&mut session, snapshot, &self.signals)?;
        clock_functions::register(&mut session, snapshot.clock)?;
        session.mark_start_execution();
        session.register_udtf(TPCH_FUNCTION, Arc::new(TpchFunction(snapshot.query.clone())));
        Ok(session)
    }
}
