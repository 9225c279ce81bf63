//! `tpchgen('lineitem', 1)`: a TPC-H table as a table function, generated on the compute nodes that read it.

use crate::plan::context::QueryContext;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionImpl, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use slipher_common::plan::TpchScanExec;
use slipher_common::tpch::{TPCH_SCALE_MIN, tpch_schema};
use slipher_common::{Error, ErrorKind};
use std::sync::Arc;

/// Largest scale factor that is generated.
const SCALE_MAX: f64 = 100_000.0;

/// Its name.
pub(crate) const TPCH_FUNCTION: &str = "tpchgen";

/// The table function of one query.
#[derive(Debug)]
pub(crate) struct TpchFunction(pub(crate) slipher_common::Result<Arc<QueryContext>>);

impl TableFunctionImpl for TpchFunction {
    fn call(&self, arguments: &[Expr]) -> Result<Arc<dyn TableProvider>> {
        let wrong = || {
            DataFusionError::from(
                Error::new(ErrorKind::InvalidParameter, "tpchgen takes a TPC-H table name and a scale factor")
                    .with_hint("for example: SELECT * FROM tpchgen('lineitem', 0.1)"),
            )
        };
        let [Expr::Literal(table, _), scale] = arguments else {
            return Err(wrong());
        };
        let table = table.try_as_str().flatten().ok_or_else(wrong)?.to_lowercase();
        let schema = tpch_schema(&table).ok_or_else(wrong)?;
        let scale = number(scale).filter(|scale| (TPCH_SCALE_MIN..=SCALE_MAX).contains(scale)).ok_or_else(wrong)?;
        Ok(Arc::new(TpchTable { table, scale, schema, query: self.0.clone()? }))
    }
}

fn number(expression: &Expr) -> Option<f64> {
    match expression {
        Expr::Literal(value, _) => match value.cast_to(&arrow::datatypes::DataType::Float64) {
            Ok(ScalarValue::Float64(number)) => number,
            _ => None,
        },
        _ => None,
    }
}

#[derive(Debug)]
struct TpchTable {
    table: String,
    scale: f64,
    schema: SchemaRef,
    query: Arc<QueryContext>,
}

#[async_trait]
impl TableProvider for TpchTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let layout = &self.query.layout;
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        Ok(Arc::new(TpchScanExec::try_new(&self.table, self.scale, layout.tasks(), layout.lanes, projection)?))
    }
}
