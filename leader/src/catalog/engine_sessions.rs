//! The engine's sessions: what one query is planned and run in, over one snapshot. Each is a copy of a prototype that has all functions and rules
//! already. What was worked out of tables and views for one statement is here for the next one.

use super::Snapshot;
use super::backend_functions::{self, Signals};
use super::clock_functions;
use super::relations::{CATALOG, FUNCTIONS_SCHEMA, RelationCatalogs};
use super::session_functions;
use super::tpch_function::{TPCH_FUNCTION, TpchFunction};
use crate::plan::disabled_rules::DisabledRules;
use crate::plan::held::HeldValues;
use crate::plan::in_zone::InZone;
use crate::plan::known_tables::KnownTables;
use crate::plan::planner::{local_state, prepare_for, query_prototype};
use crate::plan::semantics;
use crate::plan::subqueries::SubqueriesToJoins;
use crate::plan::super_options::SuperOptions;
use crate::plan::tight::TightComparisons;
use crate::plan::window_keys::PlainPartitions;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::sql::sqlparser::ast;
use parking_lot::Mutex;
use slipher_common::catalog::View;
use slipher_common::channels::NodeChannels;
use slipher_common::ids::TableId;
use slipher_common::manifest::ReadsDetails;
use slipher_common::{Result, functions};
use std::collections::HashMap;
use std::sync::Arc;

/// What a row of a join's side weighs where its size is known better than its rows.
const BROADCAST_ROW_BYTES: usize = 8;
/// Prototypes that are kept; sessions that leave rules out are rare.
const PROTOTYPES_MAX: usize = 16;
/// Views whose queries are kept parsed.
const VIEWS_MAX: usize = 4096;

/// What sessions are made with.
#[derive(Debug)]
pub(crate) struct EngineSettings {
    /// Connections to compute nodes.
    pub(crate) channels: NodeChannels,
    /// Partitions that the leader works on at a time.
    pub(crate) lanes: usize,
    /// Lanes of every task; None: as many as its node works on.
    pub(crate) node_lanes: Option<usize>,
    /// A join's side of at most so many estimated rows is copied to every node.
    pub(crate) broadcast_rows_max: usize,
    /// The leader's own memory for queries.
    pub(crate) runtime: Arc<RuntimeEnv>,
    /// Reaches other sessions.
    pub(crate) signals: Arc<dyn Signals>,
    /// Where details of segments are read.
    pub(crate) details: Arc<dyn ReadsDetails>,
}

/// A view and its query.
type ParsedView = (Arc<View>, Arc<ast::Statement>);

/// Makes the engine's sessions.
#[derive(Debug)]
pub(crate) struct EngineSessions {
    settings: EngineSettings,
    /// What was worked out of tables.
    pub(crate) known_tables: KnownTables,
    prototypes: Mutex<Vec<(Kind, Arc<SessionState>)>>,
    parsed_views: Mutex<HashMap<TableId, ParsedView>>,
}

/// What makes prototypes different.
#[derive(Clone, Debug, PartialEq)]
struct Kind {
    /// Lanes, where there are nodes to run on.
    lanes: Option<usize>,
    collect_metrics: bool,
    merge_joins: bool,
    disabled: DisabledRules,
}

impl EngineSessions {
    /// Of a leader that starts.
    pub(crate) fn new(settings: EngineSettings) -> Self {
        let known_tables = KnownTables::new(Arc::clone(&settings.details));
        Self { settings, known_tables, prototypes: Mutex::default(), parsed_views: Mutex::default() }
    }

    /// Lanes of every task; None: as many as its node works on.
    pub(crate) fn node_lanes(&self) -> Option<usize> {
        self.settings.node_lanes
    }

    /// The engine's session over a snapshot.
    pub(crate) fn session(&self, snapshot: &Arc<Snapshot>, collect_metrics: bool) -> Result<SessionState> {
        let kind = Kind {
            lanes: snapshot.query.as_ref().ok().map(|query| query.layout.lanes),
            collect_metrics,
            merge_joins: snapshot.merge_joins,
            disabled: snapshot.disabled_rules.clone(),
        };
        let mut session = SessionState::clone(&*self.prototype(kind)?);
        if let Ok(query) = &snapshot.query {
            prepare_for(&mut session, query)?;
        }
        if snapshot.super_options != SuperOptions::default() {
            session.config_mut().options_mut().extensions.insert(snapshot.super_options.clone());
        }
        session.register_catalog_list(Arc::new(RelationCatalogs(Arc::clone(snapshot))));
        backend_functions::register(&mut session, snapshot, &self.settings.signals)?;
        let now_micros = snapshot.clock.transaction.timestamp_micros();
        session.add_analyzer_rule(Arc::new(InZone { zone: snapshot.zone.clone(), now_micros }));
        clock_functions::register(&mut session, snapshot.clock, snapshot.zone.as_deref())?;
        session_functions::register(&mut session, snapshot)?;
        session.mark_start_execution();
        session.register_udtf(TPCH_FUNCTION, Arc::new(TpchFunction(snapshot.query.clone())));
        Ok(session)
    }

    fn prototype(&self, kind: Kind) -> Result<Arc<SessionState>> {
        if let Some((_, known)) = self.prototypes.lock().iter().find(|(known, _)| *known == kind) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(self.new_prototype(&kind)?);
        let mut prototypes = self.prototypes.lock();
        if prototypes.len() >= PROTOTYPES_MAX {
            prototypes.remove(0);
        }
        prototypes.push((kind, Arc::clone(&made)));
        Ok(made)
    }

    fn new_prototype(&self, kind: &Kind) -> Result<SessionState> {
        let EngineSettings { channels, lanes, broadcast_rows_max, runtime, .. } = &self.settings;
        let runtime = Arc::clone(runtime);
        let mut session = match kind.lanes {
            Some(lanes) => query_prototype(lanes, channels.clone(), runtime, kind.collect_metrics, &kind.disabled)?,
            None => local_state(*lanes, runtime).build(),
        };
        let options = session.config_mut().options_mut();
        options.catalog.default_catalog = CATALOG.to_owned();
        options.optimizer.prefer_hash_join = !kind.merge_joins;
        options.optimizer.hash_join_single_partition_threshold_rows = *broadcast_rows_max;
        options.optimizer.hash_join_single_partition_threshold = broadcast_rows_max.saturating_mul(BROADCAST_ROW_BYTES);
        options.catalog.default_schema = FUNCTIONS_SCHEMA.to_owned();
        functions::register(&mut session)?;
        semantics::register(&mut session)?;
        session.add_analyzer_rule(Arc::new(TightComparisons));
        session.add_analyzer_rule(Arc::new(HeldValues));
        // After all that compares: it joins by outer values byte for byte, and those joins are no comparisons of the user's.
        session.add_analyzer_rule(Arc::new(SubqueriesToJoins));
        session.add_analyzer_rule(Arc::new(PlainPartitions));
        Ok(session)
    }

    /// The query of a view. A view that is changed is another one.
    pub(super) fn query_of(&self, view: &Arc<View>) -> Result<Arc<ast::Statement>> {
        if let Some((_, query)) = self.parsed_views.lock().get(&view.id).filter(|(known, _)| Arc::ptr_eq(known, view)) {
            return Ok(Arc::clone(query));
        }
        let query = Arc::<ast::Statement>::from(slipher_sql::embedded::query(&view.query)?);
        let mut parsed = self.parsed_views.lock();
        if parsed.len() >= VIEWS_MAX {
            parsed.clear();
        }
        parsed.insert(view.id, (Arc::clone(view), Arc::clone(&query)));
        Ok(query)
    }
}
