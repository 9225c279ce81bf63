use super::*;
use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::*;
use arrow::datatypes::*;
use futures::{StreamExt, TryStreamExt};
use slipher_common::SqlType;
use slipher_common::assign::normalize_load_schema;
use slipher_proto::plan::CsvOptions;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

const COLUMNS: [(&str, SqlType, bool); 4] = [
    ("id", SqlType::Integer, false),
    ("name", SqlType::VarChar(10), true),
    ("price", SqlType::Decimal { precision: 8, scale: 2 }, true),
    ("day", SqlType::Date, true),
];

fn csv_schema() -> SchemaRef {
    let fields = COLUMNS.iter().map(|(name, sql_type, nullable)| sql_type.to_field(name, *nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn file_in(folder: &TempDir, name: &str, bytes: &[u8]) -> FileRef {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    FileRef { path: path.to_str().unwrap().to_owned(), bytes: bytes.len() as u64, range: None }
}

fn csv_lane(files: Vec<FileRef>, options: CsvOptions) -> LaneFiles {
    LaneFiles { schema: csv_schema(), projection: vec![0, 1, 2, 3], format: FileFormat::Csv(options), files }
}

async fn read(lane: LaneFiles) -> Result<Vec<RecordBatch>> {
    let stream = read_files(lane, Arc::default(), Arc::new(TaskContext::default()))?;
    let schema = stream.schema();
    let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(Error::from)?;
    assert!(batches.iter().all(|batch| batch.schema() == schema));
    Ok(batches)
}

/// Rows as `id|name|price|day`, NULL as `~`.
async fn rows(lane: LaneFiles) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for batch in read(lane).await? {
        for row in 0..batch.num_rows() {
            let shown = batch.columns().iter().map(|column| match column.is_null(row) {
                true => "~".to_owned(),
                false => arrow::util::display::array_value_to_string(column, row).unwrap(),
            });
            rows.push(shown.collect::<Vec<_>>().join("|"));
        }
    }
    Ok(rows)
}

async fn csv(bytes: &[u8], options: CsvOptions) -> Result<Vec<String>> {
    let folder = TempDir::new().unwrap();
    rows(csv_lane(vec![file_in(&folder, "x.csv", bytes)], options)).await
}

fn text_mode() -> CsvOptions {
    CsvOptions { null_as: "\\N".into(), ..Default::default() }
}

fn csv_mode() -> CsvOptions {
    CsvOptions { csv_mode: true, ..text_mode() }
}

#[tokio::test]
async fn text_mode_reads_as_copy_does() {
    let text = b"1|one|1.005|2024-01-31\r\n2|| 2 |\n3|\\N|\\N|\\N\n4|\"q\"|-0|20240131|\n5|last|1e2|2024/01/31";
    let expected = ["1|one|1.00|2024-01-31", "2||2.00|~", "3|~|~|~", "4|\"q\"|0.00|2024-01-31", "5|last|100.00|2024-01-31"];
    assert_eq!(csv(text, text_mode()).await.unwrap(), expected);
    assert!(csv(b"", text_mode()).await.unwrap().is_empty());
    // Digits behind the scale are cut, unless ROUNDEC says otherwise.
    let rounded = csv(b"1|one|1.005|2024-01-31\n", CsvOptions { round_decimals: true, ..text_mode() }).await.unwrap();
    assert_eq!(rounded, ["1|one|1.01|2024-01-31"]);

    let escaped = b"1|a\\|b\\\\|1|\n2|\\N|2|\n3|\\\\N|3|\n4|a\\\nb\\\r|4|\n";
    let options = CsvOptions { escape: "\\".into(), ..text_mode() };
    assert_eq!(csv(escaped, options).await.unwrap(), ["1|a|b\\|1.00|~", "2|~|2.00|~", "3|\\N|3.00|~", "4|a\nb\r|4.00|~"]);

    let quoted = b"1,\"a,b\",1,\n2,''Black'',2,\n3,Blue',3,\n4,'White',4,\n";
    let options = CsvOptions { remove_quotes: true, delimiter: ",".into(), ..text_mode() };
    assert_eq!(csv(quoted, options).await.unwrap(), ["1|a,b|1.00|~", "2|'Black'|2.00|~", "3|Blue'|3.00|~", "4|White|4.00|~"]);

    let options = CsvOptions { delimiter: "|~|".into(), ..text_mode() };
    assert_eq!(csv(b"1|~|a|b|~|1|~|\n", options).await.unwrap(), ["1|a|b|1.00|~"]);
    let options = CsvOptions { delimiter: "\\t".into(), ..text_mode() };
    assert_eq!(csv(b"1\ta\t1\t\n", options).await.unwrap(), ["1|a|1.00|~"]);
}

#[tokio::test]
async fn csv_mode_knows_quotes_and_line_ends_in_fields() {
    let text = "\u{feff}id,name,price,day\n1,\"a \"\"b\"\"\n,c\",1,2024-01-31\r\n2,\"\",\"2\",\"\"\r\n\"3\",  x,3,";
    let options = CsvOptions { ignore_header: 1, ..csv_mode() };
    let expected = ["1|a \"b\"\n,c|1.00|2024-01-31", "2||2.00|~", "3|  x|3.00|~"];
    assert_eq!(csv(text.as_bytes(), options.clone()).await.unwrap(), expected);

    // The line of an error is where its row starts, whatever lines the rows before it span.
    let broken = text.replace("3,", "x,").replace("\"3\"", "\"x\"");
    let error = csv(broken.as_bytes(), options).await.unwrap_err();
    let detail = error.detail.unwrap();
    assert!(detail.contains("line 5: value \"x\"") && detail.contains("column \"id\""), "{detail}");
    assert_eq!(error.message, "invalid input syntax for type integer: \"x\"");

    for (bad, message) in
        [("1,\"a\"b,1,\n", "neither a delimiter"), ("1,a\"b,1,\n", "inside a field"), ("1,\"ab,1,\n", "not closed")]
    {
        let error = csv(bad.as_bytes(), csv_mode()).await.unwrap_err();
        assert!(error.sqlstate() == "22P04" && error.message.contains(message), "{error}");
    }
}

#[tokio::test]
async fn nulls_and_blanks_follow_the_options() {
    let text = b"1,,1,\n2, ,2, \n3,\"\",3,\n4,NUL,,\n5,\"NUL\",5,\n";
    let plain = CsvOptions { null_as: "NUL".into(), ..csv_mode() };
    assert_eq!(csv(text, plain.clone()).await.unwrap(), ["1||1.00|~", "2| |2.00|~", "3||3.00|~", "4|~|~|~", "5|NUL|5.00|~"]);
    let as_null = CsvOptions { empty_as_null: true, blanks_as_null: true, ..plain };
    assert_eq!(csv(text, as_null).await.unwrap(), ["1|~|1.00|~", "2|~|2.00|~", "3||3.00|~", "4|~|~|~", "5|NUL|5.00|~"]);
    let empty = CsvOptions { null_as: String::new(), fill_record: true, ..text_mode() };
    assert_eq!(csv(b"1||1|\n2\n", empty).await.unwrap(), ["1|~|1.00|~", "2|~|~|~"]);
    let nul = CsvOptions { null_as: "\0".into(), ..text_mode() };
    assert_eq!(csv(b"1|\0|\0|\n", nul).await.unwrap(), ["1|~|~|~"]);
    let short = b"1,a\n\n2\n";
    let fill = CsvOptions { fill_record: true, ignore_blank_lines: true, ..csv_mode() };
    assert_eq!(csv(short, fill).await.unwrap(), ["1|a|~|~", "2||~|~"]);
}

#[tokio::test]
async fn bad_rows_are_named_and_counted() {
    for (bad, state, message) in [
        ("1|a|1\n", "22P04", "delimiter not found"),
        ("1|a|1||x\n", "22P04", "extra column(s) found"),
        ("|a|1|\n", "23502", "null value in column \"id\" violates not-null constraint"),
        ("99999999999|a|1|\n", "22003", "value out of range for integer"),
        ("1|elevenchars|1|\n", "22001", "value too long for type character varying(10)"),
        ("1|a|1234567.1|\n", "22003", "value out of range for numeric(8,2)"),
        ("1|a|1|2024-02-30\n", "22008", "date/time field value out of range: \"2024-02-30\""),
        ("1|a|1|01/02/2024\n", "22007", "invalid input syntax for type date: \"01/02/2024\""),
        ("1|a\0b|1|\n", "22021", "text is not valid UTF-8"),
    ] {
        let error = csv(format!("7|ok|7|\n{bad}8|ok|8|\n").as_bytes(), text_mode()).await.unwrap_err();
        assert_eq!((error.sqlstate(), error.message.as_str()), (state, message));
        assert!(error.detail.as_deref().is_some_and(|detail| detail.contains("x.csv\", line 2")), "{:?}", error.detail);
        let options = CsvOptions { max_error: 2, ..text_mode() };
        let kept = csv(format!("7|ok|7|\n{bad}8|ok|8|\n").as_bytes(), options.clone()).await.unwrap();
        assert_eq!(kept, ["7|ok|7.00|~", "8|ok|8.00|~"]);
        assert!(csv(format!("{bad}{bad}").as_bytes(), options).await.is_err());
    }
    // The first bad row is the one that is named, in whatever column it is.
    let error = csv(b"1|a|x|\ny|a|1|\n", text_mode()).await.unwrap_err();
    assert!(error.detail.unwrap().contains("line 1"));
}

#[tokio::test]
async fn conversion_options_are_honoured() {
    let text = b"1|\xc3\xa9\xff\xe9b|1|31.01.24\n";
    let options = CsvOptions { accept_inv_chars: true, date_format: "DD.MM.YY".into(), ..text_mode() };
    assert_eq!(csv(text, options).await.unwrap(), ["1|é??b|1.00|2024-01-31"]);
    let options = CsvOptions { truncate_columns: true, date_format: "auto".into(), ..text_mode() };
    assert_eq!(csv("1|éééééé|1|1/31/2024\n".as_bytes(), options).await.unwrap(), ["1|ééééé|1.00|2024-01-31"]);
    for (options, state) in [
        (CsvOptions { compression: "bzip2".into(), ..text_mode() }, "0A000"),
        (CsvOptions { delimiter: "||".into(), ..csv_mode() }, "22023"),
        (CsvOptions { escape: "\\".into(), ..csv_mode() }, "22023"),
        (CsvOptions { delimiter: "\\".into(), escape: "\\".into(), ..text_mode() }, "22023"),
        (CsvOptions { date_format: "nonsense".into(), ..text_mode() }, "22023"),
        (CsvOptions { time_format: "epochsecs".into(), date_format: "epochsecs".into(), ..text_mode() }, "22023"),
    ] {
        assert_eq!(csv(b"", options).await.unwrap_err().sqlstate(), state);
    }
}

#[tokio::test]
async fn compressed_files_are_read_and_torn_ones_refused() {
    let folder = TempDir::new().unwrap();
    let text: String = (0..20_000).map(|id| format!("{id}|name{}|{id}.5|2024-01-31\n", id % 7)).collect();
    let half = text.len() / 2;
    let mut gzip = Vec::new();
    for part in [&text.as_bytes()[..half], &text.as_bytes()[half..]] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        gzip.extend(encoder.finish().unwrap());
    }
    let zstd = zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
    for (name, bytes) in [("gzip", gzip), ("zstd", zstd)] {
        let options = CsvOptions { compression: name.to_uppercase(), ..text_mode() };
        let lines = rows(csv_lane(vec![file_in(&folder, name, &bytes)], options.clone())).await.unwrap();
        assert_eq!((lines.len(), lines[19_999].as_str()), (20_000, "19999|name0|19999.50|2024-01-31"), "{name}");
        let torn = file_in(&folder, name, &bytes[..bytes.len() - 20]);
        let error = rows(csv_lane(vec![torn], options)).await.unwrap_err();
        assert!(error.sqlstate() == "22P04" && error.message.contains(folder.path().to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn ranges_of_a_file_make_the_whole() {
    let folder = TempDir::new().unwrap();
    let mut text = "id|name|price|day\n".to_owned();
    (0..500).for_each(|id| text.push_str(&format!("{id}|{}|{id}|\n", "x".repeat(id % 10))));
    let file = file_in(&folder, "x.tbl", text.as_bytes());
    let options = CsvOptions { ignore_header: 1, ..text_mode() };
    let whole = rows(csv_lane(vec![file.clone()], options.clone())).await.unwrap();
    assert_eq!(whole.len(), 500);
    for step in [1000, 777, 19, 5] {
        let starts = (0..file.bytes).step_by(step);
        let parts = starts.map(|start| FileRef { range: Some((start, start + step as u64)), ..file.clone() });
        assert_eq!(rows(csv_lane(parts.collect(), options.clone())).await.unwrap(), whole, "{step}");
    }
    // Lines are counted from the file's start.
    let broken = file_in(&folder, "y.tbl", text.replace("\n400|", "\n4x0|").as_bytes());
    let half = FileRef { range: Some((file.bytes / 2, file.bytes)), ..broken };
    let error = rows(csv_lane(vec![half.clone()], options)).await.unwrap_err();
    assert!(error.detail.as_deref().is_some_and(|detail| detail.contains("line 402: value \"4x0\"")), "{:?}", error.detail);
    assert_eq!(rows(csv_lane(vec![half], csv_mode())).await.unwrap_err().sqlstate(), "XX000");
}

#[tokio::test]
async fn records_survive_every_buffer_boundary() {
    // Rows of many lengths, so that quotes, escapes and delimiters fall on all offsets of the reader's buffer.
    let mut text = String::new();
    let mut expected = Vec::new();
    for id in 0..60_000usize {
        let name = ["a\"\"b", "x,y", "\r\n", "é", ""][id % 5];
        text.push_str(&format!("{id},\"{name}\",{}.{:02},\r\n", id % 1000, id % 100));
        expected.push(format!("{id}|{}|{}.{:02}|~", name.replace("\"\"", "\""), id % 1000, id % 100));
    }
    assert_eq!(csv(text.as_bytes(), csv_mode()).await.unwrap(), expected);
    let long = format!("1,\"{}", "x\n".repeat(3_000_000));
    assert_eq!(csv(long.as_bytes(), csv_mode()).await.unwrap_err().sqlstate(), "54000");
}

#[tokio::test]
async fn a_dropped_stream_ends_its_reader() {
    let folder = TempDir::new().unwrap();
    let text = "1|a|1|\n".repeat(200_000);
    let lane = csv_lane(vec![file_in(&folder, "x.tbl", text.as_bytes())], text_mode());
    let mut stream = read_files(lane, Arc::default(), Arc::new(TaskContext::default())).unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    drop(stream);
    // The runtime waits for its threads when it ends: a reader that went on blocking would hang this test.
}

#[tokio::test]
async fn missing_and_changed_files_are_refused() {
    let folder = TempDir::new().unwrap();
    let gone = FileRef { path: folder.path().join("gone").to_str().unwrap().to_owned(), bytes: 3, range: None };
    assert_eq!(rows(csv_lane(vec![gone], text_mode())).await.unwrap_err().sqlstate(), "58P01");
    let mut changed = file_in(&folder, "x.csv", b"1|a|1|\n");
    changed.bytes += 1;
    let error = rows(csv_lane(vec![changed], text_mode())).await.unwrap_err();
    assert!(error.message.contains("has changed"), "{error}");
}

fn write_parquet(path: &Path, batch: &RecordBatch, group_rows: usize) -> FileRef {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    FileRef { path: path.to_str().unwrap().to_owned(), bytes: std::fs::metadata(path).unwrap().len(), range: None }
}

fn parquet_batch(rows: i64) -> RecordBatch {
    let words = |row: i64| Some(format!("a text of more than twelve bytes {}", row % 100)).filter(|_| row % 7 != 0);
    let dictionary: DictionaryArray<Int32Type> = (0..rows).map(|row| ["red", "green", "blue"][row as usize % 3]).collect();
    let columns: [(&str, ArrayRef); 6] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..rows))),
        ("text", Arc::new((0..rows).map(words).collect::<StringArray>())),
        ("colour", Arc::new(dictionary)),
        ("bytes", Arc::new(BinaryArray::from_iter_values((0..rows).map(|row| row.to_string())))),
        ("at", Arc::new(TimestampNanosecondArray::from_iter_values(0..rows).with_timezone("Europe/Berlin"))),
        ("small", Arc::new(UInt8Array::from_iter_values((0..rows).map(|row| row as u8)))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[tokio::test]
async fn parquet_rows_come_in_the_normalised_schema() {
    let folder = TempDir::new().unwrap();
    let source = parquet_batch(2500);
    let file = write_parquet(&folder.path().join("x.parquet"), &source, 1000);
    let schema = inspect_parquet_schema(&file.path).unwrap();
    assert_eq!(schema, normalize_load_schema(&source.schema()));
    let lane = |projection: Vec<usize>, files: Vec<FileRef>| LaneFiles {
        schema: Arc::clone(&schema),
        projection,
        format: FileFormat::Parquet,
        files,
    };
    let all = read(lane(vec![0, 1, 2, 3, 4, 5], vec![file.clone()])).await.unwrap();
    let all = arrow::compute::concat_batches(&schema, &all).unwrap();
    assert_eq!(all.num_rows(), 2500);
    for column in [1, 2, 3] {
        let expected = arrow::compute::cast(source.column(column), &DataType::Utf8View).unwrap();
        assert_eq!(all.column(column).as_ref(), expected.as_ref());
    }
    assert_eq!(all.column(4).as_primitive::<TimestampMicrosecondType>().value(1999), 1);
    assert_eq!(all.column(5).as_primitive::<Int16Type>().value(255), 255);

    // Columns in another order, one of them twice, and none at all.
    let picked = read(lane(vec![5, 0, 5], vec![file.clone()])).await.unwrap();
    assert_eq!(picked[0].column(1).as_primitive::<Int64Type>().value(7), 7);
    assert_eq!(picked[0].column(0), picked[0].column(2));
    let none = read(lane(vec![], vec![file.clone()])).await.unwrap();
    assert_eq!(none.iter().map(RecordBatch::num_rows).sum::<usize>(), 2500);

    // Every row group belongs to exactly one range.
    for step in [1, 100, 5000] {
        let mut seen = Vec::new();
        let parts = (0..file.bytes).step_by(file.bytes.div_ceil(step) as usize);
        for start in parts {
            let range = Some((start, start + file.bytes.div_ceil(step)));
            for batch in read(lane(vec![0], vec![FileRef { range, ..file.clone() }])).await.unwrap() {
                seen.extend(batch.column(0).as_primitive::<Int64Type>().values().iter().copied());
            }
        }
        assert_eq!(seen, (0..2500).collect::<Vec<_>>(), "{step}");
    }
}

#[tokio::test]
async fn parquet_files_that_differ_or_are_torn_are_refused() {
    let folder = TempDir::new().unwrap();
    let file = write_parquet(&folder.path().join("x.parquet"), &parquet_batch(10), 1000);
    let schema = inspect_parquet_schema(&file.path).unwrap();
    let lane =
        |files: Vec<FileRef>| LaneFiles { schema: Arc::clone(&schema), projection: vec![0], format: FileFormat::Parquet, files };
    let batch = parquet_batch(10);
    let names = batch.schema().fields().iter().map(|field| format!("{}2", field.name())).collect::<Vec<_>>();
    let renamed = RecordBatch::try_from_iter(names.into_iter().zip(batch.columns().iter().cloned())).unwrap();
    let other = write_parquet(&folder.path().join("y.parquet"), &renamed, 1000);
    let error = read(lane(vec![file.clone(), other])).await.unwrap_err();
    assert!(error.sqlstate() == "42804" && error.message.contains("y.parquet"), "{error}");
    let bytes = std::fs::read(&file.path).unwrap();
    let torn = file_in(&folder, "z.parquet", &bytes[..bytes.len() / 2]);
    let error = read(lane(vec![torn])).await.unwrap_err();
    assert!(error.sqlstate() == "22P04" && error.message.contains("z.parquet"), "{error}");
    assert_eq!(inspect_parquet_schema("/does/not/exist").unwrap_err().sqlstate(), "58P01");
}
