use super::sliding::{Frame, Moments};
use super::*;
use crate::Error;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array};
use arrow::datatypes::{Decimal128Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::EmitTo;

const BIG: DataType = DataType::Decimal128(38, 0);

fn longs(values: &[Option<i64>]) -> [ArrayRef; 1] {
    [Arc::new(Int64Array::from(values.to_vec()))]
}

fn decimals(values: &[Option<i128>], precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
}

fn error_of<T: std::fmt::Debug>(result: Result<T>) -> (String, String) {
    let error = Error::from(result.unwrap_err());
    (error.sqlstate().to_owned(), error.message)
}

#[test]
fn running_totals_also_over_frames_that_move() {
    let mut sum = Running::new(Kind::Sum, &DataType::Int64, BIG);
    assert_eq!(sum.evaluate().unwrap(), ScalarValue::Decimal128(None, 38, 0));
    sum.update_batch(&longs(&[Some(i64::MAX), None, Some(5)])).unwrap();
    assert_eq!(sum.evaluate().unwrap(), ScalarValue::Decimal128(Some(i128::from(i64::MAX) + 5), 38, 0));
    sum.retract_batch(&longs(&[Some(i64::MAX)])).unwrap();
    assert_eq!(sum.evaluate().unwrap(), ScalarValue::Decimal128(Some(5), 38, 0));
    sum.retract_batch(&longs(&[None, Some(5)])).unwrap();
    assert_eq!(sum.evaluate().unwrap(), ScalarValue::Decimal128(None, 38, 0));

    let mut average = Running::new(Kind::Average, &DataType::Int32, DataType::Int64);
    average.update_batch(&[Arc::new(Int32Array::from(vec![Some(-7), None, Some(-8)]))]).unwrap();
    assert_eq!(average.evaluate().unwrap(), ScalarValue::Int64(Some(-7)), "cut off towards zero");
    let mut other = Running::new(Kind::Average, &DataType::Int32, DataType::Int64);
    let state: Vec<ArrayRef> = average.state().unwrap().iter().map(|value| value.to_array().unwrap()).collect();
    other.merge_batch(&state).unwrap();
    other.update_batch(&[Arc::new(Int32Array::from(vec![30]))]).unwrap();
    assert_eq!(other.evaluate().unwrap(), ScalarValue::Int64(Some(5)));

    let most = 10_i128.pow(38) - 1;
    let mut sum = Running::new(Kind::Sum, &BIG, BIG);
    sum.update_batch(&[decimals(&[Some(most), Some(1)], 38, 0)]).unwrap();
    assert_eq!(error_of(sum.evaluate()), ("22003".to_owned(), "numeric out of range".to_owned()));
    sum.retract_batch(&[decimals(&[Some(1)], 38, 0)]).unwrap();
    assert_eq!(sum.evaluate().unwrap(), ScalarValue::Decimal128(Some(most), 38, 0));
    assert_eq!(error_of(sum.update_batch(&[decimals(&[Some(most)], 38, 0)])).0, "22003");
}

#[test]
fn distinct_values_count_once_on_every_node() {
    let cents = DataType::Decimal128(5, 2);
    let mut one = Distinct::new(Kind::Average, &cents, DataType::Decimal128(38, 2));
    assert!(one.evaluate().unwrap().is_null());
    one.update_batch(&[decimals(&[Some(100), Some(100), None, Some(-50)], 5, 2)]).unwrap();
    let state: Vec<ArrayRef> = one.state().unwrap().iter().map(|value| value.to_array().unwrap()).collect();
    assert_eq!(state[0].data_type(), &distinct::list_type(&cents));
    let mut whole = Distinct::new(Kind::Average, &cents, DataType::Decimal128(38, 2));
    whole.update_batch(&[decimals(&[Some(100), Some(51)], 5, 2)]).unwrap();
    whole.merge_batch(&state).unwrap();
    assert_eq!(whole.evaluate().unwrap(), ScalarValue::Decimal128(Some(33), 38, 2), "1.01 / 3");
    let mut sum = Distinct::new(Kind::SumOfIntegers, &DataType::Int32, DataType::Int64);
    sum.update_batch(&[Arc::new(Int32Array::from(vec![4, 4, 5]))]).unwrap();
    assert_eq!(sum.evaluate().unwrap(), ScalarValue::Int64(Some(9)));
}

#[test]
fn groups_leave_out_nulls_and_what_the_filter_drops() {
    let mut groups = Groups::new(Kind::SumOfIntegers, &DataType::Int64, DataType::Int64);
    groups.update_batch(&longs(&[Some(7)]), &[3], None, 4).unwrap();
    let filter = BooleanArray::from(vec![Some(true), Some(true), Some(false), None, Some(true)]);
    let input = longs(&[Some(1), Some(2), Some(4), Some(8), None]);
    groups.update_batch(&input, &[0, 0, 0, 4, 5], Some(&filter), 6).unwrap();
    let state = groups.convert_to_state(&input, Some(&filter)).unwrap();
    assert_eq!(state[0].as_primitive::<Int64Type>().iter().flatten().sum::<i64>(), 3);
    let sums = groups.evaluate(EmitTo::First(1)).unwrap();
    assert_eq!(sums.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(3)]);
    let rest = groups.evaluate(EmitTo::All).unwrap();
    assert_eq!(rest.as_primitive::<Int64Type>().iter().skip(2).collect::<Vec<_>>(), [Some(7), None, None]);
    groups.update_batch(&longs(&[Some(i64::MIN), Some(-1)]), &[0, 0], None, 1).unwrap();
    assert_eq!(error_of(groups.evaluate(EmitTo::All)), ("22003".to_owned(), "bigint out of range".to_owned()));
}

