//! Redshift's scalar and window functions that the engine does not have, the same on the leader and on compute nodes.
//!
//! Plans name them; a worker finds them by name, so both sides call [`register`] on their registry. Some take the place
//! of a function of the engine that means something else (`to_char`, `to_date`, `to_timestamp`).

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::{Result as EngineResult, ScalarValue};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::any::Any;
use std::sync::Arc;

mod age;
mod alternative;
mod arithmetic;
mod blanks;
mod bounded;
mod bytes;
mod calendar;
mod cast_from;
mod compared;
mod date_part;
mod extract;
mod farm;
mod format;
mod hashes;
mod held;
mod interval_text;
mod intervals;
mod json_scan;
mod json_text;
mod number_format;
mod number_pattern;
mod number_write;
mod numbers;
mod only_value;
mod parse;
mod real;
mod regex;
mod supers;
#[cfg(test)]
mod tests;
mod text;
mod typed;
mod walk;
mod window;
mod words;
mod zoned;

pub use arithmetic::{CHECKED_NEGATE, arithmetic_function, arithmetic_operation};
pub use blanks::{AS_CHAR, AS_TYPE, BLANK_KEY, BLANK_VALUE, TIGHT, ends_in_blank, tight_argument, tight_key, tight_udf};
pub use bounded::CONCAT;
pub use bytes::AS_BYTES;
pub use cast_from::{CAST_FROM, CONDITION};
pub use date_part::DatePart;
pub use extract::{DATE_PART, DATE_TRUNC, EXTRACT, EXTRACT_EPOCH};
pub use held::{HELD, HELD_FROM_ESTIMATES, held_udf, unknown_udf};
pub use intervals::{
    INTERVAL_BETWEEN, INTERVAL_NANOS, INTERVAL_OVER, INTERVAL_TIMES, INTERVAL_VALUE, PARSE_INTERVAL, TIME_MINUS, TIME_PLUS,
};
pub use only_value::only_value_udf;
pub use parse::{PARSE_DECIMAL, TO_TIME, TO_TIMETZ, text_parser};
pub use real::{TO_DOUBLE, TO_REAL, WHOLE_DOUBLES_MAX};
pub use supers::{
    JSON_PARSE, SUPER_AS, SUPER_ELEMENTS, SUPER_NAMES, SUPER_NEGATE, SUPER_ORDER, SUPER_PATH, SUPER_PLACES, SUPER_STRING,
    SUPER_VALUES, TO_SUPER, super_arithmetic,
};
pub use walk::WALK;
pub use window::{ignoring_nulls, row_number, window_functions};

pub use zoned::{IN_ZONE, MINUS_IN, PLUS_IN, zoned_form};

use crate::casts::{Kind, When, cast, type_name};
use crate::{Error, ErrorKind, Result};

/// `slipher_text(x [, bytes])`: x as Redshift writes it, at most so many bytes long. What CAST(x AS VARCHAR(n)) becomes.
pub const TO_TEXT: &str = "slipher_text";
/// `slipher_text_or_bytes(x)`: x where it is VARBYTE, else its text. The planner replaces it by the one or the other.
pub const TEXT_OR_BYTES: &str = "slipher_text_or_bytes";
/// `slipher_round(x [, digits])`: x rounded to a whole number, or to so many digits behind the point; a decimal's type is a digit wider. What
/// CAST(x AS INTEGER) rounds with, and a cast to a decimal of fewer digits.
pub const ROUND_TO_WHOLE: &str = "slipher_round";
/// `slipher_trunc(x [, digits])`: TRUNC of numbers, and of timestamps to their date.
pub const TRUNC: &str = "slipher_trunc";

/// `slipher_power(a, b)`: POWER, and what `a ^ b` becomes.
pub const POWER: &str = "slipher_power";
/// `slipher_bitwise_not(a)`: what `~ a` becomes.
pub const BITWISE_NOT: &str = "slipher_bitwise_not";

/// Every scalar function of this module, and those of the engine whose arguments are cast.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    typed::wrapped(own())
}

fn own() -> Vec<Arc<ScalarUDF>> {
    [
        age::functions(),
        alternative::functions(),
        arithmetic::functions(),
        blanks::functions(),
        bounded::functions(),
        bytes::functions(),
        calendar::functions(),
        compared::functions(),
        extract::functions(),
        format::functions(),
        hashes::functions(),
        intervals::functions(),
        json_text::functions(),
        number_format::functions(),
        numbers::functions(),
        vec![only_value::function(), cast_from::function(), cast_from::condition(), walk::function()],
        parse::functions(),
        real::functions(),
        regex::functions(),
        supers::functions(),
        text::functions(),
        words::functions(),
        zoned::functions(),
    ]
    .into_iter()
    .flatten()
    .map(|function| Arc::new(ScalarUDF::new_from_impl(function)))
    .chain(arithmetic::binary())
    .chain(bounded::engine_functions())
    .chain([crate::part::part_udf(), crate::part::first_udf(), held_udf(), unknown_udf()])
    .collect()
}

/// Makes every function known, in place of the engine's own of the same name.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in all() {
        registry.register_udf(function)?;
    }
    for function in window_functions() {
        registry.register_udwf(Arc::clone(function))?;
    }
    registry.register_udaf(crate::list_agg::list_agg_udaf())?;
    Ok(())
}

