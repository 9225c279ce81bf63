//! Strings are bounded where they are made: no string has more bytes than VARCHAR allows. The functions of the engine that make long ones
//! of short ones are asked only after their arguments say how long the longest will be, so that nothing is allocated that must not be.

use super::{Function, is_text, no_such_call};
use crate::sql_type::{VARBYTE_LENGTH_MAX_BYTES, VARCHAR_LENGTH_MAX_BYTES};
use crate::{Error, ErrorKind, Result};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::Result as EngineResult;
use datafusion::functions::{string, unicode};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// `slipher_concat(a, b, ...)`: a || b || ..., however many; NULL when one of them is.
pub const CONCAT: &str = "slipher_concat";

const MAX_BYTES: usize = VARCHAR_LENGTH_MAX_BYTES as usize;

pub(super) fn functions() -> Vec<Function> {
    vec![Function::new(CONCAT, concat_coerce, concat_type, concat)]
}

/// The engine's functions, bounded.
pub(super) fn engine_functions() -> Vec<Arc<ScalarUDF>> {
    let bounded: [(Arc<ScalarUDF>, Predict); 8] = [
        (string::repeat(), predict_repeat),
        (string::replace(), predict_replace),
        (string::concat(), predict_concat),
        (string::concat_ws(), predict_concat_ws),
        (unicode::lpad(), predict_pad),
        (unicode::rpad(), predict_pad),
        (unicode::translate(), |_, _| None),
        (unicode::initcap(), |_, _| None),
    ];
    let as_engine = |(engine, predict): (Arc<ScalarUDF>, Predict)| {
        let signature = engine.signature().clone();
        Bounded { engine, predict, signature, coerce: None }
    };
    let substr = Bounded {
        engine: unicode::substr(),
        predict: |_, _| None,
        signature: Signature::user_defined(Volatility::Immutable),
        coerce: Some(substr_coerce),
    };
    let all = bounded.into_iter().map(as_engine).chain([substr]);
    all.map(|function| Arc::new(ScalarUDF::new_from_impl(function))).collect()
}

/// The engine's SUBSTR knows no SMALLINT.
fn substr_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    let is_number = |data_type: &DataType| data_type.is_integer() || *data_type == DataType::Null;
    match types {
        [text, numbers @ ..]
            if (is_text(text) || *text == DataType::Null)
                && (1..=2).contains(&numbers.len())
                && numbers.iter().all(is_number) =>
        {
            let text = if is_text(text) { text.clone() } else { DataType::Utf8View };
            Ok(std::iter::once(text).chain(numbers.iter().map(|_| DataType::Int64)).collect())
        }
        _ => Err(no_such_call("substring", types, "substring(a_text, first_character [, length])")),
    }
}

/// 22001: what `function` makes of a row is too long.
pub(crate) fn too_long(function: &str, bytes: usize) -> Error {
    Error::new(ErrorKind::StringTooLong, format!("string value exceeds the maximum size of {MAX_BYTES} bytes"))
        .with_detail(format!("the result of {function} has {bytes} bytes"))
        .with_hint("make its parts shorter, for example with LEFT")
}

/// Fails when a row's string is too long.
pub(crate) fn check_lengths(function: &str, texts: &dyn Array) -> Result<()> {
    let texts = Lengths::Each(texts);
    let longest = (0..texts.rows()).filter_map(|row| texts.of(row)).max().unwrap_or(0);
    if longest > MAX_BYTES { Err(too_long(function, longest)) } else { Ok(()) }
}

/// How many bytes the result of a row will have at least: those of its arguments say it. None: not known, or NULL.
type Predict = fn(&[ColumnarValue], usize) -> Option<usize>;

/// A function of the engine's whose results are bounded.
#[derive(Debug)]
struct Bounded {
    engine: Arc<ScalarUDF>,
    predict: Predict,
    signature: Signature,
    /// The types of arguments, where the engine does not know all that there are.
    coerce: Option<super::Coerce>,
}

