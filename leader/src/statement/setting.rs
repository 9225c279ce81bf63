//! SET, RESET, SHOW.

use super::{Effect, Executes, Running};
use crate::context::Context;
use crate::frontend::{Description, Outcome, text_schema};
use crate::transaction::SessionSettings;
use datafusion::common::ParamValues;
use slipher_common::{Error, ErrorKind, SqlType};
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
            let notices = match context.settings.set(self.name, self.value, self.local)? {
                true => Vec::new(),
                false => vec!["SET LOCAL can only be used in transaction blocks".to_owned()],
            };
            Ok(Outcome::done("SET", notices))
        })
    }
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
                _ => context.settings.shown(name),
            };
            match effective {
                Some(value) => Ok(Outcome::of_text(&[name], vec![vec![value]], "SHOW")),
                None => Err(Error::new(ErrorKind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))),
            }
        })
    }
}
