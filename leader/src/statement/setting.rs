//! SET, RESET, SHOW.

use super::{Effect, Executes, Running};
use crate::context::{Block, Context};
use crate::frontend::{Description, Outcome, text_schema};
use datafusion::common::ParamValues;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use tokio_util::sync::CancellationToken;

/// A setting of the whole cluster, which SHOW tells and ALTER SYSTEM changes.
const SLICES: &str = "slices";
/// The columns of SHOW ALL.
const ALL_COLUMNS: [&str; 2] = ["name", "setting"];

/// SET.
pub(super) struct Set<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    /// SET LOCAL: until the transaction ends.
    pub(super) local: bool,
}

impl Executes for Set<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            if self.local {
                return set_local(context, self.name, self.value);
            }
            context.settings.lock().set(self.name, self.value)?;
            // What the session sets outlives the block, whatever SET LOCAL said before.
            context.local_settings.lock().retain(|(local, _)| local != self.name);
            Ok(Outcome::done("SET", Vec::new()))
        })
    }
}

/// SET LOCAL: until the transaction ends.
fn set_local(context: &Context, name: &str, value: &str) -> Result<Outcome> {
    if matches!(*context.block.lock(), Block::None) {
        return Ok(Outcome::done("SET", vec!["SET LOCAL can only be used in transaction blocks".to_owned()]));
    }
    let mut settings = context.settings.lock();
    let before = settings.changed(name).map(str::to_owned);
    settings.set(name, value)?;
    let mut local = context.local_settings.lock();
    if !local.iter().any(|(known, _)| known == name) {
        local.push((name.to_owned(), before));
    }
    Ok(Outcome::done("SET", Vec::new()))
}

/// RESET of one setting, or of all.
pub(super) struct Reset<'a>(pub(super) Option<&'a str>);

impl Executes for Reset<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            context.settings.lock().reset(self.0)?;
            Ok(Outcome::done("RESET", Vec::new()))
        })
    }
}

/// SHOW of one setting; of `all`, of every one.
pub(super) struct Show<'a>(pub(super) &'a str);

impl Executes for Show<'_> {
    fn effect(&self) -> Effect {
        Effect::Session
    }

    fn describe<'a>(&'a self, _: &'a Context, _: &'a [Option<SqlType>]) -> Running<'a, Description> {
        Box::pin(async move {
            let rows = if self.0 == "all" { text_schema(&ALL_COLUMNS) } else { text_schema(&[self.0]) };
            Ok(Description::of_rows(Some(rows)))
        })
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            let name = self.0;
            if name == "all" {
                let (names, values) = context.settings.lock().all().into_iter().unzip();
                return Ok(Outcome::of_text(&ALL_COLUMNS, vec![names, values], "SHOW"));
            }
            let effective = match name {
                SLICES => Some(super::slices::of_cluster(context)?.to_string()),
                "transaction_isolation" => Some(if context.is_serializable() { "serializable" } else { "snapshot" }.to_owned()),
                _ => context.settings.lock().get(name),
            };
            match effective {
                Some(value) => Ok(Outcome::of_text(&[name], vec![vec![value]], "SHOW")),
                None => Err(Error::new(ErrorKind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))),
            }
        })
    }
}
