//! CREATE, ALTER and DROP DATABASE.

use super::{Effect, Executes, Running};
use crate::context::{Block, Context};
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use slipher_common::catalog::DATABASE;
use slipher_common::ids::DatabaseId;
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::{DatabaseState, State};
use slipher_proto::meta::{self as proto, operation::Kind};
use slipher_sql::{DatabaseChange, Name};
use tokio_util::sync::CancellationToken;

/// So many sessions of a database that is in use are named.
const SESSIONS_SHOWN_MAX: usize = 20;

/// USE of another database, RESET USE: where names are looked up that say no database.
pub(super) struct Use<'a>(pub(super) Option<&'a Name>);

impl Executes for Use<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let what = if self.0.is_some() { "USE" } else { "RESET USE" };
            check_no_block(context, what)?;
            let state = context.shared.cluster.meta().state();
            let known =
                self.0.map(|name| state.find_database(&name.value).map_err(|error| error.at(name.position))).transpose()?;
            context.use_database(known.map(|database| database.id));
            Ok(Outcome::done(if self.0.is_some() { "USE" } else { "RESET" }, Vec::new()))
        })
    }
}

/// CREATE DATABASE.
pub(super) struct CreateDatabase<'a> {
    pub(super) name: &'a Name,
    /// None: who makes it.
    pub(super) owner: Option<&'a Name>,
    pub(super) serializable: bool,
}

impl Executes for CreateDatabase<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("CREATE DATABASE")
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            check_no_block(context, "CREATE DATABASE")?;
            let kind = create(context, &attempt.snapshot.state, self.name, self.owner, self.serializable)?;
            context.define("CREATE DATABASE", &attempt, vec![kind]).await
        })
    }
}

/// ALTER DATABASE.
pub(super) struct AlterDatabase<'a> {
    pub(super) name: &'a Name,
    pub(super) change: &'a DatabaseChange,
}

impl Executes for AlterDatabase<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("ALTER DATABASE")
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            check_no_block(context, "ALTER DATABASE")?;
            match alter(context, &attempt.snapshot.state, self.name, self.change)? {
                Some(kind) => context.define("ALTER DATABASE", &attempt, vec![kind]).await,
                None => Ok(Outcome::done("ALTER DATABASE", Vec::new())),
            }
        })
    }
}

/// DROP DATABASE.
pub(super) struct DropDatabase<'a> {
    pub(super) name: &'a Name,
    pub(super) if_exists: bool,
}

impl Executes for DropDatabase<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("DROP DATABASE")
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            let (state, name) = (&attempt.snapshot.state, self.name);
            check_no_block(context, "DROP DATABASE")?;
            if self.if_exists && state.find_database(&name.value).is_err() {
                return Ok(Outcome::done("DROP DATABASE", vec![format!("database \"{name}\" does not exist, skipping")]));
            }
            let kind = drop_database(context, state, name)?;
            context.define("DROP DATABASE", &attempt, vec![kind]).await
        })
    }
}

fn check_no_block(context: &Context, what: &str) -> Result<()> {
    match *context.block.lock() {
        Block::None => Ok(()),
        _ => Err(Error::new(ErrorKind::ActiveTransaction, format!("{what} cannot run inside a transaction block"))),
    }
}

fn create(context: &Context, state: &State, name: &Name, owner: Option<&Name>, serializable: bool) -> Result<Kind> {
    let user = state.users().get(&context.user);
    if !user.is_some_and(|user| user.superuser || user.can_create_database) {
        let message = "permission denied to create database";
        return Err(Error::new(ErrorKind::InsufficientPrivilege, message).with_hint("ALTER USER ... CREATEDB allows it"));
    }
    let owner = owner.map_or(Ok(context.user.clone()), |owner| new_owner(context, state, owner))?;
    Ok(Kind::CreateDatabase(proto::CreateDatabase {
        database_id: context.shared.cluster.allocate_object_id(),
        name: name.value.clone(),
        owner,
        serializable,
    }))
}

fn alter(context: &Context, state: &State, name: &Name, change: &DatabaseChange) -> Result<Option<Kind>> {
    let database = own(context, state, name)?;
    let database_id = database.id.0;
    let (new_name, owner) = match change {
        DatabaseChange::Isolation { serializable } => {
            return Ok(Some(Kind::AlterDatabase(proto::AlterDatabase { serializable: *serializable, database_id })));
        }
        DatabaseChange::Rename(new) => {
            check_unused(context, database, "renamed", name)?;
            (new.value.clone(), String::new())
        }
        DatabaseChange::Owner(owner) => {
            check_not_dev(database, "given to another owner", name)?;
            (String::new(), new_owner(context, state, owner)?)
        }
        DatabaseChange::None => return Ok(None),
    };
    Ok(Some(Kind::ChangeDatabase(proto::ChangeDatabase { database_id, name: new_name, owner })))
}

fn drop_database(context: &Context, state: &State, name: &Name) -> Result<Kind> {
    let database = own(context, state, name)?;
    check_unused(context, database, "dropped", name)?;
    Ok(Kind::DropDatabase(proto::DropDatabase { database_id: database.id.0 }))
}

/// The database of a name, for its owner and for superusers.
fn own<'a>(context: &Context, state: &'a State, name: &Name) -> Result<&'a DatabaseState> {
    let database = state.find_database(&name.value).map_err(|error| error.at(name.position))?;
    let superuser = state.users().get(&context.user).is_some_and(|user| user.superuser);
    match superuser || database.owner == context.user {
        true => Ok(database),
        false => Err(Error::new(ErrorKind::InsufficientPrivilege, format!("must be owner of database \"{name}\""))),
    }
}

/// Who shall own a database: it must be there, and others than superusers can only name themselves.
fn new_owner(context: &Context, state: &State, owner: &Name) -> Result<String> {
    if !state.users().contains_key(&owner.value) {
        let message = format!("user \"{owner}\" does not exist");
        return Err(Error::new(ErrorKind::UndefinedObject, message).at(owner.position));
    }
    if owner.value != context.user {
        context.require_superuser("make others the owner of a database")?;
    }
    Ok(owner.value.clone())
}

/// A database that sessions are in keeps its name, and stays.
fn check_unused(context: &Context, database: &DatabaseState, what: &str, name: &Name) -> Result<()> {
    check_not_dev(database, what, name)?;
    if context.database == database.id {
        let message = format!("the current database cannot be {what}");
        return Err(Error::new(ErrorKind::ObjectInUse, message).with_hint("connect to another one").at(name.position));
    }
    let sessions = context.shared.signals.process_ids_in(database.id);
    if sessions.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = sessions.iter().take(SESSIONS_SHOWN_MAX).map(i32::to_string).collect();
    let detail = format!("{} sessions are in it; process ids: {}", sessions.len(), shown.join(", "));
    Err(Error::new(ErrorKind::ObjectInUse, format!("database \"{name}\" is being accessed by other users"))
        .with_detail(detail)
        .with_hint("pg_terminate_backend(process id) ends a session")
        .at(name.position))
}

fn check_not_dev(database: &DatabaseState, what: &str, name: &Name) -> Result<()> {
    if database.id != DatabaseId::default() {
        return Ok(());
    }
    let message = format!("database \"{DATABASE}\" cannot be {what}: every cluster has it");
    Err(Error::new(ErrorKind::InsufficientPrivilege, message).at(name.position))
}
