//! CREATE SCHEMA, ALTER SCHEMA and DROP SCHEMA.

use super::names::known_user;
use super::{Effect, Executes, Running};
use crate::catalog::{RESERVED_SCHEMA_PREFIX, is_temp_schema};
use crate::context::{Context, Requires};
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta::{self as proto, operation::Kind};
use slipher_sql::{Name, SchemaChange, SchemaName};
use tokio_util::sync::CancellationToken;

/// CREATE SCHEMA.
pub(super) struct CreateSchema<'a> {
    pub(super) name: &'a SchemaName,
    pub(super) if_not_exists: bool,
    pub(super) owner: Option<&'a Name>,
}

impl Executes for CreateSchema<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("CREATE SCHEMA")
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            let SchemaName { database, name } = self.name;
            attempt.snapshot.check_database(database.as_ref())?;
            check_name(name)?;
            let schema = proto::CreateSchema {
                schema_id: context.shared.cluster.allocate_object_id(),
                name: name.value.clone(),
                owner: self.owner.map_or_else(|| context.user.clone(), |owner| owner.value.clone()),
                if_not_exists: self.if_not_exists,
                allocated_id: true,
                database_id: context.database.0,
            };
            context.define("CREATE SCHEMA", &attempt, vec![Kind::CreateSchema(schema)]).await
        })
    }
}

/// 42939 for a name that only the system gives.
fn check_name(name: &Name) -> Result<()> {
    match name.value.starts_with(RESERVED_SCHEMA_PREFIX) {
        true => Err(Error::new(ErrorKind::ReservedName, format!("unacceptable schema name \"{name}\""))
            .with_detail(format!("the prefix \"{RESERVED_SCHEMA_PREFIX}\" is reserved for system schemas"))
            .at(name.position)),
        false => Ok(()),
    }
}

/// ALTER SCHEMA.
pub(super) struct AlterSchema<'a> {
    pub(super) name: &'a SchemaName,
    pub(super) change: &'a SchemaChange,
}

impl Executes for AlterSchema<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("ALTER SCHEMA")
    }

    fn requires(&self) -> Requires<'_> {
        Requires::Schemas(std::slice::from_ref(self.name))
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            let SchemaName { database, name } = self.name;
            attempt.snapshot.check_database(database.as_ref())?;
            let state = &attempt.snapshot.state;
            let schema = state.find_schema(&name.value).map_err(|error| error.at(name.position))?;
            if is_temp_schema(&schema.name) {
                let message = format!("cannot alter schema \"{name}\" because it holds the temporary tables of a session");
                return Err(Error::new(ErrorKind::InsufficientPrivilege, message).at(name.position));
            }
            let (new_name, owner) = match self.change {
                SchemaChange::Rename(to) => {
                    check_name(to)?;
                    if state.schemas().contains_key(&to.value) && to.value != schema.name {
                        let message = format!("schema \"{to}\" already exists");
                        return Err(Error::new(ErrorKind::DuplicateSchema, message).at(to.position));
                    }
                    (to.value.clone(), String::new())
                }
                SchemaChange::Owner(user) => (String::new(), known_user(state, user)?),
            };
            let (schema_id, database_id) = (schema.id, context.database.0);
            let change = proto::ChangeSchema { schema_id, database_id, name: new_name, owner };
            context.define("ALTER SCHEMA", &attempt, vec![Kind::ChangeSchema(change)]).await
        })
    }
}

/// DROP SCHEMA.
pub(super) struct DropSchema<'a> {
    pub(super) names: &'a [SchemaName],
    pub(super) if_exists: bool,
    pub(super) cascade: bool,
}

impl Executes for DropSchema<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("DROP SCHEMA")
    }

    fn requires(&self) -> Requires<'_> {
        Requires::Schemas(self.names)
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            self.names.iter().try_for_each(|name| attempt.snapshot.check_database(name.database.as_ref()))?;
            let names = || self.names.iter().map(|name| &name.name);
            if let Some(name) = names().find(|name| is_temp_schema(&name.value)) {
                let message = format!("cannot drop schema \"{name}\" because it holds the temporary tables of a session");
                return Err(Error::new(ErrorKind::InsufficientPrivilege, message)
                    .with_hint("DISCARD TEMP drops your own")
                    .at(name.position));
            }
            let (cascade, if_exists, database_id) = (self.cascade, self.if_exists, context.database.0);
            let drop =
                |name: &Name| Kind::DropSchema(proto::DropSchema { name: name.value.clone(), cascade, if_exists, database_id });
            let kinds = names().map(drop).collect();
            context.define("DROP SCHEMA", &attempt, kinds).await
        })
    }
}
