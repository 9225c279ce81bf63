//! VACUUM of one table or of all; says what it did.

use super::{Effect, Executes, Running};
use crate::context::{Block, Context, Requires};
use crate::frontend::Outcome;
use crate::transaction::Scope;
use crate::upkeep::{self, Choice};
use datafusion::common::ParamValues;
use slipher_common::catalog::Table;
use slipher_common::ids::TableId;
use slipher_common::{Error, ErrorKind};
use slipher_sql::{QualifiedName, VacuumKind};
use tokio_util::sync::CancellationToken;

/// VACUUM.
pub(super) struct Vacuum<'a> {
    /// One table, or all.
    pub(super) table: Option<&'a QualifiedName>,
    pub(super) kind: VacuumKind,
    pub(super) sorted_percent: u64,
    pub(super) boost: bool,
}

impl Executes for Vacuum<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn requires(&self) -> Requires<'_> {
        match self.table {
            Some(table) => Requires::Tables { names: vec![table], adds_rows: false },
            None => Requires::Nothing,
        }
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            if !matches!(*context.block.lock(), Block::None) {
                return Err(Error::new(ErrorKind::ActiveTransaction, "VACUUM cannot run inside a transaction block"));
            }
            let choice = Choice::Asked { kind: self.kind, sorted_percent: self.sorted_percent };
            let boost = self.boost || context.settings.lock().is_on("enable_vacuum_boost");
            let scope = Scope { background: !boost, ..context.scope()? };
            let tables: Vec<(TableId, String)> = match self.table {
                Some(name) => {
                    let attempt = context.attempt(false)?;
                    let found = attempt.snapshot.table(name)?;
                    vec![(found.table.id, found.table.to_string())]
                }
                None => {
                    let state = scope.state();
                    let here = |table: &Table| table.database == context.database && context.sees(&table.schema);
                    let seen = state.tables().values().filter(|found| here(&found.table));
                    seen.map(|found| (found.table.id, found.table.to_string())).collect()
                }
            };
            let mut notices = Vec::new();
            for (table, shown) in tables {
                let done = match upkeep::vacuum(&context.shared.upkeep_tools(), &scope, table, choice).await {
                    // Of all tables, one may be dropped meanwhile.
                    Err(error) if self.table.is_none() && error.kind == ErrorKind::UndefinedTable => continue,
                    done => done?,
                };
                if let Some(done) = done {
                    let (segments, bytes) = (done.segments, done.bytes);
                    notices.push(format!(
                        "table \"{shown}\": {} segments became {}, {} deleted rows are gone, {} bytes reclaimed",
                        segments.0,
                        segments.1,
                        done.deleted_rows,
                        bytes.0.saturating_sub(bytes.1)
                    ));
                }
            }
            Ok(Outcome::done("VACUUM", notices))
        })
    }
}
