//! What JSON makes of values, and broken requests. `tests/clients/rest.py` shows the endpoint at work.

mod fuzz;

use super::rows;
use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Schema;
use serde_json::json;
use slipher_common::SqlType;
use std::sync::Arc;

#[test]
fn values_keep_their_digits() {
    let decimal = SqlType::Decimal { precision: 38, scale: 2 };
    let schema = Arc::new(Schema::new(vec![
        SqlType::BigInt.to_field("i", true),
        decimal.to_field("d", true),
        SqlType::DoublePrecision.to_field("f", true),
        SqlType::Boolean.to_field("b", true),
        SqlType::VarChar(20).to_field("s", true),
    ]));
    let digits = 12_345_678_901_234_567_890_123_456_789_012_345_678i128;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(i64::MAX), None])),
        Arc::new(Decimal128Array::from(vec![Some(digits), None]).with_precision_and_scale(38, 2).unwrap()),
        Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(0.5)])),
        Arc::new(BooleanArray::from(vec![Some(true), None])),
        Arc::new(StringViewArray::from(vec![Some("\"a\""), Some("")])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let expected =
        [json!([i64::MAX, "123456789012345678901234567890123456.78", "NaN", true, "\"a\""]), json!([null, null, 0.5, null, ""])];
    assert_eq!(rows::rows(&batch, None).unwrap(), expected);
    assert_eq!(rows::columns(&schema)[1], json!({ "name": "d", "type": "numeric(38,2)", "nullable": true }));
}
