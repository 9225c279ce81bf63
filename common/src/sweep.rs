//! What a sweep tells a node, in messages of bounded size: a cluster may have millions of segments.

use crate::ids::{SegmentId, TransactionId};
use crate::{Error, ErrorKind, Result};
use slipher_proto::compute::SweepRequest;
use std::collections::HashSet;
use std::sync::Arc;

/// Ids in one message: of 18 bytes each, about a quarter of the 4 MiB that a message may have.
pub const IDS_PER_MESSAGE_MAX: usize = 65_536;
/// Ids in all messages together: a node keeps them in memory while it sweeps, 16 bytes each and as much again.
const IDS_MAX: u64 = 64 << 20;

/// What must stay. A clone shares it.
#[derive(Clone, Debug)]
pub struct Needed {
    /// Segments that somebody can read.
    pub live: Arc<[SegmentId]>,
    /// Transactions whose segments may become live.
    pub running: Arc<[TransactionId]>,
}

impl Needed {
    /// The messages of one sweep; the first one says what `first` says besides.
    pub fn messages(&self, first: SweepRequest) -> impl Iterator<Item = SweepRequest> + Send + 'static {
        let first =
            SweepRequest { live_segments: self.live.len() as u64, running_transactions: self.running.len() as u64, ..first };
        let (live, running) = (Arc::clone(&self.live), Arc::clone(&self.running));
        let live = parts(live.len()).map(move |part| SweepRequest {
            live_segment_ids: live[part].iter().map(|id| id.to_vec()).collect(),
            ..SweepRequest::default()
        });
        let running = parts(running.len()).map(move |part| SweepRequest {
            running_transaction_ids: running[part].iter().map(|id| id.to_vec()).collect(),
            ..SweepRequest::default()
        });
        std::iter::once(first).chain(live).chain(running)
    }
}

fn parts(count: usize) -> impl Iterator<Item = std::ops::Range<usize>> + Send {
    (0..count).step_by(IDS_PER_MESSAGE_MAX).map(move |start| start..count.min(start + IDS_PER_MESSAGE_MAX))
}

/// The messages of a sweep, as they arrive.
#[derive(Debug)]
pub struct Arriving {
    first: SweepRequest,
    live: HashSet<SegmentId>,
    running: HashSet<TransactionId>,
    ids: u64,
}

/// What a node was told, whole.
#[derive(Debug)]
pub struct Told {
    /// The first message.
    pub first: SweepRequest,
    /// What must stay.
    pub live: HashSet<SegmentId>,
    /// Whose segments must stay.
    pub running: HashSet<TransactionId>,
}

impl Arriving {
    /// Begins with the first message.
    pub fn new(first: SweepRequest) -> Result<Self> {
        let ids = first.live_segments.saturating_add(first.running_transactions);
        if ids > IDS_MAX {
            return Err(Error::new(ErrorKind::ProgramLimit, format!("sweeping: {ids} ids are more than {IDS_MAX}")));
        }
        let mut arriving = Self { first: SweepRequest::default(), live: HashSet::new(), running: HashSet::new(), ids: 0 };
        arriving.add(&first)?;
        arriving.first = first;
        Ok(arriving)
    }

    /// Takes one more message.
    pub fn add(&mut self, message: &SweepRequest) -> Result<()> {
        self.ids += (message.live_segment_ids.len() + message.running_transaction_ids.len()) as u64;
        if self.ids > IDS_MAX {
            return Err(Error::new(ErrorKind::ProgramLimit, format!("sweeping: more than {IDS_MAX} ids arrived")));
        }
        for id in &message.live_segment_ids {
            self.live.insert(SegmentId::from_bytes(id)?);
        }
        for id in &message.running_transaction_ids {
            self.running.insert(TransactionId::from_bytes(id)?);
        }
        Ok(())
    }

    /// What all messages say together. A part of the lists would have the rest removed, so they must be whole.
    pub fn whole(self) -> Result<Told> {
        let (live, running) = (self.live.len() as u64, self.running.len() as u64);
        if (live, running) != (self.first.live_segments, self.first.running_transactions) {
            let message = format!(
                "sweeping: {live} live segments and {running} transactions arrived of {} and {}",
                self.first.live_segments, self.first.running_transactions
            );
            return Err(Error::new(ErrorKind::ProtocolViolation, message).with_detail("nothing was removed"));
        }
        Ok(Told { first: self.first, live: self.live, running: self.running })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn needed(live: u128, running: u128) -> Needed {
        Needed {
            live: (0..live).map(|id| SegmentId(Uuid::from_u128(id))).collect(),
            running: (0..running).map(|id| TransactionId(Uuid::from_u128(id))).collect(),
        }
    }

    fn told(messages: impl IntoIterator<Item = SweepRequest>) -> Result<Told> {
        let mut messages = messages.into_iter();
        let mut arriving = Arriving::new(messages.next().unwrap())?;
        messages.try_for_each(|message| arriving.add(&message))?;
        arriving.whole()
    }

    #[test]
    fn lists_come_whole_or_are_refused() {
        for (live, running) in [(0, 0), (1, 0), (0, 1), (65_536, 3), (65_537, 0), (200_000, 70_000)] {
            let needed = needed(live, running);
            let first = || SweepRequest { minimum_age_ms: 7, ..SweepRequest::default() };
            let whole = told(needed.messages(first())).unwrap();
            assert_eq!((whole.first.minimum_age_ms, whole.live.len(), whole.running.len()), (7, live as usize, running as usize));
            let count = needed.messages(first()).count();
            for missing in 1..count {
                let without = needed.messages(first()).enumerate().filter(|(at, _)| *at != missing).map(|(_, message)| message);
                assert_eq!(told(without).unwrap_err().kind, ErrorKind::ProtocolViolation);
            }
        }
    }
}
