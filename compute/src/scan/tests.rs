use crate::testing::*;
use arrow::array::*;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator, binary_expr, cast, col, in_list, lit};
use datafusion::physical_expr::planner::logical2physical;
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use slipher_common::SqlType;
use slipher_common::catalog::{Distribution, Table};
use slipher_common::manifest::{DeleteVector, Segment};
use std::sync::Arc;

const ROWS: usize = 40_000;
const TINY_SEGMENTS: usize = 200;
const TINY_ROWS: usize = 50;

fn mixed() -> (Arc<Table>, RecordBatch) {
    let types = [
        (SqlType::Integer, false),
        (SqlType::VarChar(60), false),
        (SqlType::Decimal { precision: 12, scale: 2 }, false),
        (SqlType::DoublePrecision, false),
        (SqlType::Date, true),
        (SqlType::Boolean, false),
        (SqlType::TimestampTz, false),
        (SqlType::Time, false),
        (SqlType::VarChar(100), false),
    ];
    let table = table(&types, Distribution::Even, &[4]);
    let mut numbers = Numbers(5);
    let mut some =
        |modulus: u64| (0..ROWS).map(|_| numbers.next()).map(|n| (n % 9 != 0).then_some((n >> 8) % modulus)).collect::<Vec<_>>();
    let (a, b, c, d, e, f) = (some(2000), some(5000), some(100_000), some(50), some(3000), some(2));
    let words = ["a_b", "a%b", "Zürich", "back\\slash", "plain words here", ""];
    let strings = b.iter().map(|n| n.map(|n| format!("{} {} tail", words[n as usize % words.len()], n % 700)));
    let floats = [f64::NAN, -0.0, 0.0, f64::INFINITY];
    let floats = d.iter().map(|n| n.map(|n| floats.get(n as usize).copied().unwrap_or(n as f64 - 20.0)));
    let texts = c.iter().enumerate().map(|(row, n)| n.map(|n| format!("{n:x} special {row} requests never the same")));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter(a.iter().map(|n| n.map(|n| n as i32 - 1000)))),
        Arc::new(StringViewArray::from_iter(strings)),
        Arc::new(
            Decimal128Array::from_iter(c.iter().map(|n| n.map(|n| i128::from(n) - 50_000)))
                .with_precision_and_scale(12, 2)
                .unwrap(),
        ),
        Arc::new(Float64Array::from_iter(floats)),
        Arc::new(Date32Array::from_iter_values(e.iter().map(|n| n.unwrap_or(77) as i32 + 8000))),
        Arc::new(BooleanArray::from_iter(f.iter().map(|n| n.map(|n| n == 1)))),
        Arc::new(TimestampMicrosecondArray::from_iter(a.iter().map(|n| n.map(instant))).with_timezone("UTC")),
        Arc::new(Time64MicrosecondArray::from_iter(c.iter().map(|n| n.map(|n| n as i64 * 1000)))),
        Arc::new(StringViewArray::from_iter(texts)),
    ];
    let rows = batch(&table, columns);
    (table, rows)
}

/// Up to the year 100000: beyond what Vortex takes for an instant.
fn instant(n: u64) -> i64 {
    (n as i64 - 500) * 2_000_000_000_000_000
}

