//! TPC-H: its tables, generated where they are loaded, and its queries. Pure computation; the first batch of a process makes the
//! generator's pool of words, some 300 MiB.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, RegionGenerator,
    SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

#[cfg(test)]
mod tests;

/// The tables, small ones first.
pub const TPCH_TABLES: [&str; 8] = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"];
/// Smallest scale factor: with fewer suppliers a part would have one twice. Tables of smaller scales are empty.
pub const TPCH_SCALE_MIN: f64 = 0.001;
/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Up to this scale factor lineitem's rows are counted exactly; beyond it, orders are taken to have their average of 4 lines.
const COUNTED_SCALE_MAX: f64 = 100.0;
/// How many scale factors' lineitem counts are remembered.
const REMEMBERED_COUNTS_MAX: usize = 64;
/// Rows of lineitem at the usual scale factors.
const LINEITEM_ROWS: [(f64, u64); 4] = [(1.0, 6_001_215), (10.0, 59_986_052), (100.0, 600_037_902), (1000.0, 5_999_989_709)];

/// The schema of a table's batches; `None` if TPC-H has no such table.
pub fn tpch_schema(table: &str) -> Option<SchemaRef> {
    use DataType::{Date32, Int32, Int64, Utf8View};
    const MONEY: DataType = DataType::Decimal128(15, 2);
    let columns: &[(&str, DataType)] = match table {
        "region" => &[("r_regionkey", Int64), ("r_name", Utf8View), ("r_comment", Utf8View)],
        "nation" => &[("n_nationkey", Int64), ("n_name", Utf8View), ("n_regionkey", Int64), ("n_comment", Utf8View)],
        "supplier" => &[
            ("s_suppkey", Int64),
            ("s_name", Utf8View),
            ("s_address", Utf8View),
            ("s_nationkey", Int64),
            ("s_phone", Utf8View),
            ("s_acctbal", MONEY),
            ("s_comment", Utf8View),
        ],
        "customer" => &[
            ("c_custkey", Int64),
            ("c_name", Utf8View),
            ("c_address", Utf8View),
            ("c_nationkey", Int64),
            ("c_phone", Utf8View),
            ("c_acctbal", MONEY),
            ("c_mktsegment", Utf8View),
            ("c_comment", Utf8View),
        ],
        "part" => &[
            ("p_partkey", Int64),
            ("p_name", Utf8View),
            ("p_mfgr", Utf8View),
            ("p_brand", Utf8View),
            ("p_type", Utf8View),
            ("p_size", Int32),
            ("p_container", Utf8View),
            ("p_retailprice", MONEY),
            ("p_comment", Utf8View),
        ],
        "partsupp" => &[
            ("ps_partkey", Int64),
            ("ps_suppkey", Int64),
            ("ps_availqty", Int32),
            ("ps_supplycost", MONEY),
            ("ps_comment", Utf8View),
        ],
        "orders" => &[
            ("o_orderkey", Int64),
            ("o_custkey", Int64),
            ("o_orderstatus", Utf8View),
            ("o_totalprice", MONEY),
            ("o_orderdate", Date32),
            ("o_orderpriority", Utf8View),
            ("o_clerk", Utf8View),
            ("o_shippriority", Int32),
            ("o_comment", Utf8View),
        ],
        "lineitem" => &[
            ("l_orderkey", Int64),
            ("l_partkey", Int64),
            ("l_suppkey", Int64),
            ("l_linenumber", Int32),
            ("l_quantity", MONEY),
            ("l_extendedprice", MONEY),
            ("l_discount", MONEY),
            ("l_tax", MONEY),
            ("l_returnflag", Utf8View),
            ("l_linestatus", Utf8View),
            ("l_shipdate", Date32),
            ("l_commitdate", Date32),
            ("l_receiptdate", Date32),
            ("l_shipinstruct", Utf8View),
            ("l_shipmode", Utf8View),
            ("l_comment", Utf8View),
        ],
        _ => return None,
    };
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), false));
    Some(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// Rows of a table at a scale factor; 0 if TPC-H has no such table. Exact, but for lineitem at unusual scale factors above
/// 100, which would take too long to count.
pub fn tpch_rows(table: &str, scale: f64) -> u64 {
    if !(scale.is_finite() && scale >= TPCH_SCALE_MIN) {
        return 0;
    }
    let rows = match table {
        "region" => 5,
        "nation" => 25,
        "supplier" => SupplierGenerator::calculate_row_count(scale, 1, 1),
        "customer" => CustomerGenerator::calculate_row_count(scale, 1, 1),
        "part" => PartGenerator::calculate_row_count(scale, 1, 1),
        "partsupp" => 4 * PartSuppGenerator::calculate_row_count(scale, 1, 1),
        "orders" => OrderGenerator::calculate_row_count(scale, 1, 1),
        "lineitem" => return lineitem_rows(scale),
        _ => 0,
    };
    rows.unsigned_abs()
}

/// How many lines an order has is random; only replaying the generator's numbers tells.
fn lineitem_rows(scale: f64) -> u64 {
    static COUNTED: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());
    if let Some((_, rows)) = LINEITEM_ROWS.iter().find(|(known, _)| *known == scale) {
        return *rows;
    }
    let orders = OrderGenerator::calculate_row_count(scale, 1, 1);
    if scale > COUNTED_SCALE_MAX {
        return 4 * orders.unsigned_abs();
    }
    if let Some(rows) = COUNTED.lock().get(&scale.to_bits()) {
        return *rows;
    }
    let rows = count_lines(orders);
    let mut counted = COUNTED.lock();
    if counted.len() < REMEMBERED_COUNTS_MAX {
        counted.insert(scale.to_bits(), rows);
    }
    rows
}

