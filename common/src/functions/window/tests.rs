use super::{ignoring_nulls, window_functions};
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::PartitionEvaluator;
use datafusion::logical_expr::function::PartitionEvaluatorArgs;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use std::ops::Range;
use std::sync::Arc;

const N: Option<i64> = None;

fn column(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// The function over arguments that are columns, or constants where `constants` has one.
fn evaluator(name: &str, constants: &[Option<Option<i64>>]) -> Box<dyn PartitionEvaluator> {
    let function = window_functions().iter().find(|function| function.name() == name).unwrap();
    let arguments: Vec<Arc<dyn PhysicalExpr>> = constants
        .iter()
        .enumerate()
        .map(|(index, constant)| match constant {
            Some(value) => Arc::new(Literal::new(ScalarValue::Int64(*value))) as Arc<dyn PhysicalExpr>,
            None => Arc::new(Column::new("c", index)),
        })
        .collect();
    let fields: Vec<FieldRef> = constants.iter().map(|_| Arc::new(Field::new("c", DataType::Int64, true))).collect();
    function.partition_evaluator_factory(PartitionEvaluatorArgs::new(&arguments, &fields, false, false)).unwrap()
}

fn answers(array: &ArrayRef) -> Vec<Option<i64>> {
    array.as_primitive::<Int64Type>().iter().collect()
}

/// The answers over the whole partition, and, where the function can do that, row by row as rows arrive: they must agree.
fn shifted(name: &str, values: &[Option<i64>], offset: Option<i64>, default: Option<i64>) -> Vec<Option<i64>> {
    let constants = [None, Some(offset), Some(default)];
    let columns = [column(values), column(&vec![offset; values.len()]), column(&vec![default; values.len()])];
    let all = answers(&evaluator(name, &constants).evaluate_all(&columns, values.len()).unwrap());
    let each_row = answers(&evaluator(name, &[None, None, None]).evaluate_all(&columns, values.len()).unwrap());
    assert_eq!(all, each_row, "{name} {offset:?}: an offset of each row");
    let mut by_row = evaluator(name, &constants);
    if by_row.supports_bounded_execution() {
        let answer = |row| {
            let range = by_row.get_range(row, values.len()).unwrap();
            match by_row.evaluate(&columns, &range).unwrap() {
                ScalarValue::Int64(value) => value,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((0..values.len()).map(answer).collect::<Vec<_>>(), all, "{name} {offset:?}: row by row");
    }
    all
}

#[test]
fn lag_and_lead_look_back_and_ahead() {
    let values = [Some(1), N, Some(3), Some(4)];
    assert_eq!(shifted("lag", &values, Some(1), Some(0)), [Some(0), Some(1), N, Some(3)]);
    assert_eq!(shifted("lead", &values, Some(1), N), [N, Some(3), Some(4), N]);
    assert_eq!(shifted("lag", &values, Some(0), Some(9)), values);
    // Negative offsets look the other way, NULL is no row at all, not one outside the partition.
    assert_eq!(shifted("lag", &values, Some(-2), Some(7)), [Some(3), Some(4), Some(7), Some(7)]);
    assert_eq!(shifted("lead", &values, Some(-1), N), [N, Some(1), N, Some(3)]);
    assert_eq!(shifted("lead", &values, N, Some(7)), [N; 4]);
    for offset in [i64::MAX, i64::MIN, 4] {
        assert_eq!(shifted("lead", &values, Some(offset), Some(7)), [Some(7); 4], "{offset}");
        assert_eq!(shifted("lag", &values, Some(offset), Some(7)), [Some(7); 4], "{offset}");
    }
}

#[test]
fn ignoring_nulls_counts_rows_with_a_value() {
    let values = [Some(10), Some(20), Some(30), Some(40), N, N, Some(70), Some(80)];
    let after = [Some(30), Some(40), Some(70), Some(80), Some(80), Some(80), N, N];
    assert_eq!(shifted("lead_ignoring_nulls", &values, Some(2), N), after);
    let before = [Some(0), Some(0), Some(10), Some(20), Some(30), Some(30), Some(30), Some(40)];
    assert_eq!(shifted("lag_ignoring_nulls", &values, Some(2), Some(0)), before);
    assert_eq!(shifted("lead_ignoring_nulls", &values, Some(-2), Some(0)), before);
    assert_eq!(shifted("lag_ignoring_nulls", &values, Some(0), Some(0)), values);
    for offset in [i64::MAX, i64::MIN] {
        assert_eq!(shifted("lag_ignoring_nulls", &values, Some(offset), N), [N; 8], "{offset}");
    }
}

/// The answers for one frame after the other.
fn framed(name: &str, values: &[Option<i64>], count: Option<Option<i64>>, frames: &[Range<usize>]) -> Vec<Option<i64>> {
    let mut evaluator = evaluator(name, &[None, count]);
    let columns = [column(values), column(&[Some(1), Some(2), Some(3), Some(4)])];
    let answer = |frame| match evaluator.evaluate(&columns, frame).unwrap() {
        ScalarValue::Int64(value) => value,
        other => panic!("{other:?}"),
    };
    frames.iter().map(answer).collect()
}

#[test]
fn values_of_a_frame() {
    let values = [N, Some(2), N, Some(4)];
    let growing = [0..1, 0..2, 0..3, 0..4];
    let moving = [0..0, 0..2, 1..3, 2..4];
    for (name, whole, moved) in [
        ("first_value", [N; 4], [N, N, Some(2), N]),
        ("first_value_ignoring_nulls", [N, Some(2), Some(2), Some(2)], [N, Some(2), Some(2), Some(4)]),
        ("last_value", values, [N, Some(2), N, Some(4)]),
        ("last_value_ignoring_nulls", [N, Some(2), Some(2), Some(4)], [N, Some(2), Some(2), Some(4)]),
    ] {
        assert_eq!(framed(name, &values, Some(N), &growing), whole, "{name}");
        assert_eq!(framed(name, &values, Some(N), &moving), moved, "{name}");
    }
    assert_eq!(framed("nth_value", &values, Some(Some(2)), &growing), [N, Some(2), Some(2), Some(2)]);
    assert_eq!(framed("nth_value_ignoring_nulls", &values, Some(Some(2)), &growing), [N, N, N, Some(4)]);
    assert_eq!(framed("nth_value", &values, Some(N), &growing), [N; 4]);
    // Each row its own number: 1, 2, 3, 4.
    assert_eq!(framed("nth_value", &values, None, &growing), values);
    let mut none = evaluator("nth_value", &[None, Some(Some(0))]);
    let error = none.evaluate(&[column(&values), column(&[Some(0); 4])], &(0..4)).unwrap_err();
    assert_eq!(crate::Error::from(error).sqlstate(), "22016");
}

#[test]
fn ntile_fills_the_first_buckets_more() {
    let buckets = |rows: usize, buckets: Option<i64>| {
        evaluator("ntile", &[None]).evaluate_all(&[column(&vec![buckets; rows])], rows).map(|array| answers(&array))
    };
    assert_eq!(buckets(10, Some(4)).unwrap(), [1, 1, 1, 2, 2, 2, 3, 3, 4, 4].map(Some));
    assert_eq!(buckets(2, Some(i64::MAX)).unwrap(), [1, 2].map(Some));
    assert_eq!(buckets(2, N).unwrap(), [N; 2]);
    assert_eq!(crate::Error::from(buckets(2, Some(0)).unwrap_err()).sqlstate(), "22014");
}

#[test]
fn five_functions_know_ignore_nulls() {
    for name in ["lag", "lead", "first_value", "last_value", "nth_value"] {
        assert_eq!(ignoring_nulls(name).unwrap().name(), format!("{name}_ignoring_nulls"));
    }
    assert!(ignoring_nulls("row_number").is_none());
}
