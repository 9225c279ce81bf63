use super::*;
use crate::plan::table_statistics::table_statistics;
use arrow::array::{RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use slipher_common::SqlType;
use slipher_common::catalog::Table;
use slipher_common::ids::{ColumnId, SegmentId, SliceId, Version};
use slipher_common::manifest::{
    Details, InlineDetails, KnownColumn, ReadsDetails, Segment, SegmentColumns, Segments, TrailingBlanks,
};
use slipher_common::member::member_udaf;
use slipher_meta::TableState;
use slipher_proto::meta as proto;

/// A session with two tables whose strings nobody knows anything of: `b (v, w)` and `d (v)`.
fn session() -> SessionContext {
    let mut state = SessionStateBuilder::new().with_config(SessionConfig::new()).with_default_features().build();
    slipher_common::functions::register(&mut state).unwrap();
    state.add_analyzer_rule(Arc::new(TightComparisons));
    let context = SessionContext::new_with_state(state);
    context.register_udaf(member_udaf().as_ref().clone());
    let table = |names: &[&str], rows: &[&str]| {
        let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8View, true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let column: arrow::array::ArrayRef = Arc::new(StringViewArray::from_iter_values(rows));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column; names.len()]).unwrap();
        Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())
    };
    context.register_table("b", table(&["v", "w"], &["a", "a ", "a  ", "b"])).unwrap();
    context.register_table("d", table(&["v"], &["a ", "c"])).unwrap();
    context
}

/// The analyzed plan, as text, and the number of rows it yields.
async fn run(query: &str) -> (String, usize) {
    let context = session();
    let plan = context.state().create_logical_plan(query).await.unwrap();
    let state = context.state();
    let analyzed = state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {}).unwrap();
    let rows = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
    (analyzed.display_indent().to_string(), rows.iter().map(RecordBatch::num_rows).sum())
}

#[tokio::test]
async fn every_comparison_of_unknown_strings_is_tight() {
    let queries = [
        ("SELECT * FROM b WHERE v = 'a'", 3),
        ("SELECT * FROM b WHERE v <> 'a '", 1),
        ("SELECT * FROM b WHERE v BETWEEN 'a' AND 'a '", 3),
        ("SELECT * FROM b WHERE v IN ('a', 'x', 'y', 'z', 'u', 'w')", 3),
        ("SELECT * FROM b WHERE v IN (SELECT v FROM d)", 3),
        ("SELECT * FROM b WHERE v NOT IN (SELECT v FROM d)", 1),
        ("SELECT * FROM b WHERE EXISTS (SELECT 1 FROM d WHERE d.v = b.v)", 3),
        ("SELECT (SELECT count(*) FROM d WHERE d.v = b.v) FROM b", 4),
        ("SELECT * FROM b JOIN d ON b.v = d.v", 3),
        ("SELECT * FROM b JOIN d USING (v)", 3),
        ("SELECT v FROM b INTERSECT SELECT v FROM d", 1),
        ("SELECT v FROM b EXCEPT SELECT v FROM d", 1),
        ("SELECT v FROM b UNION SELECT v FROM d", 3),
        ("SELECT DISTINCT v FROM b", 2),
        ("SELECT DISTINCT ON (v) v, w FROM b ORDER BY v, w", 2),
        ("SELECT v, count(*) FROM b GROUP BY v", 2),
        ("SELECT v, w, count(*) FROM b GROUP BY ROLLUP(v, w)", 5),
        ("SELECT count(DISTINCT v) FROM b", 1),
        ("SELECT min(v), max(w) FROM b", 1),
        ("SELECT max(v) OVER (PARTITION BY w) FROM b", 4),
        ("SELECT * FROM b ORDER BY v", 4),
        ("SELECT * FROM b WHERE CASE v WHEN 'a' THEN true ELSE false END", 3),
        ("SELECT * FROM b WHERE nullif(v, 'a') IS NULL", 3),
        ("SELECT greatest(v, 'a') FROM b", 4),
    ];
    for (query, expected) in queries {
        let (plan, rows) = run(query).await;
        assert!(plan.contains("tight(") || plan.contains("slipher_blank_key("), "{query}:\n{plan}");
        assert_eq!(rows, expected, "{query}:\n{plan}");
    }
}