told_apart_by!(Bounded, engine);

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn aliases(&self) -> &[String] {
        self.engine.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> EngineResult<DataType> {
        self.engine.return_type(types)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> EngineResult<FieldRef> {
        self.engine.return_field_from_args(arguments)
    }

    fn coerce_types(&self, types: &[DataType]) -> EngineResult<Vec<DataType>> {
        match self.coerce {
            Some(coerce) => Ok(coerce(types)?),
            None => self.engine.coerce_types(types),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let scalar = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { arguments.number_rows };
        let most = (0..rows).filter_map(|row| (self.predict)(&arguments.args, row)).max().unwrap_or(0);
        if most > MAX_BYTES {
            return Err(too_long(self.name(), most).into());
        }
        let answer = self.engine.invoke_with_args(arguments)?;
        match &answer {
            ColumnarValue::Array(texts) => check_lengths(self.name(), texts)?,
            ColumnarValue::Scalar(text) => match text.try_as_str().flatten() {
                Some(text) if text.len() > MAX_BYTES => return Err(too_long(self.name(), text.len()).into()),
                _ => {}
            },
        }
        Ok(answer)
    }
}

/// The lengths of a column's strings.
enum Lengths<'a> {
    Each(&'a dyn Array),
    All(Option<usize>),
}

impl<'a> Lengths<'a> {
    fn new(value: &'a ColumnarValue) -> Self {
        match value {
            ColumnarValue::Array(texts) => Self::Each(texts),
            ColumnarValue::Scalar(text) => Self::All(text.try_as_str().flatten().map(str::len)),
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Each(texts) => texts.len(),
            Self::All(_) => 1,
        }
    }

    fn of(&self, row: usize) -> Option<usize> {
        match self {
            Self::Each(texts) => text_of(*texts, row).map(str::len),
            Self::All(length) => *length,
        }
    }
}

fn text_of(texts: &dyn Array, row: usize) -> Option<&str> {
    if row >= texts.len() || texts.is_null(row) {
        return None;
    }
    match texts.data_type() {
        DataType::Utf8View => texts.as_string_view_opt().map(|texts| texts.value(row)),
        DataType::Utf8 => texts.as_string_opt::<i32>().map(|texts| texts.value(row)),
        DataType::LargeUtf8 => texts.as_string_opt::<i64>().map(|texts| texts.value(row)),
        _ => None,
    }
}

fn text(value: &ColumnarValue, row: usize) -> Option<&str> {
    match value {
        ColumnarValue::Array(texts) => text_of(texts, row),
        ColumnarValue::Scalar(text) => text.try_as_str().flatten(),
    }
}

fn whole(value: &ColumnarValue, row: usize) -> Option<usize> {
    let number = match value {
        ColumnarValue::Array(numbers) => {
            let numbers = numbers.as_primitive_opt::<Int64Type>()?;
            numbers.is_valid(row).then(|| numbers.value(row))?
        }
        ColumnarValue::Scalar(datafusion::common::ScalarValue::Int64(number)) => (*number)?,
        ColumnarValue::Scalar(_) => return None,
    };
    Some(usize::try_from(number).unwrap_or(0))
}

fn predict_repeat(arguments: &[ColumnarValue], row: usize) -> Option<usize> {
    let [value, times] = arguments else { return None };
    Some(text(value, row)?.len().saturating_mul(whole(times, row)?))
}

/// A character has a byte at least.
fn predict_pad(arguments: &[ColumnarValue], row: usize) -> Option<usize> {
    let [value, length, fill @ ..] = arguments else { return None };
    text(value, row)?;
    match fill.first() {
        Some(fill) if text(fill, row)?.is_empty() => None,
        _ => whole(length, row),
    }
}

fn predict_replace(arguments: &[ColumnarValue], row: usize) -> Option<usize> {
    let [value, old, new] = arguments else { return None };
    let (value, old, new) = (text(value, row)?, text(old, row)?, text(new, row)?);
    if new.len() <= old.len() {
        return None;
    }
    // The engine puts the new text before, between and behind all characters when the old one is empty.
    let most = value.len().checked_div(old.len()).unwrap_or(value.len() + 1);
    if value.len().saturating_add(most.saturating_mul(new.len())) <= MAX_BYTES {
        return None;
    }
    let found = value.matches(old).count();
    Some((value.len() - found * old.len()).saturating_add(found.saturating_mul(new.len())))
}

fn predict_concat(arguments: &[ColumnarValue], row: usize) -> Option<usize> {
    Some(arguments.iter().filter_map(|argument| Lengths::new(argument).of(row)).sum())
}

fn predict_concat_ws(arguments: &[ColumnarValue], row: usize) -> Option<usize> {
    let [between, parts @ ..] = arguments else { return None };
    let between = text(between, row)?.len();
    let lengths: Vec<usize> = parts.iter().filter_map(|part| Lengths::new(part).of(row)).collect();
    Some(lengths.iter().sum::<usize>() + between * lengths.len().saturating_sub(1))
}

fn concat_type(types: &[DataType]) -> Result<DataType> {
    Ok(if are_bytes(types) { DataType::Binary } else { DataType::Utf8View })
}

fn concat_coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    if are_bytes(types) {
        return Ok(vec![DataType::Binary; types.len()]);
    }
    match types.iter().any(|known| is_text(known) || *known == DataType::Null) {
        true => Ok(vec![DataType::Utf8View; types.len()]),
        false => Err(no_such_call("||", types, "CAST(a AS VARCHAR(n)) || b")),
    }
}

/// Bytes, with NULLs and texts in quotes among them.
fn are_bytes(types: &[DataType]) -> bool {
    let beside = |known: &DataType| matches!(known, DataType::Binary | DataType::Null | DataType::Utf8);
    types.contains(&DataType::Binary) && types.iter().all(beside)
}

fn concat(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    if arguments.iter().all(|argument| *argument.data_type() == DataType::Binary) {
        return joined_bytes(arguments);
    }
    let texts = arguments.iter().map(super::downcast::<arrow::array::StringViewArray>).collect::<Result<Vec<_>>>()?;
    let rows = texts.first().map_or(0, |first| first.len());
    let mut answer = StringViewBuilder::with_capacity(rows);
    let mut joined = String::new();
    for row in 0..rows {
        if texts.iter().any(|column| column.is_null(row)) {
            answer.append_null();
            continue;
        }
        let bytes: usize = texts.iter().map(|column| column.value(row).len()).sum();
        if bytes > MAX_BYTES {
            return Err(too_long("||", bytes));
        }
        joined.clear();
        texts.iter().for_each(|column| joined.push_str(column.value(row)));
        answer.append_value(&joined);
    }
    Ok(Arc::new(answer.finish()))
}

/// Bytes one after the other.
fn joined_bytes(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let columns = arguments.iter().map(super::downcast::<BinaryArray>).collect::<Result<Vec<_>>>()?;
    let rows = columns.first().map_or(0, |first| first.len());
    let mut answer = BinaryBuilder::new();
    for row in 0..rows {
        if columns.iter().any(|column| column.is_null(row)) {
            answer.append_null();
            continue;
        }
        let value: Vec<u8> = columns.iter().flat_map(|column| column.value(row)).copied().collect();
        if value.len() > VARBYTE_LENGTH_MAX_BYTES as usize {
            let message = format!("||: a value of {} bytes is longer than VARBYTE can be", value.len());
            return Err(Error::new(ErrorKind::StringTooLong, message));
        }
        answer.append_value(value);
    }
    Ok(Arc::new(answer.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::ScalarValue;

    fn of(value: &str) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Utf8View(Some(value.to_owned())))
    }

    fn number(value: i64) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(value)))
    }

    #[test]
    fn lengths_are_known_before_anything_is_made() {
        assert_eq!(predict_repeat(&[of("ab"), number(300_000_000)], 0), Some(600_000_000));
        assert_eq!(predict_repeat(&[of("ab"), number(-1)], 0), Some(0));
        assert_eq!(predict_repeat(&[of("abc"), number(i64::MAX)], 0), Some(usize::MAX));
        assert_eq!(predict_pad(&[of("ab"), number(70_000)], 0), Some(70_000));
        assert_eq!(predict_pad(&[of("ab"), number(70_000), of("")], 0), None);
        let long = "a".repeat(1000);
        assert_eq!(predict_replace(&[of(&long), of("a"), of(&long)], 0), Some(1_000_000));
        assert_eq!(predict_replace(&[of(&long), of("b"), of(&long)], 0), Some(1000));
        assert_eq!(predict_replace(&[of(&long), of(""), of(&long)], 0), Some(1_002_000));
        assert_eq!(predict_concat_ws(&[of(", "), of("a"), of("b")], 0), Some(4));
    }

    #[test]
    fn concatenation_is_bounded_and_null_with_null() {
        let column = |values: &[Option<&str>]| Arc::new(arrow::array::StringViewArray::from(values.to_vec())) as ArrayRef;
        let (a, b) = (column(&[Some("x"), None, Some("y")]), column(&[Some("é"), Some("z"), Some("")]));
        let joined = concat(&[Arc::clone(&a), b, a]).unwrap();
        assert_eq!(joined.as_string_view().iter().collect::<Vec<_>>(), [Some("xéx"), None, Some("yy")]);
        let long = "l".repeat(40_000);
        let long = column(&[Some(&long)]);
        assert_eq!(concat(&[Arc::clone(&long), long]).unwrap_err().sqlstate(), "22001");
    }
}