/// Types that arguments are cast to.
type Coerce = fn(&[DataType]) -> Result<Vec<DataType>>;
/// The type of the result, from the types of the arguments.
type Returns = fn(&[DataType]) -> Result<DataType>;
/// Computes the result from arguments of equal length.
type Compute = fn(&[ArrayRef]) -> Result<ArrayRef>;
/// The expression that means the same, if there is a simpler one.
type Simplify = fn(&[Expr], &DataType) -> Option<Expr>;
/// The field of the result, where it says more than its type; from the fields and literals of the arguments.
type Describe = fn(&[FieldRef], &[Option<&ScalarValue>]) -> Option<FieldRef>;

/// What a comparison with a literal says of the argument.
type Preimage = fn(&[Expr], &Expr, &SimplifyContext) -> EngineResult<PreimageResult>;
/// Computes the result where the arguments' fields say more than their types.
type ComputeFields = fn(&[ArrayRef], &[FieldRef]) -> Result<ArrayRef>;
/// Computes a result of a type that the arguments' types do not say.
type ComputeAs = fn(&[ArrayRef], &DataType) -> Result<ArrayRef>;

/// A scalar function without state. Its name is its identity.
#[derive(Debug)]
struct Function {
    name: &'static str,
    signature: Signature,
    coerce: Coerce,
    returns: Returns,
    compute: Compute,
    simplify: Option<Simplify>,
    describe: Option<Describe>,
    preimage: Option<Preimage>,
    compute_fields: Option<ComputeFields>,
    compute_as: Option<ComputeAs>,
    /// The result may be NULL where no argument is.
    may_be_null: bool,
}

impl Function {
    fn new(name: &'static str, coerce: Coerce, returns: Returns, compute: Compute) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self {
            name,
            signature,
            coerce,
            returns,
            compute,
            simplify: None,
            describe: None,
            preimage: None,
            compute_fields: None,
            compute_as: None,
            may_be_null: false,
        }
    }
}

/// What arguments make, of one value each where all are single ones.
fn on_arrays(arguments: &[ColumnarValue], compute: impl FnOnce(&[ArrayRef]) -> Result<ArrayRef>) -> EngineResult<ColumnarValue> {
    let scalar = arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
    let answer = compute(&ColumnarValue::values_to_arrays(arguments)?)?;
    if scalar {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answer, 0)?));
    }
    Ok(ColumnarValue::Array(answer))
}

told_apart_by!(Function, name);

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> EngineResult<DataType> {
        Ok((self.returns)(arguments)?)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> EngineResult<FieldRef> {
        let described = self.describe.and_then(|describe| describe(arguments.arg_fields, arguments.scalar_arguments));
        if let Some(field) = described {
            return Ok(field);
        }
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = self.may_be_null || arguments.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(arrow::datatypes::Field::new(self.name, (self.returns)(&types)?, nullable)))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> EngineResult<Vec<DataType>> {
        Ok((self.coerce)(arguments)?)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        on_arrays(&arguments.args, |arrays| match (self.compute_fields, self.compute_as) {
            (Some(compute), _) => compute(arrays, &arguments.arg_fields),
            (None, Some(compute)) => compute(arrays, arguments.return_field.data_type()),
            (None, None) => (self.compute)(arrays),
        })
    }

    fn simplify(&self, arguments: Vec<Expr>, context: &SimplifyContext) -> EngineResult<ExprSimplifyResult> {
        if let (Some(simplify), Some(first)) = (self.simplify, arguments.first()) {
            let data_type = context.get_data_type(first)?;
            if let Some(simpler) = simplify(&arguments, &data_type) {
                return Ok(ExprSimplifyResult::Simplified(simpler));
            }
        }
        Ok(ExprSimplifyResult::Original(arguments))
    }

    fn preimage(&self, arguments: &[Expr], literal: &Expr, context: &SimplifyContext) -> EngineResult<PreimageResult> {
        match self.preimage {
            Some(preimage) => preimage(arguments, literal, context),
            None => Ok(PreimageResult::None),
        }
    }
}

/// The result is of the first argument's type, whatever more its field says.
fn as_first_argument(fields: &[FieldRef], _literals: &[Option<&ScalarValue>]) -> Option<FieldRef> {
    let nullable = fields.iter().any(|field| field.is_nullable());
    fields.first().map(|first| Arc::new(first.as_ref().clone().with_nullable(nullable)))
}

/// Timestamps as Slipher keeps them.
const MICROSECOND: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether an argument is text, or becomes text by itself.
fn becomes_text(data_type: &DataType) -> bool {
    *data_type == DataType::Null || Kind::of_arrow(data_type).is_some_and(|kind| cast(kind, Kind::Text) == Some(When::Implicit))
}

/// 42883 with the signature that would have been right.
pub(crate) fn no_such_call(name: &str, arguments: &[DataType], usage: &str) -> Error {
    let types: Vec<String> = arguments.iter().map(sql_name).collect();
    Error::new(ErrorKind::UndefinedFunction, format!("function \"{name}\"({}) does not exist", types.join(", ")))
        .with_hint(format!("write {usage}"))
}

fn sql_name(data_type: &DataType) -> String {
    match crate::SqlType::from_arrow(data_type) {
        Ok(sql_type) if !is_text(data_type) && *data_type != DataType::Null => sql_type.to_string(),
        _ => type_name(data_type),
    }
}

/// The array as one of type `T`; an unexpected one is a defect of the coercion above.
fn downcast<T: Any>(array: &ArrayRef) -> Result<&T> {
    array.as_any().downcast_ref::<T>().ok_or_else(|| Error::internal(format!("a function got a column of {}", array.data_type())))
}
