//! ALTER SYSTEM SET slices: how many slices the cluster has.

use super::{Effect, Executes, Running};
use crate::context::{Block, Context};
use crate::frontend::Outcome;
use datafusion::common::ParamValues;
use slipher_common::placement::SLICES_MAX;
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta::{self as proto, operation::Kind};
use tokio_util::sync::CancellationToken;

const TAG: &str = "ALTER SYSTEM";

/// ALTER SYSTEM SET slices.
pub(super) struct ChangeSlices {
    pub(super) slices: u32,
    pub(super) position: usize,
}

impl Executes for ChangeSlices {
    fn effect(&self) -> Effect {
        Effect::Define(TAG)
    }

    fn run<'a>(&'a self, context: &'a Context, _: Option<ParamValues>, _: &'a CancellationToken) -> Running<'a, Outcome> {
        Box::pin(async move {
            if !matches!(*context.block.lock(), Block::None) {
                let message = format!("{TAG} cannot run inside a transaction block");
                return Err(Error::new(ErrorKind::ActiveTransaction, message));
            }
            context.require_superuser("change the number of slices")?;
            let from = of_cluster(context)?;
            let to = checked(from, self.slices).map_err(|error| error.at(self.position))?;
            if from == to {
                return Ok(Outcome::done(TAG, vec![format!("the cluster has {to} slices already")]));
            }
            let scope = context.scope()?;
            let change = Kind::ChangeSliceCount(proto::ChangeSliceCount { from, to });
            let mut notices = scope.change(vec![change], &scope.state(), None).await?;
            if scope.state().coarse_segments() > 0 {
                let how = "what is stored is split in the background, or by VACUUM at once; then slices move";
                notices.push(format!("the cluster has {to} slices instead of {from}: {how}"));
            }
            Ok(Outcome::done(TAG, notices))
        })
    }
}

/// How many slices the cluster has.
pub(super) fn of_cluster(context: &Context) -> Result<u32> {
    // What others may have changed while a block was open is no matter of versions.
    Ok(context.shared.cluster.meta().state().require_cluster()?.slice_count)
}

/// A number of slices that there may be after `from`. Rows of a slice must be those of whole new ones.
fn checked(from: u32, to: u32) -> Result<u32> {
    let largest = SLICES_MAX / from * from;
    let allowed = match from.checked_mul(2).filter(|twice| *twice <= largest) {
        Some(twice) => format!("it can be {twice}, or another multiple of {from} up to {largest}"),
        None => format!("the cluster has {from} slices, and cannot have more"),
    };
    let refuse = |what: &str| {
        let message = format!("invalid value for parameter \"slices\": {to} {what}");
        Err(Error::new(ErrorKind::InvalidParameter, message).with_hint(allowed.clone()))
    };
    match to {
        to if to < from => refuse(&format!("is less than the {from} slices that the cluster has")),
        to if to > SLICES_MAX => refuse(&format!("is more than {SLICES_MAX}")),
        to if !to.is_multiple_of(from) => refuse(&format!("is no multiple of the {from} slices that the cluster has")),
        to => Ok(to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_multiples_up_to_the_limit_are_taken() {
        assert_eq!([checked(8, 8), checked(8, 24), checked(8, 4096)], [Ok(8), Ok(24), Ok(4096)]);
        for (from, to, what, allowed) in [
            (8, 0, "less than the 8", "16, or another multiple of 8 up to 4096"),
            (8, 4, "less than the 8", "16, or another"),
            (8, 20, "no multiple of the 8", "16, or another"),
            (5, 5000, "more than 4096", "10, or another multiple of 5 up to 4095"),
            (3000, 4000, "no multiple", "has 3000 slices, and cannot have more"),
        ] {
            let error = checked(from, to).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParameter);
            assert!(error.message.contains(what), "{error:?}");
            assert!(error.hint.as_ref().is_some_and(|hint| hint.contains(allowed)), "{error:?}");
        }
    }
}
