//! STUB until merge.
use std::sync::Arc;
#[derive(Debug, Clone, Default)]
pub struct AssignOptions {
    pub truncate_strings: bool,
}
#[derive(Debug)]
pub struct Assigner {}
impl Assigner {
    pub fn new(_t: Arc<crate::catalog::Table>, _s: arrow::datatypes::SchemaRef, _o: AssignOptions) -> crate::Result<Self> {
        Ok(Self {})
    }
    pub fn assign(
        &self,
        b: &arrow::array::RecordBatch,
        _p: &dyn Fn(usize) -> String,
    ) -> crate::Result<arrow::array::RecordBatch> {
        Ok(b.clone())
    }
}
pub fn normalize_load_schema(s: &arrow::datatypes::Schema) -> arrow::datatypes::SchemaRef { Arc::new(s.clone()) }
