//! NTILE.

use super::{not_positive, number_at, signature, whole_number};
use crate::functions::no_such_call;
use crate::{Error, ErrorKind};
use arrow::array::{ArrayRef, Int64Array, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, ReversedUDWF, Signature, WindowUDFImpl};
use std::sync::Arc;

/// `ntile(buckets)`: the rows of the partition in so many buckets of nearly the same size, the larger ones first.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Ntile {
    signature: Signature,
}

impl Ntile {
    pub(super) fn new() -> Self {
        Self { signature: signature() }
    }
}

impl WindowUDFImpl for Ntile {
    fn name(&self) -> &str {
        "ntile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types.len() {
            1 => Ok(vec![whole_number("ntile", types, 0, "NTILE(number of buckets)")?]),
            _ => Err(no_such_call("ntile", types, "NTILE(number of buckets)").into()),
        }
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), DataType::Int64, true)))
    }

    fn partition_evaluator(&self, _arguments: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Buckets))
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }
}

#[derive(Debug)]
struct Buckets;

impl PartitionEvaluator for Buckets {
    /// The number of buckets is what the partition's first row says.
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let Some(buckets) = number_at(&values[0], 0)? else { return Ok(new_null_array(&DataType::Int64, rows)) };
        if buckets <= 0 {
            return Err(not_positive(ErrorKind::InvalidNtileArgument, "ntile").into());
        }
        let rows = i64::try_from(rows).map_err(|_| Error::internal("a partition has too many rows"))?;
        let (size, larger) = (rows / buckets, rows % buckets);
        let bucket = |row: i64| match row < larger * (size + 1) {
            true => row / (size + 1) + 1,
            // Rows are left only where buckets have at least one.
            false => larger + (row - larger * (size + 1)) / size.max(1) + 1,
        };
        Ok(Arc::new((0..rows).map(bucket).collect::<Int64Array>()))
    }
}
