//! CREATE TABLE and DROP TABLE.

use super::names::to_drop;
use super::{Effect, Executes, Running};
use crate::context::{Context, Requires};
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use slipher_common::ids::TableId;
use slipher_proto::meta::{self as proto, operation::Kind};
use slipher_sql::CreateTableSpec;
use slipher_sql::QualifiedName;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

/// CREATE TABLE with columns.
pub(super) struct CreateTable<'a>(pub(super) &'a CreateTableSpec);

impl Executes for CreateTable<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("CREATE TABLE")
    }

    fn requires(&self) -> Requires<'_> {
        match self.0.or_replace {
            true => Requires::Tables { names: vec![&self.0.name], adds_rows: false },
            false => Requires::Nothing,
        }
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            let (spec, snapshot, cluster) = (self.0, &attempt.snapshot, &context.shared.cluster);
            context.has_temporary.fetch_or(spec.temporary, Ordering::SeqCst);
            spec.referenced_databases().try_for_each(|name| snapshot.check_database(Some(name)))?;
            let (schema, mut kinds) = snapshot.place_of(cluster, &spec.name, spec.temporary)?;
            let mut table = spec.to_table(&schema, &context.user, |like| {
                let found = snapshot.table(like)?;
                Ok(found.table.as_ref().clone())
            })?;
            table.id = TableId(cluster.allocate_object_id());
            table.database = context.database;
            let create = proto::CreateTable {
                table: Some(table.to_proto()),
                if_not_exists: spec.if_not_exists,
                allocated_id: true,
                or_replace: spec.or_replace,
                replaced_version: 0,
            };
            kinds.push(Kind::CreateTable(create));
            context.define("CREATE TABLE", &attempt, kinds).await
        })
    }
}

/// DROP TABLE.
pub(super) struct DropTable<'a> {
    pub(super) tables: &'a [QualifiedName],
    pub(super) if_exists: bool,
    pub(super) cascade: bool,
}

impl Executes for DropTable<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("DROP TABLE")
    }

    fn requires(&self) -> Requires<'_> {
        Requires::Tables { names: self.tables.iter().collect(), adds_rows: false }
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            let (found, notices) = to_drop(&attempt.snapshot, self.tables, self.if_exists, "table")?;
            if found.is_empty() {
                return Ok(Outcome::done("DROP TABLE", notices));
            }
            let drop = |id: &TableId| Kind::DropTable(proto::DropTable { table_id: id.0, cascade: self.cascade });
            context.define("DROP TABLE", &attempt, found.iter().map(drop).collect()).await
        })
    }
}
