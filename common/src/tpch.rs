//! STUB until merge.
pub fn tpch_schema(_t: &str) -> Option<arrow::datatypes::SchemaRef> {
    None
}
pub fn tpch_rows(_t: &str, _s: f64) -> u64 {
    0
}
pub fn tpch_batches(_t: &str, _s: f64, _p: usize, _n: usize) -> Box<dyn Iterator<Item = arrow::array::RecordBatch> + Send> {
    Box::new(std::iter::empty())
}
pub const TPCH_TABLES: [&str; 8] = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"];
pub fn tpch_ddl(_t: &str) -> &'static str {
    ""
}
pub fn tpch_query(_n: usize) -> &'static str {
    ""
}
