//! Every operation over every pair of types: the type of the result, and its value.

use super::*;
use arrow::array::{Decimal128Array, Float64Array, Int16Array, Int64Array};
use arrow::compute::cast;

fn run(operation: Operation, left: &ColumnarValue, right: &ColumnarValue) -> EngineResult<ColumnarValue> {
    let function = Arithmetic::new(operation);
    let types = function.coerce_types(&[left.data_type(), right.data_type()])?;
    let arguments: Vec<ColumnarValue> =
        [left, right].into_iter().zip(&types).map(|(value, to)| value.cast_to(to, None)).collect::<EngineResult<_>>()?;
    let field = Arc::new(Field::new("result", function.return_type(&types)?, true));
    let arg_fields = types.iter().map(|to| Arc::new(Field::new("operand", to.clone(), true))).collect();
    let config_options = Arc::default();
    let rows = arguments.iter().find_map(|value| match value {
        ColumnarValue::Array(array) => Some(array.len()),
        ColumnarValue::Scalar(_) => None,
    });
    let number_rows = rows.unwrap_or(1);
    let arguments = ScalarFunctionArgs { args: arguments, arg_fields, number_rows, return_field: field, config_options };
    let answer = function.invoke_with_args(arguments)?;
    assert_eq!(answer.data_type(), function.return_type(&[left.data_type(), right.data_type()])?);
    Ok(answer)
}

/// The one row of an answer as text, and its type.
fn shown(answer: &ColumnarValue) -> String {
    let array = answer.to_array(1).unwrap();
    let text = cast(&array, &DataType::Utf8).unwrap();
    let value = text.as_string::<i32>().value(0).to_owned();
    let value = value.strip_suffix(".0").filter(|_| array.data_type().is_floating()).map_or(value.clone(), str::to_owned);
    format!("{value} {}", super::super::sql_name(array.data_type()))
}

/// A number of a type, as one value and as a column of one row.
fn forms(text: &str, data_type: &DataType) -> [ColumnarValue; 2] {
    let array = cast(&arrow::array::StringArray::from(vec![text]), data_type).unwrap();
    [ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0).unwrap()), ColumnarValue::Array(array)]
}

fn compute_text(left: (&str, &DataType), operation: Operation, right: (&str, &DataType)) -> EngineResult<String> {
    let mut answers = Vec::new();
    for left in forms(left.0, left.1) {
        for right in forms(right.0, right.1) {
            answers.push(run(operation, &left, &right).map(|answer| shown(&answer)));
        }
    }
    let first = answers.remove(0)?;
    for other in answers {
        assert_eq!(other?, first, "columns and single values differ");
    }
    Ok(first)
}

#[test]
fn seventeen_and_five_over_all_pairs_of_types() {
    use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64};
    use Operation::{Add, Divide, Modulo, Multiply, Subtract};
    let d = &Decimal128(8, 2);
    let whole = [
        (&Int16, &Int16, "smallint"),
        (&Int16, &Int32, "integer"),
        (&Int16, &Int64, "bigint"),
        (&Int32, &Int16, "integer"),
        (&Int32, &Int32, "integer"),
        (&Int32, &Int64, "bigint"),
        (&Int64, &Int16, "bigint"),
        (&Int64, &Int32, "bigint"),
        (&Int64, &Int64, "bigint"),
    ];
    for (left, right, name) in whole {
        for (operation, value) in [(Add, "22"), (Subtract, "12"), (Multiply, "85"), (Divide, "3"), (Modulo, "2")] {
            assert_eq!(compute_text(("17", left), operation, ("5", right)).unwrap(), format!("{value} {name}"));
            let minus = if matches!(operation, Add) { continue } else { compute_text(("-17", left), operation, ("5", right)) };
            let expected = match operation {
                Subtract => "-22",
                Multiply => "-85",
                Divide => "-3",
                _ => "-2",
            };
            assert_eq!(minus.unwrap(), format!("{expected} {name}"), "cut off towards zero");
        }
    }
    let all = [Int16, Int32, Int64, d.clone(), Float32, Float64];
    for float in [&Float32, &Float64] {
        for other in &all {
            let name = if *float == Float32 && *other == Float32 { "real" } else { "double precision" };
            for (operation, value) in [(Add, "22"), (Subtract, "12"), (Multiply, "85"), (Modulo, "2")] {
                assert_eq!(compute_text(("17", float), operation, ("5", other)).unwrap(), format!("{value} {name}"));
                assert_eq!(compute_text(("17", other), operation, ("5", float)).unwrap(), format!("{value} {name}"));
            }
            assert_eq!(compute_text(("17", float), Divide, ("4", other)).unwrap(), format!("4.25 {name}"));
        }
    }
    for (left, operation, right, expected) in [
        (d, Add, d, "22.00 numeric(9,2)"),
        (d, Subtract, &Int16, "12.00 numeric(9,2)"),
        (&Int32, Add, d, "22.00 numeric(13,2)"),
        (d, Add, &Int64, "22.00 numeric(22,2)"),
        (d, Multiply, d, "85.0000 numeric(17,4)"),
        (d, Multiply, &Int16, "85.00 numeric(14,2)"),
        (&Int32, Multiply, d, "85.00 numeric(19,2)"),
        (d, Divide, d, "3.400000000 numeric(17,9)"),
        (d, Divide, &Int16, "3.40000000 numeric(14,8)"),
        (&Int32, Divide, d, "3.4000000 numeric(19,7)"),
        (&Int64, Divide, d, "3.4000000 numeric(28,7)"),
        (d, Modulo, d, "2.00 numeric(8,2)"),
        (d, Modulo, &Int16, "2.00 numeric(7,2)"),
        (&Int64, Modulo, d, "2.00 numeric(8,2)"),
    ] {
        assert_eq!(compute_text(("17", left), operation, ("5", right)).unwrap(), expected);
    }
}

