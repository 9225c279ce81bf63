//! `slipher_part(body, columns...)`: a part of an expression, as one call.
//!
//! The engine's passes work out types and names of an expression anew at every level, and its messages nest a few dozen levels at most. So an
//! expression that is deep is cut into parts: each is a call whose type is known and whose arguments are columns. What it computes, other parts
//! among it, travels as bytes in its first argument; nothing in the engine looks inside.

mod first;

pub use first::{FIRST, first_udf};

use crate::error::{Error, Result};
use crate::plan::{decode_schema, encode_schema};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as EngineResult;
use datafusion::execution::{SessionStateBuilder, TaskContext};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::expressions::Literal;
use datafusion_proto::physical_plan::DefaultPhysicalExtensionCodec;
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
use datafusion_proto::protobuf::PhysicalExprNode;
use parking_lot::Mutex;
use prost::Message;
use slipher_proto::plan as proto;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};
use xxhash_rust::xxh3::xxh3_64;

/// The name under which leaders and workers know the function.
pub const PART: &str = "slipher_part";
/// So many bodies a process keeps decoded.
const DECODED_MAX: usize = 64;

/// What a part computes, ready to run.
#[derive(Debug)]
pub struct Body {
    parameters: SchemaRef,
    result: FieldRef,
    expr: Arc<dyn PhysicalExpr>,
}

/// A body that was decoded, with its bytes and their hash.
type Kept = (u64, Box<[u8]>, Arc<Body>);

impl Body {
    /// The body as it travels: `expr` over `parameters` yields `result`.
    pub fn encode(parameters: &Schema, result: FieldRef, expr: &Arc<dyn PhysicalExpr>) -> Result<Vec<u8>> {
        let mut fields: Vec<FieldRef> = parameters.fields().iter().cloned().collect();
        fields.push(result);
        let schema = encode_schema(&Schema::new(fields))?;
        let body = serialize_physical_expr(expr, &DefaultPhysicalExtensionCodec {})?.encode_to_vec();
        Ok(proto::ExpressionPart { schema, body }.encode_to_vec())
    }

    /// What [`Body::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let part = proto::ExpressionPart::decode(bytes).map_err(torn)?;
        let schema = decode_schema(&part.schema)?;
        let (result, parameters) = schema.fields().split_last().ok_or_else(|| torn("no result"))?;
        let parameters = Arc::new(Schema::new(parameters.to_vec()));
        let node = PhysicalExprNode::decode(part.body.as_slice()).map_err(torn)?;
        let expr = parse_physical_expr(&node, &FUNCTIONS, &parameters, &DefaultPhysicalExtensionCodec {})?;
        let expr = expr.transform_up(ready)?.data;
        Ok(Self { parameters, result: Arc::clone(result), expr })
    }

    /// The decoded form of `bytes`, which the process may know already.
    fn known(bytes: &[u8]) -> Result<Arc<Self>> {
        static KNOWN: LazyLock<Mutex<VecDeque<Kept>>> = LazyLock::new(Mutex::default);
        let hash = xxh3_64(bytes);
        if let Some((.., body)) = KNOWN.lock().iter().find(|(known, text, _)| *known == hash && **text == *bytes) {
            return Ok(Arc::clone(body));
        }
        let body = Arc::new(Self::decode(bytes)?);
        let mut known = KNOWN.lock();
        if known.len() >= DECODED_MAX {
            known.pop_front();
        }
        known.push_back((hash, bytes.into(), Arc::clone(&body)));
        Ok(body)
    }

    fn evaluate(&self, columns: &[ColumnarValue], rows: usize) -> EngineResult<ColumnarValue> {
        let arrays = columns.iter().zip(self.parameters.fields()).map(|(column, parameter)| {
            let array = column.to_array(rows)?;
            // What stood below got its last type after the part was made.
            if array.data_type() == parameter.data_type() {
                Ok(array)
            } else {
                Ok(arrow::compute::cast(&array, parameter.data_type())?)
            }
        });
        let arrays = arrays.collect::<EngineResult<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = nullable(&self.parameters, &arrays);
        self.expr.evaluate(&RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }
}

/// The parameters, nullable where NULLs came: a column below an outer join.
fn nullable(parameters: &SchemaRef, arrays: &[ArrayRef]) -> SchemaRef {
    let fits = |(field, array): (&FieldRef, &ArrayRef)| field.is_nullable() || array.null_count() == 0;
    if parameters.fields().iter().zip(arrays).all(fits) {
        return Arc::clone(parameters);
    }
    let fields: Vec<FieldRef> =
        parameters.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true))).collect();
    Arc::new(Schema::new(fields))
}

/// Every function that a body may call.
static FUNCTIONS: LazyLock<TaskContext> = LazyLock::new(|| {
    let mut state = SessionStateBuilder::new().with_default_features().build();
    crate::plan::apply_engine_options(state.config_mut().options_mut());
    // None of them can fail to be registered: the registry takes any.
    let _ = crate::functions::register(&mut state);
    TaskContext::from(&state)
});