fn predicates() -> Vec<Expr> {
    let string = |text: &str| lit(ScalarValue::Utf8View(Some(text.into())));
    let decimal = |unscaled| lit(ScalarValue::Decimal128(Some(unscaled), 12, 2));
    let date = |day| lit(ScalarValue::Date32(Some(day)));
    let moment = |n| lit(ScalarValue::TimestampMicrosecond(Some(instant(n)), Some("UTC".into())));
    let time = |micros| lit(ScalarValue::Time64Microsecond(Some(micros)));
    let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
    let mut all = vec![
        col("c6").gt(moment(1990)),
        col("c6").between(moment(10), moment(12)).or(col("c6").is_null()),
        in_list(col("c6"), vec![moment(3), moment(700)], true),
        in_list(col("c4"), vec![date(8_003), date(9_003)], false),
        col("c7").lt(time(50_000)).and(col("c3").gt(lit(3.0f64))),
        cast(col("c4"), plain.clone()).gt(lit(ScalarValue::TimestampMicrosecond(Some(10_990 * 86_400_000_000), None))),
        cast(col("c4"), DataType::Int64).gt(lit(10_990i64)),
        col("c0").eq(lit(17i32)),
        col("c0").gt(lit(900i32)).and(col("c0").lt_eq(lit(950i32))),
        col("c0").is_null().or(col("c5").is_not_null()),
        in_list(col("c0"), vec![lit(1i32), lit(2i32), lit(-1000i32)], false),
        in_list(col("c0"), vec![lit(1i32), lit(ScalarValue::Int32(None))], true),
        (col("c0") + lit(5i32)).gt(lit(990i32)),
        binary_expr(col("c0"), Operator::Modulo, lit(7i32)).eq(lit(3i32)),
        cast(col("c0"), DataType::Float64).gt(lit(990.5f64)),
        col("c2").gt_eq(decimal(49_000)),
        col("c2").between(decimal(-100), decimal(100)),
        col("c4").lt(date(8_010)).and(col("c2").gt(decimal(0))),
        col("c4").eq(date(1)),
        col("c5").clone(),
        !col("c5").clone(),
        col("c1").eq(string("a_b 0 tail")),
        col("c1").lt(string("b")).and(col("c1").not_eq(string(""))),
        Expr::IsNull(Box::new(col("c1"))),
        binary_expr(col("c0"), Operator::IsDistinctFrom, lit(17i32)),
        datafusion::functions::expr_fn::substr(col("c1"), lit(1i64)).eq(string("Zürich 2 tail")),
    ];
    for pattern in ["a_b%", "a\\_b%", "a\\%b%", "%rich%", "%\\\\slash%", "%12 tail", "", "%", "_", "%words%here%", "PLAIN%"] {
        all.push(col("c1").like(string(pattern)));
        all.push(col("c1").not_like(string(pattern)));
        all.push(col("c8").like(string(&format!("%special%{pattern}"))));
        all.push(col("c1").ilike(string(pattern)));
    }
    for value in [0.0, -0.0, f64::NAN, 3.0, f64::INFINITY] {
        for operator in [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::GtEq] {
            all.push(binary_expr(col("c3"), operator, lit(value)));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_yield_exactly_what_the_engine_yields() {
    let (table, rows) = mixed();
    let node = TestNode::new();
    let segments = node.write(&table, vec![rows.clone()], vec![]).await.unwrap();
    filters_yield_what_the_engine_yields(&node, &table, &segments).await;
}

/// Writes the first rows in tiny segments, the others in one.
async fn written_bit_by_bit(node: &TestNode, table: &Arc<Table>, rows: &RecordBatch) -> Vec<Segment> {
    let mut segments = Vec::new();
    for piece in 0..TINY_SEGMENTS {
        segments.extend(node.write(table, vec![rows.slice(piece * TINY_ROWS, TINY_ROWS)], vec![]).await.unwrap());
    }
    let rest = TINY_SEGMENTS * TINY_ROWS;
    segments.extend(node.write(table, vec![rows.slice(rest, ROWS - rest)], vec![]).await.unwrap());
    segments
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiny_segments_are_read_from_memory() {
    let (table, rows) = mixed();
    let node = TestNode::new();
    let segments = written_bit_by_bit(&node, &table, &rows).await;
    // With deleted rows the file is needed, after a restart all are.
    let mut deleted = scan_of(&table, &segments);
    deleted.segments[0].delete_vector = DeleteVector::new((0..10).collect());
    assert_eq!(node.scan(deleted).await.unwrap().num_rows(), ROWS - 10);
    let stored = node.scan(scan_of(&table, &segments)).await.unwrap();
    let reopened = node.reopen();
    assert_eq!(reopened.scan(scan_of(&table, &segments)).await.unwrap().num_rows(), ROWS);
    let node = reopened.reopen();
    let segments = [written_bit_by_bit(&node, &table, &rows).await, segments].concat();
    let (new, tiny) = segments.split_at(TINY_SEGMENTS + 1);
    for segment in &new[..TINY_SEGMENTS] {
        std::fs::remove_file(node.runtime.store().segment_path(table.id, segment.id)).unwrap();
    }
    assert_eq!(node.scan(scan_of(&table, new)).await.unwrap(), stored);
    filters_yield_what_the_engine_yields(&node, &table, new).await;
    for limit in [1, TINY_ROWS, TINY_SEGMENTS * TINY_ROWS + 5] {
        let lane = slipher_common::plan::LaneScan { limit: Some(limit), ..scan_of(&table, new) };
        assert_eq!(node.scan(lane).await.unwrap().num_rows(), limit);
    }
    std::fs::remove_file(node.runtime.store().segment_path(table.id, tiny[0].id)).unwrap();
    assert!(node.scan(scan_of(&table, tiny)).await.is_err(), "nobody has its rows");
}

async fn filters_yield_what_the_engine_yields(node: &TestNode, table: &Table, segments: &[Segment]) {
    let stored = node.scan(scan_of(table, segments)).await.unwrap();
    for predicate in predicates() {
        let physical = logical2physical(&predicate, &table.arrow_schema());
        let passes = physical.evaluate(&stored).unwrap().into_array(ROWS).unwrap();
        let expected = filter_record_batch(&stored, passes.as_boolean()).unwrap();
        for projection in [vec![4usize, 0], vec![1], vec![]] {
            let mut lane = scan_of(table, segments);
            lane.predicates = vec![Arc::clone(&physical)];
            lane.projection = projection.clone();
            let found = node.scan(lane).await.unwrap();
            assert!(
                found == expected.project(&projection).unwrap(),
                "{predicate}: {} of {} rows",
                found.num_rows(),
                expected.num_rows()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_predicates_limits_and_empty_lanes() {
    let (table, rows) = mixed();
    let node = TestNode::new();
    let mut segments = node.write(&table, vec![rows.slice(0, 20_000)], vec![]).await.unwrap();
    segments.extend(node.write(&table, vec![rows.slice(20_000, 20_000)], vec![]).await.unwrap());
    let schema = table.arrow_schema();
    let taken = logical2physical(&col("c0").gt(lit(0i32)), &schema);
    let refused = logical2physical(&col("c3").gt(lit(5.0f64)), &schema);
    let mut lane = scan_of(&table, &segments);
    lane.projection = vec![1];
    lane.predicates = vec![refused, taken];
    let both = node.scan(lane.clone()).await.unwrap().num_rows();
    let expected = rows
        .column(0)
        .as_primitive::<arrow::datatypes::Int32Type>()
        .iter()
        .zip(rows.column(3).as_primitive::<arrow::datatypes::Float64Type>())
        .filter(|(a, d)| a.is_some_and(|a| a > 0) && d.is_some_and(|d| d > 5.0 || d.is_nan()))
        .count();
    assert_eq!(both, expected);
    for (predicates, limit) in [(lane.predicates.clone(), 10), (vec![], 25_000), (vec![], 3)] {
        let limited = slipher_common::plan::LaneScan { predicates, limit: Some(limit), ..lane.clone() };
        assert_eq!(node.scan(limited).await.unwrap().num_rows(), limit);
    }
    let empty = node.scan(scan_of(&table, &[])).await.unwrap();
    assert_eq!((empty.num_rows(), empty.schema()), (0, schema));
}

/// Bytes that reading a plan took. The number of requests depends on which of them meet.
fn bytes_read(plan: &dyn ExecutionPlan) -> usize {
    let metrics = vortex_datafusion::metrics::VortexMetricsFinder::find_all(plan);
    metrics.iter().filter_map(|set| set.sum_by_name("vortex.io.read.total_size")).map(|value| value.as_usize()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zone_maps_spare_reading_and_footers_are_kept() {
    let table = table(&[(SqlType::Date, true), (SqlType::VarChar(100), true)], Distribution::Even, &[0]);
    let mut numbers = Numbers(3);
    let days = Date32Array::from_iter_values((0..300_000).map(|row| row / 100));
    let texts = StringViewArray::from_iter_values(
        (0..300_000).map(|_| format!("{:x}{:x}{:x}", numbers.next(), numbers.next(), numbers.next())),
    );
    let node = TestNode::new();
    let segments = node.write(&table, vec![batch(&table, vec![Arc::new(days), Arc::new(texts)])], vec![]).await.unwrap();
    let scanner = node.runtime.scanner();
    let read = async |predicates| {
        let mut lane = scan_of(&table, &segments);
        lane.predicates = predicates;
        let stamps = scanner.readable(&lane).await.unwrap();
        let plan = scanner.plan(&lane, &stamps, &context()).unwrap();
        let read: Vec<RecordBatch> = plan.execute(0, context()).unwrap().try_collect().await.unwrap();
        (read.iter().map(RecordBatch::num_rows).sum::<usize>(), bytes_read(plan.as_ref()))
    };
    let (rows, first) = read(vec![]).await;
    let (_, second) = read(vec![]).await;
    assert_eq!(rows, 300_000);
    assert!(first > second, "the footer is read once: {first}, {second} bytes");
    let predicate = logical2physical(&col("c0").lt(lit(ScalarValue::Date32(Some(10)))), &table.arrow_schema());
    let (rows, pruned) = read(vec![predicate]).await;
    assert_eq!(rows, 1000);
    assert!(pruned > 0 && pruned < second / 4, "{pruned} of {second} bytes");
}