#[test]
fn quotients_are_cut_off_and_38_digits_are_the_limit() {
    use DataType::{Decimal128, Int32, Int64};
    use Operation::{Add, Divide, Modulo, Multiply, Subtract};
    let d = |precision, scale| Decimal128(precision, scale);
    let nines = "9".repeat(38);
    let value = |left: (&str, DataType), operation, right: (&str, DataType)| {
        compute_text((left.0, &left.1), operation, (right.0, &right.1)).unwrap()
    };
    assert_eq!(value(("0.05", d(2, 2)), Divide, ("7", Int32)), "0.0071428571428 numeric(13,13)");
    assert_eq!(value(("-20", d(8, 2)), Divide, ("3", d(8, 2))), "-6.666666666 numeric(17,9)");
    assert_eq!(value(("2", d(38, 4)), Divide, ("3", d(38, 4))), "0.6666 numeric(38,4)");
    assert_eq!(value((&nines, d(38, 0)), Divide, ("100000", Int64)), "999999999999999999999999999999999.9999 numeric(38,4)");
    assert_eq!(value((&nines, d(38, 0)), Modulo, ("7.5", d(38, 20))), "1.50000000000000000000 numeric(38,20)");
    assert_eq!(value((&nines, d(38, 0)), Multiply, ("-1", d(38, 0))), format!("-{nines} numeric(38,0)"));
    assert_eq!(value(("0.5", d(38, 30)), Multiply, ("0.5", d(38, 10))), format!("0.25{} numeric(38,37)", "0".repeat(35)));
    assert_eq!(value(("1.5", d(20, 2)), Multiply, ("-2.5", d(19, 2))), "-3.7500 numeric(38,4)");
    for (left, operation, right) in [
        ((nines.as_str(), d(38, 0)), Add, ("1", d(1, 0))),
        ((nines.as_str(), d(38, 0)), Add, ("0.5", d(2, 1))),
        (("1", d(38, 37)), Subtract, ("99", d(2, 0))),
        ((nines.as_str(), d(38, 0)), Multiply, ("2", d(1, 0))),
        ((nines.as_str(), d(38, 0)), Divide, ("0.1", d(2, 1))),
    ] {
        let error = crate::Error::from(compute_text((left.0, &left.1), operation, (right.0, &right.1)).unwrap_err());
        assert_eq!(
            (error.sqlstate(), error.message.as_str()),
            ("22003", "numeric out of range"),
            "{left:?} {operation:?} {right:?}"
        );
    }
    for operation in [Divide, Modulo] {
        for zero in [Int32, Int64, d(8, 2), DataType::Float32, DataType::Float64] {
            for left in [Int32, d(8, 2), d(38, 10), DataType::Float64] {
                let error = crate::Error::from(compute_text(("1", &left), operation, ("0", &zero)).unwrap_err());
                assert_eq!(error.sqlstate(), "22012", "{left} {operation:?} {zero}");
            }
        }
    }
}

#[test]
fn integers_overflow_in_their_type_and_nulls_hide_what_is_under_them() {
    use Operation::{Add, Divide, Multiply, Subtract};
    for (left, operation, right, data_type, message) in [
        ("32767", Add, "1", DataType::Int16, "smallint out of range"),
        ("2147483647", Add, "1", DataType::Int32, "integer out of range"),
        ("-9223372036854775808", Subtract, "1", DataType::Int64, "bigint out of range"),
        ("2147483647", Multiply, "2", DataType::Int32, "integer out of range"),
        ("-2147483648", Divide, "-1", DataType::Int32, "integer out of range"),
    ] {
        let error = crate::Error::from(compute_text((left, &data_type), operation, (right, &data_type)).unwrap_err());
        assert_eq!((error.sqlstate(), error.message.as_str()), ("22003", message));
    }
    let array = |array: ArrayRef| ColumnarValue::Array(array);
    let hidden = array(Arc::new(Int64Array::new(vec![i64::MAX].into(), Some(vec![false].into()))));
    let null_rows = |answer: ColumnarValue| answer.to_array(1).unwrap().null_count();
    assert_eq!(null_rows(run(Add, &hidden, &hidden).unwrap()), 1);
    let most = Decimal128Array::new(vec![i128::MAX].into(), Some(vec![false].into())).with_precision_and_scale(38, 4).unwrap();
    let hidden = array(Arc::new(most));
    let zero = array(Arc::new(Decimal128Array::from(vec![0]).with_precision_and_scale(38, 4).unwrap()));
    for operation in Operation::ALL {
        assert_eq!(null_rows(run(operation, &hidden, &hidden).unwrap()), 1, "{operation:?}");
        assert_eq!(null_rows(run(operation, &hidden, &zero).unwrap()), 1, "{operation:?}");
    }
    let least: ArrayRef = Arc::new(Int16Array::from(vec![i16::MIN]));
    let negated = (functions().remove(0).compute)(&[least]);
    assert_eq!(negated.unwrap_err().message, "smallint out of range");
    let nothing = array(Arc::new(Float64Array::from(vec![None])));
    let none = array(Arc::new(Float64Array::from(vec![Some(0.0)])));
    assert_eq!(null_rows(run(Divide, &nothing, &none).unwrap()), 1);
}
