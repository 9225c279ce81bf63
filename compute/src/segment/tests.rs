use super::library_error;
use crate::testing::*;
use arrow::array::*;
use slipher_common::catalog::{Distribution, Table};
use slipher_common::histogram::{ColumnHistogram, Point};
use slipher_common::ids::ColumnId;
use slipher_common::manifest::{InlineDetails, Segment};
use slipher_common::statistics::{DistinctSketch, decode_bound};
use slipher_common::{Error, ErrorKind, SqlType};
use std::sync::Arc;
use vortex::error::{VortexError, vortex_err};

/// More than one chunk of the writer and many zones of the file.
const ROWS: usize = 70_000;

/// `extremes`, NULLs and otherwise values of `make`, spread over [`ROWS`] rows.
fn values<T: Clone>(seed: u64, extremes: &[T], mut make: impl FnMut(u64) -> T) -> Vec<Option<T>> {
    let mut numbers = Numbers(seed);
    (0..ROWS)
        .map(|row| match numbers.next() {
            n if n % 11 == 0 => None,
            // The first half has smooth values only: other encodings are chosen.
            n if row > ROWS / 2 && n % 13 == 0 => Some(extremes[n as usize / 13 % extremes.len()].clone()),
            n => Some(make(n >> 8)),
        })
        .collect()
}

fn decimals(values: Vec<Option<i128>>, precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
}