#[test]
fn averages_of_groups_merge() {
    let average = || Groups::new(Kind::Average, &DataType::Decimal128(8, 2), DataType::Decimal128(38, 2));
    let mut part = average();
    part.update_batch(&[decimals(&[Some(1000), Some(1001), None], 8, 2)], &[0, 0, 1], None, 2).unwrap();
    let state = part.state(EmitTo::All).unwrap();
    let mut whole = average();
    whole.merge_batch(&state, &[1, 0], 2).unwrap();
    let filter = BooleanArray::from(vec![true, false]);
    let converted = whole.convert_to_state(&[decimals(&[Some(1099), Some(5)], 8, 2)], Some(&filter)).unwrap();
    whole.merge_batch(&converted, &[1, 0], 2).unwrap();
    assert!(whole.size() > 0);
    let answer = whole.evaluate(EmitTo::All).unwrap();
    assert_eq!(answer.data_type(), &DataType::Decimal128(38, 2));
    assert_eq!(answer.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), [None, Some(1033)]);
}

#[test]
fn what_is_no_number_is_refused_by_name() {
    // MIN and MAX are of texts, too; of the others' arguments the engine's types are asked.
    for function in all().into_iter().filter(|function| ["sum", "slipher_sum", "avg"].contains(&function.name())) {
        let error = Error::from(function.coerce_types(&[DataType::Utf8View]).unwrap_err());
        assert_eq!(error.sqlstate(), "42883");
        assert!(error.message.contains("(character varying") && !error.message.contains("slipher"), "{}", error.message);
    }
}

