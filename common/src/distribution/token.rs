//! Bucket tokens: how a hash shuffle is made to land where slices are stored.
//!
//! DataFusion treats any two `Hash(_, n)` inputs as co-partitioned and never compares hash functions, so a shuffle by its own
//! hash beside a table placed by `H` would silently lose rows. A shuffle's key is therefore replaced by
//! `bucket_token(tokens, keys...)`: it computes `H(keys) mod slice_count` and yields a number that the engine's hash sends to
//! the (task, partition) that owns that slice.

use crate::distribution::hash_columns;
use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::hash_utils::create_hashes;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_plan::repartition::REPARTITION_RANDOM_STATE;
use std::sync::Arc;

/// The name under which workers register the function.
pub const BUCKET_TOKEN_FUNCTION: &str = "bucket_token";
/// How many numbers are tried for a slot; about `slots` tries are expected.
const TOKEN_TRIES_PER_SLOT_MAX: u64 = 10_000;

/// One token per slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTable {
    tokens: Vec<u64>,
}

impl TokenTable {
    /// Builds the table for `slot_of_slice` (slot = task · P + partition) over `slots` = T · P slots.
    pub fn new(slot_of_slice: &[usize], slots: usize) -> Result<Self> {
        let per_slot = tokens_of_slots(slots)?;
        let tokens = slot_of_slice
            .iter()
            .map(|slot| {
                per_slot.get(*slot).copied().ok_or_else(|| Error::internal(format!("slot {slot} of {slots} does not exist")))
            })
            .collect::<Result<_>>()?;
        Ok(Self { tokens })
    }

    /// The table as the literal that travels with the plan: 8 bytes per slice, little endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
    }
}

fn tokens_of_slots(slots: usize) -> Result<Vec<u64>> {
    let mut found: Vec<Option<u64>> = vec![None; slots];
    let mut missing = slots;
    let tries_max = TOKEN_TRIES_PER_SLOT_MAX * slots as u64;
    let candidates = UInt64Array::from_iter_values(0..tries_max.min(64 * slots as u64 + 1024));
    let array: ArrayRef = Arc::new(candidates);
    let mut hashes = vec![0u64; array.len()];
    create_hashes([&array], REPARTITION_RANDOM_STATE.random_state(), &mut hashes)?;
    for (candidate, hash) in hashes.iter().enumerate() {
        let slot = (*hash % slots as u64) as usize;
        if found[slot].is_none() {
            found[slot] = Some(candidate as u64);
            missing -= 1;
            if missing == 0 {
                break;
            }
        }
    }
    found
        .into_iter()
        .map(|token| token.ok_or_else(|| Error::internal(format!("no token found for one of {slots} slots"))))
        .collect()
}

/// The function that workers and leaders register.
pub fn bucket_token_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(BucketToken { signature: Signature::variadic_any(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BucketToken {
    signature: Signature,
}

impl ScalarUDFImpl for BucketToken {
    fn name(&self) -> &str {
        BUCKET_TOKEN_FUNCTION
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> datafusion::error::Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> datafusion::error::Result<ColumnarValue> {
        let Some((ColumnarValue::Scalar(ScalarValue::Binary(Some(table))), keys)) = arguments.args.split_first() else {
            return Err(Error::internal("bucket_token: the first argument is not the token table").into());
        };
        let (tokens, []) = table.as_chunks::<8>() else {
            return Err(Error::internal("bucket_token: the token table is torn").into());
        };
        if tokens.is_empty() {
            return Err(Error::internal("bucket_token: the token table is empty").into());
        }
        let rows = arguments.number_rows;
        let keys: Vec<ArrayRef> = keys.iter().map(|key| key.to_array(rows)).collect::<datafusion::error::Result<_>>()?;
        let hashes = hash_columns(&keys, rows)?;
        let slice_count = tokens.len() as u64;
        let values = hashes.into_iter().map(|hash| u64::from_le_bytes(tokens[(hash % slice_count) as usize]));
        Ok(ColumnarValue::Array(Arc::new(UInt64Array::from_iter_values(values))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_a_token_that_the_engine_sends_there() {
        for slots in [2usize, 4, 6, 32, 128] {
            let table = TokenTable::new(&(0..slots).collect::<Vec<_>>(), slots).unwrap();
            let array: ArrayRef = Arc::new(UInt64Array::from(table.tokens.clone()));
            let mut hashes = vec![0u64; slots];
            create_hashes([&array], REPARTITION_RANDOM_STATE.random_state(), &mut hashes).unwrap();
            let landed: Vec<usize> = hashes.iter().map(|hash| (*hash % slots as u64) as usize).collect();
            assert_eq!(landed, (0..slots).collect::<Vec<_>>());
        }
    }
}
