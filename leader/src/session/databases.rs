//! CREATE, ALTER and DROP DATABASE.

use super::leader_session::{Block, LeaderSession};
use crate::meta::{DatabaseState, State};
use crate::sql::{DatabaseChange, Name, Parsed};
use slipher_common::catalog::DATABASE;
use slipher_common::ids::DatabaseId;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta::{self as proto, operation::Kind};

/// So many sessions of a database that is in use are named.
const SESSIONS_SHOWN_MAX: usize = 20;

/// What the statement changes, nothing where all is so already; and messages.
pub(super) fn operations(session: &LeaderSession, state: &State, parsed: &Parsed) -> Result<(Vec<Kind>, Vec<String>)> {
    if !matches!(*session.block.lock(), Block::None) {
        let message = format!("{} cannot run inside a transaction block", parsed.change().unwrap_or_default());
        return Err(Error::new(ErrorKind::ActiveTransaction, message));
    }
    let kind = match parsed {
        Parsed::CreateDatabase { name, owner, serializable } => create(session, state, name, owner.as_ref(), *serializable)?,
        Parsed::AlterDatabase { change: DatabaseChange::None, name } => {
            return own(session, state, name).map(|_| Default::default());
        }
        Parsed::AlterDatabase { name, change } => alter(session, state, name, change)?,
        Parsed::DropDatabase { name, if_exists: true } if state.find_database(&name.value).is_err() => {
            return Ok((Vec::new(), vec![format!("database \"{name}\" does not exist, skipping")]));
        }
        Parsed::DropDatabase { name, .. } => drop_database(session, state, name)?,
        _ => return Err(Error::internal("a definition of a database of an unknown kind")),
    };
    Ok((vec![kind], Vec::new()))
}

fn create(session: &LeaderSession, state: &State, name: &Name, owner: Option<&Name>, serializable: bool) -> Result<Kind> {
    let user = state.users().get(&session.user);
    if !user.is_some_and(|user| user.superuser || user.can_create_database) {
        let message = "permission denied to create database";
        return Err(Error::new(ErrorKind::InsufficientPrivilege, message).with_hint("ALTER USER ... CREATEDB allows it"));
    }
    let owner = owner.map_or(Ok(session.user.clone()), |owner| new_owner(session, state, owner))?;
    Ok(Kind::CreateDatabase(proto::CreateDatabase {
        database_id: session.shared.cluster.allocate_object_id(),
        name: name.value.clone(),
        owner,
        serializable,
    }))
}

fn alter(session: &LeaderSession, state: &State, name: &Name, change: &DatabaseChange) -> Result<Kind> {
    let database = own(session, state, name)?;
    let database_id = database.id.0;
    let (new_name, owner) = match change {
        DatabaseChange::Isolation { serializable } => {
            return Ok(Kind::AlterDatabase(proto::AlterDatabase { serializable: *serializable, database_id }));
        }
        DatabaseChange::Rename(new) => {
            check_unused(session, database, "renamed", name)?;
            (new.value.clone(), String::new())
        }
        DatabaseChange::Owner(owner) => {
            check_not_dev(database, "given to another owner", name)?;
            (String::new(), new_owner(session, state, owner)?)
        }
        DatabaseChange::None => return Err(Error::internal("a change of a database that changes nothing")),
    };
    Ok(Kind::ChangeDatabase(proto::ChangeDatabase { database_id, name: new_name, owner }))
}

fn drop_database(session: &LeaderSession, state: &State, name: &Name) -> Result<Kind> {
    let database = own(session, state, name)?;
    check_unused(session, database, "dropped", name)?;
    Ok(Kind::DropDatabase(proto::DropDatabase { database_id: database.id.0 }))
}

/// The database of a name, for its owner and for superusers.
fn own<'a>(session: &LeaderSession, state: &'a State, name: &Name) -> Result<&'a DatabaseState> {
    let database = state.find_database(&name.value).map_err(|error| error.at(name.position))?;
    let superuser = state.users().get(&session.user).is_some_and(|user| user.superuser);
    match superuser || database.owner == session.user {
        true => Ok(database),
        false => Err(Error::new(ErrorKind::InsufficientPrivilege, format!("must be owner of database \"{name}\""))),
    }
}

/// Who shall own a database: it must be there, and others than superusers can only name themselves.
fn new_owner(session: &LeaderSession, state: &State, owner: &Name) -> Result<String> {
    if !state.users().contains_key(&owner.value) {
        let message = format!("user \"{owner}\" does not exist");
        return Err(Error::new(ErrorKind::UndefinedObject, message).at(owner.position));
    }
    if owner.value != session.user {
        super::commands::require_superuser(session, "make others the owner of a database")?;
    }
    Ok(owner.value.clone())
}

/// A database that sessions are in keeps its name, and stays.
fn check_unused(session: &LeaderSession, database: &DatabaseState, what: &str, name: &Name) -> Result<()> {
    check_not_dev(database, what, name)?;
    if session.database == database.id {
        let message = format!("the current database cannot be {what}");
        return Err(Error::new(ErrorKind::ObjectInUse, message).with_hint("connect to another one").at(name.position));
    }
    let sessions = session.shared.signals.process_ids_in(database.id);
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
