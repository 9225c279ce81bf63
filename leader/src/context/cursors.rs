//! DECLARE, FETCH, CLOSE: a query whose rows are asked for in portions, within one transaction block.

use crate::frontend::Outcome;
use crate::run::canceled;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{EmptyRecordBatchStream, SendableRecordBatchStream};
use futures::StreamExt;
use slipher_common::error::did_you_mean;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Cursors that one block may have open.
const CURSORS_MAX_COUNT: usize = 64;

/// The cursors of a session's block.
#[derive(Default)]
pub(crate) struct Cursors(parking_lot::Mutex<HashMap<String, Cursor>>);

/// An open cursor.
#[derive(Clone)]
struct Cursor {
    schema: SchemaRef,
    rows: Arc<Mutex<Rows>>,
}

/// What is left of a cursor's rows.
struct Rows {
    stream: SendableRecordBatchStream,
    /// Rows of a batch that was not taken whole.
    rest: Option<RecordBatch>,
}

impl Rows {
    /// The next rows, at most `max`; None after the last.
    async fn next(&mut self, max: usize) -> datafusion::error::Result<Option<RecordBatch>> {
        let batch = loop {
            match self.rest.take() {
                Some(rest) => break rest,
                None => match self.stream.next().await.transpose()? {
                    Some(batch) if batch.num_rows() == 0 => {}
                    Some(batch) => self.rest = Some(batch),
                    None => {
                        // What it read with goes now, not when the cursor is closed.
                        let schema = self.stream.schema();
                        self.stream = Box::pin(EmptyRecordBatchStream::new(schema));
                        return Ok(None);
                    }
                },
            }
        };
        if batch.num_rows() <= max {
            return Ok(Some(batch));
        }
        self.rest = Some(batch.slice(max, batch.num_rows() - max));
        Ok(Some(batch.slice(0, max)))
    }
}

impl Cursors {
    /// Closes all: the block ended.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// The columns of a cursor.
    pub(crate) fn schema(&self, name: &str) -> Result<SchemaRef> {
        self.find(name).map(|cursor| cursor.schema)
    }

    fn find(&self, name: &str) -> Result<Cursor> {
        let all = self.0.lock();
        all.get(name).cloned().ok_or_else(|| {
            Error::new(ErrorKind::InvalidCursorName, format!("cursor \"{name}\" does not exist"))
                .with_hint(did_you_mean(name, all.keys().map(String::as_str)))
        })
    }

    /// Checks that a cursor of this name may be opened.
    pub(crate) fn check_new(&self, name: &str) -> Result<()> {
        let all = self.0.lock();
        if all.contains_key(name) {
            return Err(Error::new(ErrorKind::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        if all.len() >= CURSORS_MAX_COUNT {
            let message = format!("the transaction has {CURSORS_MAX_COUNT} open cursors");
            return Err(Error::new(ErrorKind::ProgramLimit, message).with_hint("close some with CLOSE"));
        }
        Ok(())
    }

    /// Opens a cursor over the rows of a query.
    pub(crate) fn open(&self, name: &str, outcome: Outcome) -> Result<()> {
        let Outcome::Rows { schema, stream, .. } = outcome else {
            return Err(Error::internal("a cursor of a statement without rows"));
        };
        let rows = Arc::new(Mutex::new(Rows { stream, rest: None }));
        self.0.lock().insert(name.to_owned(), Cursor { schema, rows });
        Ok(())
    }

    /// CLOSE of one, or of all.
    pub(crate) fn close(&self, name: Option<&str>) -> Result<()> {
        match name {
            None => self.clear(),
            Some(name) => {
                self.find(name)?;
                self.0.lock().remove(name);
            }
        }
        Ok(())
    }

    /// The next rows of a cursor; all that are left without a count.
    pub(crate) fn fetch(&self, name: &str, count: Option<u64>, token: &CancellationToken) -> Result<Outcome> {
        let Cursor { schema, rows } = self.find(name)?;
        let left = count.unwrap_or(u64::MAX);
        let token = token.clone();
        let stream = futures::stream::unfold((rows, left), move |(rows, left)| {
            let token = token.clone();
            async move {
                if left == 0 {
                    return None;
                }
                let next = async { rows.lock().await.next(usize::try_from(left).unwrap_or(usize::MAX)).await };
                let next = tokio::select! {
                    biased;
                    () = token.cancelled() => Err(canceled().into()),
                    next = next => next,
                };
                let batch = next.transpose()?;
                let taken = batch.as_ref().map_or(left, |batch| batch.num_rows() as u64);
                Some((batch, (rows, left - taken)))
            }
        });
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream));
        Ok(Outcome::Rows { schema, stream, tag: "FETCH" })
    }
}
