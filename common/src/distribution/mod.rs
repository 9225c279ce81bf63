//! Distribution: which slice a row belongs to, and how a shuffle lands where the slice is stored.

mod hash;
mod token;

pub use hash::{HASH_VERSION, NULL_HASH, hash_columns, slices_of};
pub use token::{BUCKET_TOKEN_FUNCTION, TokenTable, bucket_token_udf};