fn every_type() -> Vec<(SqlType, ArrayRef)> {
    let floats = [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE / 4.0, f64::MAX, f64::MIN];
    let singles = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MIN_POSITIVE / 4.0, f32::MAX, f32::MIN];
    let most = 10i128.pow(38) - 1;
    let strings: Vec<String> = ["", " ", "ä", "\u{10ffff}", "a\0b", "exactly 12 b"].iter().map(|s| s.to_string()).collect();
    let strings = [strings, vec!["x".repeat(65_535), "blanks   ".into()]].concat();
    let text = |n: u64| format!("some words {} that compress {}", n % 977, n % 13);
    let instants = [i64::MIN, i64::MAX, 0, -1, i64::MIN + 1];
    vec![
        (SqlType::SmallInt, Arc::new(Int16Array::from(values(1, &[i16::MIN, i16::MAX], |n| (n % 100) as i16)))),
        (SqlType::Integer, Arc::new(Int32Array::from(values(2, &[i32::MIN, i32::MAX], |n| n as i32 >> 8)))),
        (SqlType::BigInt, Arc::new(Int64Array::from(values(3, &[i64::MIN, i64::MAX], |n| n as i64 % 1_000_000)))),
        (
            SqlType::Decimal { precision: 38, scale: 37 },
            decimals(values(4, &[most, -most, 0, 1], |n| i128::from(n) << 50), 38, 37),
        ),
        (
            SqlType::Decimal { precision: 15, scale: 2 },
            decimals(values(5, &[10i128.pow(15) - 1, 1 - 10i128.pow(15)], |n| (n % 9_999).into()), 15, 2),
        ),
        (SqlType::Decimal { precision: 4, scale: 0 }, decimals(values(6, &[9_999, -9_999], |n| (n % 7).into()), 4, 0)),
        (SqlType::Real, Arc::new(Float32Array::from(values(7, &singles, |n| (n % 1000) as f32 / 10.0)))),
        (SqlType::DoublePrecision, Arc::new(Float64Array::from(values(8, &floats, |n| (n % 100_000) as f64 / 100.0)))),
        (SqlType::Boolean, Arc::new(BooleanArray::from(values(9, &[true], |n| n % 3 == 0)))),
        (SqlType::Char(10), Arc::new(StringViewArray::from_iter(values(10, &["A".to_owned()], |n| format!("{}", n % 3))))),
        (SqlType::VarChar(65_535), Arc::new(StringViewArray::from_iter(values(11, &strings, text)))),
        (SqlType::Date, Arc::new(Date32Array::from(values(12, &[i32::MIN, i32::MAX], |n| (n % 20_000) as i32)))),
        (SqlType::Time, Arc::new(Time64MicrosecondArray::from(values(13, &[0, 86_399_999_999], |n| n as i64 % 86_400_000_000)))),
        (SqlType::TimeTz, Arc::new(Time64MicrosecondArray::from(values(14, &[0, 86_399_999_999], |n| n as i64 % 86_400)))),
        (SqlType::Timestamp, Arc::new(TimestampMicrosecondArray::from(values(15, &instants, |n| n as i64 % (1 << 50))))),
        (
            SqlType::TimestampTz,
            Arc::new(
                TimestampMicrosecondArray::from(values(16, &instants, |n| (n as i64 % 1_000_000) * 1_000_000))
                    .with_timezone("UTC"),
            ),
        ),
        (SqlType::Integer, Arc::new(Int32Array::from(vec![None::<i32>; ROWS]))),
        // Free text: compressed with Zstandard.
        (
            SqlType::VarChar(99),
            Arc::new(StringViewArray::from_iter(values(17, &strings, |n| format!("{n:x} never the same {n}")))),
        ),
        (SqlType::VarChar(5), Arc::new(StringViewArray::from(vec![Some("same"); ROWS]))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_comes_back_exactly() {
    let (types, columns): (Vec<_>, Vec<_>) =
        every_type().into_iter().map(|(t, values)| ((t, values.null_count() == 0), values)).unzip();
    let table = table(&types, Distribution::Even, &[]);
    let node = TestNode::new();
    let written = batch(&table, columns);
    let segments = node.write(&table, vec![written.clone()], vec![]).await.unwrap();
    assert_eq!(segments.iter().map(|segment| segment.rows).sum::<u64>(), ROWS as u64);
    // One column after another, so that a failure names the type.
    for (index, (sql_type, _)) in types.iter().enumerate() {
        let mut lane = scan_of(&table, &segments);
        lane.projection = vec![index];
        let read = node.scan(lane).await.unwrap();
        assert_eq!(read.schema().field(0), table.arrow_schema().field(index));
        let (found, wanted) = (read.column(0), written.column(index));
        let place = (0..ROWS).find(|row| found.slice(*row, 1) != wanted.slice(*row, 1));
        let values = place.map(|row| (row, found.slice(row, 1), wanted.slice(row, 1)));
        assert!(found == wanted, "column {index}, {sql_type}: (row, found, written) = {values:?}");
    }
    let all = node.scan(scan_of(&table, &segments)).await.unwrap();
    assert!(all == written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_sorted_and_statistics_describe_them() {
    let types = [(SqlType::Integer, false), (SqlType::VarChar(20), false), (SqlType::DoublePrecision, false)];
    let table = table(&types, Distribution::Even, &[0, 1]);
    let mut numbers = Numbers(99);
    let rows: Vec<(Option<i32>, Option<String>)> = (0..ROWS)
        .map(|_| {
            let (a, b) = (numbers.next(), numbers.next());
            ((a % 10 != 0).then_some((a % 500) as i32 - 250), (b % 7 != 0).then(|| format!("w{}", b % 300)))
        })
        .collect();
    let floats = Float64Array::from_iter_values((0..ROWS).map(|row| if row == 5 { f64::NAN } else { row as f64 }));
    let first = Int32Array::from_iter(rows.iter().map(|row| row.0));
    let second = StringViewArray::from_iter(rows.iter().map(|row| row.1.clone()));
    let nulls = first.null_count() as u64;
    let node = TestNode::new();
    let input = batch(&table, vec![Arc::new(first), Arc::new(second), Arc::new(floats)]);
    let segments = node.write(&table, vec![input.slice(0, 30_000), input.slice(30_000, ROWS - 30_000)], vec![]).await.unwrap();
    let [segment] = segments.as_slice() else { panic!("{} segments", segments.len()) };

    let read = node.scan(scan_of(&table, &segments)).await.unwrap();
    let mut expected = rows.clone();
    // Ascending with NULLs last: (is NULL, value) in each column.
    expected.sort_by_key(|(a, b)| (a.is_none(), *a, b.is_none(), b.clone()));
    let first: Vec<Option<i32>> = read.column(0).as_primitive::<arrow::datatypes::Int32Type>().iter().collect();
    let second: Vec<Option<String>> = read.column(1).as_string_view().iter().map(|s| s.map(str::to_owned)).collect();
    assert_eq!(first.into_iter().zip(second).collect::<Vec<_>>(), expected);

    assert_eq!(segment.sorted_by, [ColumnId(0), ColumnId(1)]);
    assert_eq!((segment.placement_epoch, segment.nodes.as_slice()), (7, [node.runtime.store().node_id()].as_slice()));
    let bound = |bytes: &[u8], sql_type| decode_bound(bytes, sql_type).unwrap().map(|(value, _)| value.to_string());
    let column = |index: u32| segment.columns.find(ColumnId(index)).unwrap();
    assert_eq!(column(0).nulls, nulls);
    assert_eq!(
        (bound(column(0).min, SqlType::Integer), bound(column(0).max, SqlType::Integer)),
        (Some("-249".into()), Some("249".into()))
    );
    let details = segment.details.inline().unwrap();
    let distinct = DistinctSketch::from_bytes(&details.of(ColumnId(0)).unwrap().distinct_sketch).unwrap().estimate();
    assert!((450..=550).contains(&distinct), "{distinct}");
    assert_eq!(bound(column(1).max, SqlType::VarChar(20)), Some("w99".into()));
    assert_eq!(bound(column(2).max, SqlType::DoublePrecision), None, "no bound above a NaN");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_column_keeps_its_encoding() {
    let mut numbers = Numbers(7);
    let values =
        StringViewArray::from_iter_values((0..ROWS).map(|_| format!("{:016x} said the {}", numbers.next(), numbers.next() % 9)));
    let node = TestNode::new();
    let mut sizes = Vec::new();
    for (encoding, stored_name) in [("raw", None), ("zstd", None), ("zstd", Some("before"))] {
        let mut table = Table::clone(&table(&[(SqlType::VarChar(60), false)], Distribution::Even, &[]));
        table.columns[0].encoding = Some(encoding.to_owned());
        table.columns[0].stored_name = stored_name.map(str::to_owned);
        let table = Arc::new(table);
        let segments = node.write(&table, vec![batch(&table, vec![Arc::new(values.clone())])], vec![]).await.unwrap();
        sizes.push(segments.iter().map(|segment| segment.bytes).sum::<u64>());
    }
    let [plain, compact, renamed] = sizes[..] else { panic!("{sizes:?}") };
    assert!(compact * 10 < plain * 9, "{sizes:?}");
    assert!(renamed.abs_diff(compact) * 100 < compact, "{sizes:?}");
}

/// The file of release 0.1: later releases must read it. `UPDATE_GOLDEN=1` writes it only where it is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_of_released_versions_stay_readable() {
    const GOLDEN_ROWS: usize = 300;
    // Cargo says it when it runs the tests, too: a binary from a shared cache may have been built elsewhere.
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let golden = std::path::Path::new(&root).join("../tests/golden/segment-v1.vortex");
    let (types, columns): (Vec<_>, Vec<_>) = every_type()
        .into_iter()
        // The second half holds the extremes; its longest string would make up most of the file.
        .filter(|(sql_type, _)| *sql_type != SqlType::VarChar(65_535))
        .map(|(sql_type, values)| (sql_type, values.slice(ROWS - GOLDEN_ROWS, GOLDEN_ROWS)))
        .map(|(sql_type, values)| ((sql_type, values.null_count() == 0), values))
        .unzip();
    let table = table(&types, Distribution::Even, &[]);
    let expected = batch(&table, columns);
    let node = TestNode::new();
    let mut segment = node.write(&table, vec![expected.clone()], vec![]).await.unwrap().remove(0);
    let path = node.runtime.store().segment_path(table.id, segment.id);
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !golden.exists() {
        std::fs::copy(&path, &golden).unwrap();
    }
    let bytes = std::fs::read(&golden).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    segment.bytes = bytes.len() as u64;
    segment.checksum = xxhash_rust::xxh3::xxh3_64(&bytes);
    let read = node.scan(scan_of(&table, &[segment])).await.unwrap();
    assert!(read == expected, "the golden segment holds other rows than it was written from");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histograms_know_frequent_values_and_uneven_ones() {
    const ROWS: usize = 50_000;
    let types = [(SqlType::VarChar(20), false), (SqlType::BigInt, true), (SqlType::BigInt, true), (SqlType::VarChar(6), true)];
    let table = table(&types, Distribution::Even, &[]);
    let mut numbers = Numbers(11);
    let random: Vec<u64> = (0..ROWS).map(|_| numbers.next()).collect();
    let status = StringViewArray::from_iter(random.iter().map(|n| match n % 20 {
        0 => None,
        1 => Some("returned"),
        2 | 3 => Some("open"),
        _ => Some("closed"),
    }));
    let uneven = Int64Array::from_iter_values(random.iter().map(|n| ((n % 1000) as i64).pow(3)));
    let even = Int64Array::from_iter_values(random.iter().map(|n| (n % 1_000_000) as i64));
    // With a rhythm that a sample must not have.
    let sides = StringViewArray::from_iter_values((0..ROWS).map(|row| if row % 2 == 0 { "credit" } else { "debit" }));
    let rows = batch(&table, vec![Arc::new(status), Arc::new(uneven), Arc::new(even), Arc::new(sides)]);
    let node = TestNode::new();
    let pieces = (0..50).map(|piece| rows.slice(piece * 1000, 1000)).collect();
    let segments = node.write(&table, pieces, vec![]).await.unwrap();
    let few = node.write(&table, vec![rows.slice(0, 4000)], vec![]).await.unwrap();
    let are_kept = |segments: &[Segment]| {
        let details = segments[0].details.inline().unwrap();
        details.columns().iter().map(|column| !column.histogram.is_empty()).collect::<Vec<_>>()
    };
    assert_eq!((are_kept(&segments), are_kept(&few)), (vec![true, true, false, true], vec![false; 4]));

    let known: slipher_common::manifest::Segments = segments.into_iter().map(|segment| (segment.id, Arc::new(segment))).collect();
    let known = Arc::new(known);
    let histogram = |column: usize| {
        let column = &table.columns[column];
        ColumnHistogram::new(Arc::clone(&known), Arc::new(InlineDetails), column.id, column.sql_type)
    };
    let closed = histogram(0).equal(&Point::Text("closed".into())).unwrap();
    assert!((closed - 16.0 / 19.0).abs() < 0.03, "{closed}");
    let half = histogram(1).below(&Point::Number(500f64.powi(3)), false).unwrap();
    assert!((half - 0.5).abs() < 0.05, "{half}");
    let debit = histogram(3).equal(&Point::Text("debit".into())).unwrap();
    assert!((debit - 0.5).abs() < 0.04, "{debit}");
}

#[test]
fn a_full_disk_is_told_as_one_and_without_places_in_code() {
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = library_error("writing", &VortexError::from(full()).with_context("encoding a column"));
    assert_eq!((error.kind, error.sqlstate()), (ErrorKind::DiskFull, "53100"), "{error}");
    let error = library_error("writing", &vortex_err!("no such encoding"));
    assert!(error.message.ends_with("no such encoding"), "{error}");
    let own = Error::new(ErrorKind::NotNullViolation, "a NULL");
    assert_eq!(library_error("writing", &vortex_err!("{}", own.to_wire_text())).kind, ErrorKind::NotNullViolation);
}
