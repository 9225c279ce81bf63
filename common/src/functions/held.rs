//! A value that the engine does not look into.
//!
//! The engine's simplifier and its IN lists know rules that are right for most expressions and wrong for some; what is held stays as it
//! was written. The leader says where (`plan/held.rs`).

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::{Arc, LazyLock};

use super::no_such_call;

/// `slipher_held(value)`, `slipher_held(value, number)`: the value. Two that have different numbers are not taken for the same.
pub const HELD: &str = "slipher_held";

/// The number of a value that is kept from estimates only: what computes with it may take it out. Other numbers are greater.
pub const HELD_FROM_ESTIMATES: i64 = 0;

/// The function.
pub fn held_udf() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Held { signature }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Held {
    signature: Signature,
}

impl ScalarUDFImpl for Held {
    fn name(&self) -> &str {
        HELD
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().ok_or_else(|| no_such_call(HELD, types, "a value"))?)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(arguments.arg_fields.first().cloned().ok_or_else(|| no_such_call(HELD, &[], "a value"))?)
    }

    /// One value for each row, never one for all: that is how the engine recognises a constant.
    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = arguments.args.first().ok_or_else(|| no_such_call(HELD, &[], "a value"))?;
        Ok(ColumnarValue::Array(value.to_array(arguments.number_rows)?))
    }
}

/// `slipher_unknown()`: NULL, of which the engine knows nothing; nor of what has it as an argument.
const UNKNOWN: &str = "slipher_unknown";

/// The function.
pub fn unknown_udf() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::nullary(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Unknown { signature }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Unknown {
    signature: Signature,
}

impl ScalarUDFImpl for Unknown {
    fn name(&self) -> &str {
        UNKNOWN
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Null)
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Null))
    }
}
