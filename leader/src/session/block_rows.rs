//! Rows on their way to a client, and the block that lives by them.

use crate::context::{Block, Context, Cursors, Running};
use crate::transaction::Transaction;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio_util::sync::DropGuard;

/// The block in which rows are read: it has failed when they have.
pub(super) struct BlockOfRows {
    block: Arc<Mutex<Block>>,
    cursors: Arc<Cursors>,
    transaction: Option<Arc<Transaction>>,
    running: Running,
    /// The time limit counts until the last row.
    _timer: Option<DropGuard>,
}

impl BlockOfRows {
    /// The block of the statement that has just begun.
    pub(super) fn new(context: &Context, running: Running, timer: Option<DropGuard>) -> Self {
        let block = Arc::clone(&context.block);
        let transaction = match &*block.lock() {
            Block::Open { transaction, .. } => transaction.clone(),
            Block::None | Block::Failed => None,
        };
        Self { block, cursors: Arc::clone(&context.cursors), transaction, running, _timer: timer }
    }

    /// The rows, while the block lives by them.
    pub(super) fn watch(self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = rows.schema();
        let told = rows.map(move |batch| {
            batch.map_err(|error| {
                self.fail();
                self.running.why(error.into()).into()
            })
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, told))
    }

    fn fail(&self) {
        let mut block = self.block.lock();
        let same = match (&*block, &self.transaction) {
            (Block::Open { transaction: Some(open), .. }, Some(mine)) => Arc::ptr_eq(open, mine),
            _ => false,
        };
        if same {
            *block = Block::Failed;
            self.cursors.clear();
        }
    }
}
