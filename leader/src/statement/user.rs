//! CREATE USER, ALTER USER, DROP USER.

use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::Outcome;
use crate::users::new_verifier;
use datafusion::common::ParamValues;
use slipher_common::catalog::ADMIN_USER;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta::{self as proto, operation::Kind};
use slipher_sql::{Name, Password, UserSpec};
use tokio_util::sync::CancellationToken;

/// CREATE USER.
pub(super) struct CreateUser<'a>(pub(super) &'a UserSpec);

impl Executes for CreateUser<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("CREATE USER")
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            let kinds = vec![put_user(context, self.0, true)?];
            context.define("CREATE USER", &attempt, kinds).await
        })
    }
}

/// ALTER USER.
pub(super) struct AlterUser<'a>(pub(super) &'a UserSpec);

impl Executes for AlterUser<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("ALTER USER")
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            let drop = Kind::DropUser(proto::DropUser { name: self.0.name.value.clone() });
            let kinds = vec![drop, put_user(context, self.0, false)?];
            context.define("ALTER USER", &attempt, kinds).await
        })
    }
}

/// DROP USER.
pub(super) struct DropUser<'a> {
    pub(super) names: &'a [Name],
    pub(super) if_exists: bool,
}

impl Executes for DropUser<'_> {
    fn effect(&self) -> Effect {
        Effect::Define("DROP USER")
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let attempt = context.attempt(false)?;
            context.require_superuser("drop users")?;
            let known = |name: &str| attempt.snapshot.state.users().contains_key(name);
            let there = self.names.iter().filter(|name| !self.if_exists || known(&name.value));
            let drops = there.map(|name| Kind::DropUser(proto::DropUser { name: name.value.clone() })).collect();
            if self.names.iter().any(|name| name.value == ADMIN_USER) {
                let message = format!("user \"{ADMIN_USER}\" cannot be dropped: the cluster needs it");
                return Err(Error::new(ErrorKind::DependentObjects, message));
            }
            context.define("DROP USER", &attempt, drops).await
        })
    }
}

fn put_user(context: &Context, spec: &UserSpec, create: bool) -> Result<Kind> {
    let own_password = !create && spec.name.value == context.user && spec.superuser.is_none();
    if !own_password {
        context.require_superuser(if create { "create users" } else { "alter users" })?;
    }
    let state = context.scope()?.state();
    let name = &spec.name.value;
    let known = state.users().get(name);
    match (known, create) {
        (Some(_), true) => {
            return Err(Error::new(ErrorKind::DuplicateObject, format!("user \"{name}\" already exists")).at(spec.name.position));
        }
        (None, false) => {
            return Err(Error::new(ErrorKind::UndefinedObject, format!("user \"{name}\" does not exist")).at(spec.name.position));
        }
        _ => {}
    }
    let scram_verifier = match &spec.password {
        Some(Password::Plain(password)) => new_verifier(password),
        Some(Password::Disabled) => String::new(),
        None => known.map(|user| user.scram_verifier.clone()).unwrap_or_default(),
    };
    Ok(Kind::PutUser(proto::PutUser {
        user: Some(proto::User {
            name: name.clone(),
            superuser: spec.superuser.unwrap_or_else(|| known.is_some_and(|user| user.superuser)),
            scram_verifier,
            can_create_database: spec.can_create_database.unwrap_or_else(|| known.is_some_and(|user| user.can_create_database)),
            user_id: known.map_or_else(|| state.next_user_id(), |user| user.id),
        }),
    }))
}
