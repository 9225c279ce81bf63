//! COALESCE inside of a part. The engine writes it as a CASE that has every argument twice, so that nested ones double with each level.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{is_null, not};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// `slipher_first(a, b, ...)`: the first that is not NULL. All have one type.
pub const FIRST: &str = "slipher_first";

/// The function that bodies of parts name.
pub fn first_udf() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(First { signature }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct First {
    signature: Signature,
}

impl ScalarUDFImpl for First {
    fn name(&self) -> &str {
        FIRST
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    /// Only where nothing made it lazy.
    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let mut rest = arguments.args.into_iter();
        let Some(first) = rest.next() else { return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::Null)) };
        let mut answer = first.to_array(rows)?;
        for next in rest {
            answer = filled(&answer, &next.to_array(rows)?)?;
        }
        Ok(ColumnarValue::Array(answer))
    }
}

fn filled(answer: &ArrayRef, next: &ArrayRef) -> Result<ArrayRef> {
    Ok(zip(&is_null(answer)?, next, answer)?)
}

/// The same, with each argument computed only for the rows that need it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FirstExpr {
    arguments: Vec<Arc<dyn PhysicalExpr>>,
}

impl FirstExpr {
    pub(super) fn new(arguments: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        Self { arguments }
    }
}

impl fmt::Display for FirstExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FIRST}(")?;
        for (index, argument) in self.arguments.iter().enumerate() {
            write!(f, "{}{argument}", if index > 0 { ", " } else { "" })?;
        }
        write!(f, ")")
    }
}

impl PhysicalExpr for FirstExpr {
    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        let fields = self.arguments.iter().map(|argument| argument.return_field(schema)).collect::<Result<Vec<_>>>()?;
        let nullable = fields.iter().all(|field| field.is_nullable());
        let first = fields.into_iter().next().ok_or_else(|| super::torn("COALESCE of nothing"))?;
        Ok(Arc::new(first.as_ref().clone().with_nullable(nullable)))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let mut rest = self.arguments.iter();
        let first = rest.next().ok_or_else(|| super::torn("COALESCE of nothing"))?.evaluate(batch)?;
        let rows = batch.num_rows();
        let mut answer = first.to_array(rows)?;
        for next in rest {
            let missing: BooleanArray = is_null(&answer)?;
            if !missing.has_true() {
                break;
            }
            let next = next.evaluate_selection(batch, &missing)?.to_array(rows)?;
            answer = zip(&not(&missing)?, &answer, &next)?;
        }
        Ok(ColumnarValue::Array(answer))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.arguments.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, arguments: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { arguments }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
