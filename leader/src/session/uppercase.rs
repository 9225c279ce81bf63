//! Names of result columns in upper case, where the session asks for that (`describe_field_name_in_uppercase`).

use crate::context::Context;
use crate::frontend::{Description, Outcome};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use std::sync::Arc;

/// A description as the session tells it.
pub(super) fn told(context: &Context, description: Description) -> Description {
    match context.settings.lock().tells_names_in_uppercase() {
        true => Description { rows: description.rows.map(|rows| in_uppercase(&rows)), ..description },
        false => description,
    }
}

/// An outcome as the session tells it.
pub(super) fn answered(context: &Context, outcome: Outcome) -> Outcome {
    if !context.settings.lock().tells_names_in_uppercase() {
        return outcome;
    }
    match outcome {
        Outcome::Rows { schema, stream, tag } => {
            let schema = in_uppercase(&schema);
            let named = Arc::clone(&schema);
            let stream = stream.map(move |batch| {
                let batch: RecordBatch = batch?;
                let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                Ok(RecordBatch::try_new_with_options(Arc::clone(&named), batch.columns().to_vec(), &options)?)
            });
            let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream));
            Outcome::Rows { schema, stream, tag }
        }
        done @ Outcome::Done { .. } => done,
    }
}

fn in_uppercase(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let name = field.name().to_uppercase();
        Arc::new(field.as_ref().clone().with_name(name))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