fn torn(what: impl fmt::Display) -> Error {
    Error::internal(format!("decoding a part of an expression: {what}"))
}

/// Puts what evaluates parts in place of calls of them.
fn ready(expr: Arc<dyn PhysicalExpr>) -> EngineResult<Transformed<Arc<dyn PhysicalExpr>>> {
    let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() else { return Ok(Transformed::no(expr)) };
    if call.name() == FIRST {
        return Ok(Transformed::yes(Arc::new(first::FirstExpr::new(call.args().to_vec()))));
    }
    let body = call.args().first().and_then(|body| body.downcast_ref::<Literal>());
    let Some(body) = body.filter(|_| call.name() == PART) else { return Ok(Transformed::no(expr)) };
    let bytes = bytes_of(body.value())?;
    let part = PartExpr { hash: xxh3_64(bytes), body: Arc::new(Body::decode(bytes)?), columns: call.args()[1..].to_vec() };
    Ok(Transformed::yes(Arc::new(part)))
}

fn bytes_of(body: &ScalarValue) -> Result<&[u8]> {
    match body {
        ScalarValue::Binary(Some(bytes)) => Ok(bytes),
        other => Err(torn(format_args!("its body is {}", other.data_type()))),
    }
}

/// A part inside of a part.
#[derive(Debug)]
struct PartExpr {
    hash: u64,
    body: Arc<Body>,
    columns: Vec<Arc<dyn PhysicalExpr>>,
}

impl fmt::Display for PartExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PART}_{:016x}", self.hash)
    }
}

impl PartialEq for PartExpr {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.columns == other.columns
    }
}

impl Eq for PartExpr {}

impl Hash for PartExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
        self.columns.hash(state);
    }
}

impl PhysicalExpr for PartExpr {
    fn return_field(&self, _schema: &Schema) -> EngineResult<FieldRef> {
        Ok(Arc::clone(&self.body.result))
    }

    fn evaluate(&self, batch: &RecordBatch) -> EngineResult<ColumnarValue> {
        let columns = self.columns.iter().map(|column| column.evaluate(batch)).collect::<EngineResult<Vec<_>>>()?;
        self.body.evaluate(&columns, batch.num_rows())
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.columns.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, columns: Vec<Arc<dyn PhysicalExpr>>) -> EngineResult<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { hash: self.hash, body: Arc::clone(&self.body), columns }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The function that plans name and workers find.
pub fn part_udf() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Part { hash: 0, known: None, signature }))
    });
    Arc::clone(&FUNCTION)
}

/// The call of a part with `bytes` as its body; its type and name are known without looking at what it computes.
pub fn part_call(bytes: Vec<u8>, columns: Vec<Expr>, volatility: Volatility) -> Result<Expr> {
    let body = Arc::new(Body::decode(&bytes)?);
    let part = Part { hash: xxh3_64(&bytes), known: Some(body), signature: Signature::variadic_any(volatility) };
    let body = Expr::Literal(ScalarValue::Binary(Some(bytes)), None);
    let arguments = std::iter::once(body).chain(columns).collect();
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(part)), arguments)))
}

#[derive(Debug)]
struct Part {
    hash: u64,
    /// None on workers, which find it by its bytes.
    known: Option<Arc<Body>>,
    signature: Signature,
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Part {}

impl Hash for Part {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl Part {
    fn body(&self, first: Option<&ScalarValue>) -> Result<Arc<Body>> {
        match (&self.known, first) {
            (Some(body), _) => Ok(Arc::clone(body)),
            (None, Some(bytes)) => Body::known(bytes_of(bytes)?),
            (None, None) => Err(torn("no body")),
        }
    }

    fn short_name(&self, arguments: &[Expr]) -> String {
        let columns: Vec<String> = arguments.iter().skip(1).map(|column| column.schema_name().to_string()).collect();
        format!("{PART}_{:016x}({})", self.hash, columns.join(","))
    }
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &str {
        PART
    }

    fn display_name(&self, arguments: &[Expr]) -> EngineResult<String> {
        Ok(self.short_name(arguments))
    }

    fn schema_name(&self, arguments: &[Expr]) -> EngineResult<String> {
        Ok(self.short_name(arguments))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> EngineResult<DataType> {
        Err(torn("its type is asked for without its body").into())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> EngineResult<FieldRef> {
        Ok(Arc::clone(&self.body(arguments.scalar_arguments.first().copied().flatten())?.result))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let first = match arguments.args.first() {
            Some(ColumnarValue::Scalar(first)) => Some(first),
            _ => None,
        };
        let body = self.body(first)?;
        body.evaluate(arguments.args.get(1..).unwrap_or_default(), arguments.number_rows)
    }
}

#[cfg(test)]
mod tests;