fn count_lines(orders: i64) -> u64 {
    let mut lines = OrderGenerator::create_line_count_random();
    let count_of_next = |_| {
        let count = lines.next_value();
        lines.row_finished();
        u64::from(count.unsigned_abs())
    };
    (0..orders).map(count_of_next).sum()
}

/// Part `part` (from 0) of `part_count` of a table, in [`tpch_schema`]. All parts together are the table, each row once; region and
/// nation are in part 0. Nothing for a table that TPC-H has not.
pub fn tpch_batches(table: &str, scale: f64, part: usize, part_count: usize) -> Box<dyn Iterator<Item = RecordBatch> + Send> {
    let (Ok(number), Ok(count)) = (i32::try_from(part.saturating_add(1)), i32::try_from(part_count)) else {
        return Box::new(std::iter::empty());
    };
    if number > count || !(scale.is_finite() && scale >= TPCH_SCALE_MIN) {
        return Box::new(std::iter::empty());
    }
    match table {
        "region" if part == 0 => Box::new(RegionArrow::new(RegionGenerator::new(scale, 1, 1)).with_batch_size(BATCH_ROWS)),
        "nation" if part == 0 => Box::new(NationArrow::new(NationGenerator::new(scale, 1, 1)).with_batch_size(BATCH_ROWS)),
        "supplier" => Box::new(SupplierArrow::new(SupplierGenerator::new(scale, number, count)).with_batch_size(BATCH_ROWS)),
        "customer" => Box::new(CustomerArrow::new(CustomerGenerator::new(scale, number, count)).with_batch_size(BATCH_ROWS)),
        "part" => Box::new(PartArrow::new(PartGenerator::new(scale, number, count)).with_batch_size(BATCH_ROWS)),
        "partsupp" => Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, number, count)).with_batch_size(BATCH_ROWS)),
        "orders" => Box::new(OrderArrow::new(OrderGenerator::new(scale, number, count)).with_batch_size(BATCH_ROWS)),
        "lineitem" => Box::new(LineItemArrow::new(LineItemGenerator::new(scale, number, count)).with_batch_size(BATCH_ROWS)),
        _ => Box::new(std::iter::empty()),
    }
}

/// CREATE TABLE for a table: orders and lineitem lie together by order key, part and partsupp by part key, small tables everywhere,
/// all sorted by the key that they are generated in. Empty if TPC-H has no such table.
pub fn tpch_ddl(table: &str) -> &'static str {
    match table {
        "region" => include_str!("tables/region.sql"),
        "nation" => include_str!("tables/nation.sql"),
        "supplier" => include_str!("tables/supplier.sql"),
        "customer" => include_str!("tables/customer.sql"),
        "part" => include_str!("tables/part.sql"),
        "partsupp" => include_str!("tables/partsupp.sql"),
        "orders" => include_str!("tables/orders.sql"),
        "lineitem" => include_str!("tables/lineitem.sql"),
        _ => "",
    }
}

/// The queries with the parameters of the specification's validation run; a comment with their name comes first.
const QUERIES: [&str; 22] = [
    include_str!("queries/q01.sql"),
    include_str!("queries/q02.sql"),
    include_str!("queries/q03.sql"),
    include_str!("queries/q04.sql"),
    include_str!("queries/q05.sql"),
    include_str!("queries/q06.sql"),
    include_str!("queries/q07.sql"),
    include_str!("queries/q08.sql"),
    include_str!("queries/q09.sql"),
    include_str!("queries/q10.sql"),
    include_str!("queries/q11.sql"),
    include_str!("queries/q12.sql"),
    include_str!("queries/q13.sql"),
    include_str!("queries/q14.sql"),
    include_str!("queries/q15.sql"),
    include_str!("queries/q16.sql"),
    include_str!("queries/q17.sql"),
    include_str!("queries/q18.sql"),
    include_str!("queries/q19.sql"),
    include_str!("queries/q20.sql"),
    include_str!("queries/q21.sql"),
    include_str!("queries/q22.sql"),
];

/// Query `number` (1 to 22) with the specification's validation parameters (query 11 with the fraction of scale factor 1). Empty for
/// other numbers.
pub fn tpch_query(number: usize) -> &'static str {
    let text = number.checked_sub(1).and_then(|index| QUERIES.get(index)).copied().unwrap_or_default();
    // Without the line that names it, so that the text begins with its first keyword.
    text.split_once('\n').map_or(text, |(_, query)| query)
}
