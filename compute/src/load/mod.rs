//! Readers of a load's files: Parquet and delimited text, streamed.

mod delimited;
mod parquet;

#[cfg(test)]
mod tests;

pub use parquet::inspect_parquet_schema;

use crate::activity::Progress;
use arrow::array::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use slipher_common::plan::{FileFormat, FileRef, LaneFiles};
use slipher_common::{Error, ErrorKind, Result};
use std::fs::File;
use std::sync::Arc;

/// How many batches a reader may be ahead of whoever takes them.
const BATCHES_AHEAD_MAX: usize = 2;

/// Takes a reader's batches; `false` when nobody wants more.
type Emit<'a> = &'a mut dyn FnMut(RecordBatch) -> bool;

/// The rows of a lane's files, in order; rows that are left out are counted in `progress`. A thread reads ahead; dropping the stream ends it at its next batch.
pub fn read_files(lane: LaneFiles, progress: Arc<Progress>, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
    let schema = Arc::new(lane.schema.project(&lane.projection)?);
    let batch_rows = context.session_config().batch_size();
    // Options that are wrong or not supported are refused before any file is opened.
    let mut reader: Box<dyn FileReader> = match &lane.format {
        FileFormat::Parquet => Box::new(parquet::Reader::new(&lane, Arc::clone(&schema), batch_rows)),
        FileFormat::Csv(options) => Box::new(delimited::Reader::new(options, &lane, Arc::clone(&schema), batch_rows, progress)?),
    };
    let mut builder = RecordBatchReceiverStreamBuilder::new(schema, BATCHES_AHEAD_MAX);
    let sender = builder.tx();
    builder.spawn_blocking(move || {
        for file in &lane.files {
            if !reader.read(file, &mut |batch| sender.blocking_send(Ok(batch)).is_ok())? {
                break;
            }
        }
        Ok(())
    });
    Ok(builder.build())
}

/// Reads files one after the other.
trait FileReader: Send {
    /// Hands the rows of `file` to `emit`; `false` when nobody wants more.
    fn read(&mut self, file: &FileRef, emit: Emit<'_>) -> Result<bool>;
}

/// Opens a file that must still be what the load was planned with: its ranges would be wrong otherwise.
fn open(file: &FileRef) -> Result<File> {
    let doing = || format!("opening file \"{}\"", file.path);
    let opened = File::open(&file.path).map_err(|error| Error::io(doing(), &error))?;
    let bytes = opened.metadata().map_err(|error| Error::io(doing(), &error))?.len();
    if bytes != file.bytes {
        return Err(Error::new(ErrorKind::Io, format!("{}: it has changed since the load was planned", doing()))
            .with_detail(format!("it has {bytes} bytes now and had {}", file.bytes))
            .with_hint("run the load again when nobody writes to the file"));
    }
    Ok(opened)
}