#[tokio::test]
async fn nothing_is_added_where_no_string_can_end_in_a_blank() {
    let queries = [
        "SELECT trim(v) FROM b WHERE trim(v) = 'a' OR upper(rtrim(v)) = 'A '",
        "SELECT upper(x), count(*) FROM (SELECT coalesce(rtrim(v), 'x') AS x FROM b) q GROUP BY upper(x) ORDER BY 1",
        "SELECT DISTINCT CASE WHEN v LIKE 'a%' THEN 'a' ELSE 'b' END FROM b",
        "SELECT max(x) FROM (SELECT rtrim(v) AS x FROM b) q WHERE x IN ('a', 'b ')",
        "SELECT 1 FROM b WHERE (SELECT max(rtrim(v)) FROM d) = 'c'",
        "SELECT v FROM b WHERE v LIKE 'a' AND v || '.' LIKE 'a.'",
        "SELECT count(v), length(v) FROM b GROUP BY length(v)",
        "SELECT * FROM (VALUES ('a'), ('b')) AS q (x) WHERE x = 'a' ORDER BY x",
    ];
    for query in queries {
        let (plan, _) = run(query).await;
        assert!(!plan.contains("tight(") && !plan.contains("slipher_"), "{query}:\n{plan}");
    }
}

/// Which columns of a table with `segments` (what is known of each of its columns) have no trailing blanks: a VARCHAR, a CHAR, a number.
fn known(segments: &[[TrailingBlanks; 3]], missing_value: Option<&str>) -> Vec<bool> {
    let types = [SqlType::VarChar(10), SqlType::Char(10), SqlType::Integer, SqlType::VarChar(10)];
    let columns = types.iter().enumerate().map(|(index, sql_type)| proto::Column {
        column_id: index as u32,
        name: format!("c{index}"),
        r#type: Some(sql_type.to_proto()),
        // The last one was added when the segments were there.
        missing_value: (index == 3).then(|| missing_value.map(str::to_owned)).flatten(),
        ..Default::default()
    });
    let even = proto::DistStyle::Even.into();
    let table = proto::Table { table_id: 1, columns: columns.collect(), dist_style: even, ..Default::default() };
    let table = Table::from_proto(&table).unwrap();
    let segment = |(number, blanks): (usize, &[TrailingBlanks; 3])| {
        let known = |(column, trailing_blanks): (usize, &TrailingBlanks)| KnownColumn {
            column: ColumnId(column as u32),
            nulls: 0,
            min: &[],
            max: &[],
            trailing_blanks: *trailing_blanks,
        };
        let id = SegmentId(uuid::Uuid::from_u128(number as u128));
        let segment = Segment {
            id,
            table: table.id,
            slice: SliceId(0),
            slice_count: 8,
            rows: 1,
            bytes: 1,
            checksum: 0,
            nodes: Vec::new(),
            columns: SegmentColumns::new(blanks.iter().enumerate().map(known)),
            details: Details::of(&[]),
            placement_epoch: 0,
            sorted_by: Vec::new(),
            delete_vector: None,
        };
        (id, Arc::new(segment))
    };
    let segments: Segments = segments.iter().enumerate().map(segment).collect();
    let (table, first) = (Arc::new(table), Version(1));
    let empty = TableState {
        table,
        created_version: first,
        changed_version: first,
        defined_version: first,
        layout_version: first,
        segments: Arc::default(),
        totals: Arc::default(),
    };
    let details: Arc<dyn ReadsDetails> = Arc::new(InlineDetails);
    table_statistics(&empty.with_segments(segments), &details).unwrap().tight
}

#[test]
fn segments_that_say_nothing_may_have_blanks() {
    use TrailingBlanks::{None as Without, Some as With, Unknown};
    assert_eq!(known(&[], None), [true, true, true, true]);
    assert_eq!(known(&[[Without; 3], [Without; 3]], None), [true, true, true, true]);
    assert_eq!(known(&[[Without; 3], [Unknown; 3]], None), [false, true, true, true], "an old segment");
    assert_eq!(known(&[[With; 3], [Without; 3]], Some("x")), [false, true, true, true]);
    assert_eq!(known(&[[Without; 3]], Some("x ")), [true, true, true, false], "a default for the rows that were there");
}
