use super::*;
use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{Field, Int64Type};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};

fn parameters() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("p0", DataType::Int64, true), Field::new("p1", DataType::Int64, true)]))
}

fn column(index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(&format!("p{index}"), index))
}

fn body_of(expr: Arc<dyn PhysicalExpr>) -> Vec<u8> {
    Body::encode(&parameters(), Arc::new(Field::new("r", DataType::Int64, true)), &expr).unwrap()
}

fn call(udf: Arc<ScalarUDF>, arguments: Vec<Arc<dyn PhysicalExpr>>) -> Arc<dyn PhysicalExpr> {
    let field = Arc::new(Field::new("r", DataType::Int64, true));
    Arc::new(ScalarFunctionExpr::new(udf.name(), Arc::clone(&udf), arguments, field, Arc::new(ConfigOptions::default())))
}

fn evaluate(bytes: &[u8]) -> Vec<Option<i64>> {
    let columns: [ColumnarValue; 2] = [
        ColumnarValue::Array(Arc::new(Int64Array::from(vec![Some(6), None, Some(0)]))),
        ColumnarValue::Scalar(ScalarValue::Int64(Some(12))),
    ];
    let answer = Held::of(bytes).unwrap().body.evaluate(&columns, 3).unwrap().to_array(3).unwrap();
    answer.as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn a_body_of_bodies_survives_the_way() {
    let minus = |left, right| Arc::new(BinaryExpr::new(left, Operator::Minus, right)) as Arc<dyn PhysicalExpr>;
    let inner = body_of(minus(column(1), column(0)));
    let nested = call(part_udf(), vec![lit(ScalarValue::Binary(Some(inner))), column(0), column(1)]);
    assert_eq!(evaluate(&body_of(minus(nested, column(0)))), [Some(0), None, Some(12)]);
    assert!(Body::decode(b"nonsense").is_err());
    assert!(Body::decode(b"").is_err());
}

/// Only what travels has its body among its arguments: names and messages of the engine print arguments.
#[test]
fn a_body_is_an_argument_only_on_its_way() {
    let outside = datafusion::logical_expr::col("a");
    let bytes = body_of(Arc::new(BinaryExpr::new(column(0), Operator::Minus, column(1))));
    let held = part_call(&bytes, vec![outside.clone(), outside], Volatility::Immutable).unwrap();
    let travels = to_travel(held.clone()).data;
    assert_eq!(held.schema_name().to_string(), travels.schema_name().to_string());
    assert!(held.to_string().len() < 100, "{held}");
    let count = |call: &Expr| match call {
        Expr::ScalarFunction(call) => (call.name().to_owned(), call.args.len()),
        other => panic!("{other}"),
    };
    assert_eq!((count(&held).1, count(&travels)), (2, (PART.to_owned(), 3)));
    assert!(!to_travel(travels).transformed);

    // The same in a body: what is planned holds it, what is encoded carries it.
    let Expr::ScalarFunction(ScalarFunction { func, .. }) = held else { unreachable!() };
    let nested = call(func, vec![column(1), column(0)]);
    assert_eq!(evaluate(&body_of(nested)), [Some(6), None, Some(12)]);
}

#[test]
fn a_part_of_no_columns_has_a_value_for_each_row() {
    let result = Arc::new(Field::new("r", DataType::Int64, true));
    let bytes = Body::encode(&Schema::empty(), result, &lit(ScalarValue::Int64(Some(5)))).unwrap();
    let held = part_call(&bytes, Vec::new(), Volatility::Volatile).unwrap();
    assert!(held.is_volatile());
    let Expr::ScalarFunction(ScalarFunction { func, .. }) = held else { unreachable!() };
    assert_eq!(evaluate(&body_of(call(func, Vec::new()))), [Some(5); 3]);
}

#[test]
fn the_first_that_is_not_null_is_the_last_that_is_computed() {
    let quotient = Arc::new(BinaryExpr::new(column(1), Operator::Divide, column(0))) as Arc<dyn PhysicalExpr>;
    // 12 / 0 is computed for no row: the third has a value.
    assert_eq!(evaluate(&body_of(call(first_udf(), vec![column(0), quotient, column(1)]))), [Some(6), Some(12), Some(0)]);
    assert_eq!(evaluate(&body_of(call(first_udf(), vec![column(0), lit(ScalarValue::Int64(None))]))), [Some(6), None, Some(0)]);
}