/// What a frame of one or two values answers while values of very different sizes, Infinity and NaN move through it.
#[test]
fn what_has_left_a_frame_leaves_nothing_behind() {
    let values = [0.1, 1e20, 0.3, f64::INFINITY, -2.5, 7.0, f64::NAN, 1e-3, 4.0, -4.0, 1e100, 2.0];
    let array = |values: &[f64]| -> Vec<ArrayRef> { vec![Arc::new(Float64Array::from(values.to_vec()))] };
    for length in 1..=4 {
        let mut frame = Frame::new(|kept: Moments, _| Some(kept.squares / kept.count));
        let mut sum = Frame::new(|sum: f64, _| Some(sum));
        for (last, value) in values.iter().enumerate() {
            for moving in [&mut frame as &mut dyn Accumulator, &mut sum] {
                moving.update_batch(&array(&[*value])).unwrap();
                if last >= length {
                    moving.retract_batch(&array(&values[last - length..=last - length])).unwrap();
                }
            }
            let inside = &values[(last + 1).saturating_sub(length)..=last];
            let count = inside.len() as f64;
            let mean = inside.iter().sum::<f64>() / count;
            let variance = inside.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
            let close = |answer: ScalarValue, expected: f64| {
                let ScalarValue::Float64(Some(answer)) = answer else { panic!("{answer:?}") };
                let same = answer == expected || (answer.is_nan() && expected.is_nan());
                assert!(same || (answer - expected).abs() <= 1e-9 * expected.abs(), "{inside:?}: {answer} is not {expected}");
            };
            close(sum.evaluate().unwrap(), inside.iter().sum());
            close(frame.evaluate().unwrap(), variance);
        }
    }
}

#[test]
fn finite_floats_that_come_to_more_than_a_float_holds_are_an_error() {
    let floats = |values: &[f64]| -> [ArrayRef; 1] { [Arc::new(Float64Array::from(values.to_vec()))] };
    let field: FieldRef = Arc::new(Field::new("x", DataType::Float64, true));
    let schema = arrow::datatypes::Schema::new(vec![Arc::clone(&field)]);
    let expr: Arc<dyn datafusion::physical_expr::PhysicalExpr> =
        Arc::new(datafusion::physical_expr::expressions::Column::new("x", 0));
    let arguments = || AccumulatorArgs {
        return_field: Arc::clone(&field),
        schema: &schema,
        ignore_nulls: false,
        order_bys: &[],
        is_reversed: false,
        name: "x",
        is_distinct: false,
        exprs: std::slice::from_ref(&expr),
        expr_fields: std::slice::from_ref(&field),
    };
    let out_of_range = ("22003".to_owned(), "value out of range: overflow".to_owned());
    for function in all().into_iter().filter(|function| ["sum", "avg", "var_pop", "stddev"].contains(&function.name())) {
        let mut one = function.accumulator(arguments()).unwrap();
        one.update_batch(&floats(&[1e308, 1e308, 1e308, -1e307])).unwrap();
        assert_eq!(error_of(one.evaluate()), out_of_range, "{}", function.name());
        assert_eq!(error_of(one.state()), out_of_range, "{}", function.name());
        one.update_batch(&floats(&[f64::INFINITY])).unwrap();
        assert!(matches!(one.evaluate().unwrap(), ScalarValue::Float64(Some(answer)) if !answer.is_finite()));
        let mut groups = function.create_groups_accumulator(arguments()).unwrap();
        let filter = BooleanArray::from(vec![true, true, true, true, true, false]);
        let values = floats(&[f64::NAN, 1e308, 1.0, 1e308, 2.0, f64::INFINITY]);
        groups.update_batch(&values, &[0, 1, 0, 2, 2, 1], Some(&filter), 3).unwrap();
        let first = groups.state(EmitTo::First(1)).unwrap();
        assert!(first.last().unwrap().as_primitive::<arrow::datatypes::Float64Type>().value(0).is_nan());
        groups.update_batch(&floats(&[1e308, -1e307]), &[0, 0], None, 2).unwrap();
        assert_eq!(error_of(groups.evaluate(EmitTo::All)), out_of_range, "{}", function.name());
        let mut whole = function.create_groups_accumulator(arguments()).unwrap();
        whole.merge_batch(&first, &[0], 1).unwrap();
        assert!(whole.evaluate(EmitTo::All).unwrap().as_primitive::<arrow::datatypes::Float64Type>().value(0).is_nan());
    }
}
