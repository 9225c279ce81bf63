//! `slipher_part(columns...)`: a part of an expression, as one call.
//!
//! The engine's passes work out types and names of an expression anew at every level, and its messages nest a few dozen levels at most. So an
//! expression that is deep is cut into parts: each is a call whose type is known and whose arguments are columns. What it computes, other parts
//! among it, is held by the function itself, where nothing in the engine looks: whatever is an argument is printed, byte for byte, with each
//! name and type that the engine works out. Only on the way to compute nodes ([`to_travel`]) it is the first argument.

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
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
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
/// So many bytes of them; the newest one is kept however long it is.
const DECODED_MAX_BYTES: usize = 64 << 20;

/// What a part computes, ready to run.
#[derive(Debug)]
pub struct Body {
    parameters: SchemaRef,
    result: FieldRef,
    expr: Arc<dyn PhysicalExpr>,
}

/// A body that was decoded, and how it travels.
#[derive(Clone, Debug)]
struct Held {
    bytes: Arc<[u8]>,
    hash: u64,
    body: Arc<Body>,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes == other.bytes
    }
}

impl Eq for Held {}

impl Hash for Held {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl Body {
    /// The body as it travels: `expr` over `parameters` yields `result`.
    pub fn encode(parameters: &Schema, result: FieldRef, expr: &Arc<dyn PhysicalExpr>) -> Result<Vec<u8>> {
        let mut fields: Vec<FieldRef> = parameters.fields().iter().cloned().collect();
        fields.push(result);
        let schema = encode_schema(&Schema::new(fields))?;
        let expr = Arc::clone(expr).transform_up(travelling)?.data;
        let body = serialize_physical_expr(&expr, &DefaultPhysicalExtensionCodec {})?.encode_to_vec();
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

impl Held {
    /// The decoded form of `bytes`, which the process may know already: a part that stands in another one is decoded once for both.
    fn of(bytes: &[u8]) -> Result<Self> {
        static KNOWN: LazyLock<Mutex<VecDeque<Held>>> = LazyLock::new(Mutex::default);
        let hash = xxh3_64(bytes);
        if let Some(held) = KNOWN.lock().iter().rev().find(|known| known.hash == hash && *known.bytes == *bytes) {
            return Ok(held.clone());
        }
        let held = Self { bytes: bytes.into(), hash, body: Arc::new(Body::decode(bytes)?) };
        let mut known = KNOWN.lock();
        let mut length = bytes.len() + known.iter().map(|other| other.bytes.len()).sum::<usize>();
        while known.len() >= DECODED_MAX || length > DECODED_MAX_BYTES {
            let Some(oldest) = known.pop_front() else { break };
            length -= oldest.bytes.len();
        }
        known.push_back(held.clone());
        Ok(held)
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
    let part = PartExpr { held: Held::of(bytes_of(body.value())?)?, columns: call.args()[1..].to_vec() };
    Ok(Transformed::yes(Arc::new(part)))
}

/// A call as it travels in a body, with what it computes as its first argument.
fn travelling(expr: Arc<dyn PhysicalExpr>) -> EngineResult<Transformed<Arc<dyn PhysicalExpr>>> {
    let call = expr.downcast_ref::<ScalarFunctionExpr>();
    let part = call.and_then(|call| Some((call, at_home(call.fun())?.0)));
    let Some((call, held)) = part else { return Ok(Transformed::no(expr)) };
    let body: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(held.literal()));
    let arguments = std::iter::once(body).chain(call.args().iter().cloned()).collect();
    let field = call.return_field(&Schema::empty())?;
    let options = Arc::new(call.config_options().clone());
    Ok(Transformed::yes(Arc::new(ScalarFunctionExpr::new(PART, part_udf(), arguments, field, options))))
}

fn bytes_of(body: &ScalarValue) -> Result<&[u8]> {
    match body {
        ScalarValue::Binary(Some(bytes)) => Ok(bytes),
        other => Err(torn(format_args!("its body is {}", other.data_type()))),
    }
}

/// A part inside of a part.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PartExpr {
    held: Held,
    columns: Vec<Arc<dyn PhysicalExpr>>,
}

impl fmt::Display for PartExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.held.name())
    }
}

impl PhysicalExpr for PartExpr {
    fn return_field(&self, _schema: &Schema) -> EngineResult<FieldRef> {
        Ok(Arc::clone(&self.held.body.result))
    }

    fn evaluate(&self, batch: &RecordBatch) -> EngineResult<ColumnarValue> {
        let columns = self.columns.iter().map(|column| column.evaluate(batch)).collect::<EngineResult<Vec<_>>>()?;
        self.held.body.evaluate(&columns, batch.num_rows())
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.columns.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, columns: Vec<Arc<dyn PhysicalExpr>>) -> EngineResult<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { held: self.held.clone(), columns }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The function that compute nodes find by its name.
pub fn part_udf() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Part::function(None, true, Volatility::Immutable));
    Arc::clone(&FUNCTION)
}

/// The call of a part with `bytes` as its body; its type and name are known without looking at what it computes.
pub fn part_call(bytes: &[u8], columns: Vec<Expr>, volatility: Volatility) -> Result<Expr> {
    let function = Part::function(Some(Held::of(bytes)?), false, volatility);
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, columns)))
}

/// Whether this is the call of a part that holds what it computes.
pub fn is_part_at_home(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if at_home(&call.func).is_some())
}

fn at_home(function: &ScalarUDF) -> Option<(&Held, Volatility)> {
    match function.inner().downcast_ref::<Part>()? {
        Part { held: Some(held), travels: false, signature, .. } => Some((held, signature.volatility)),
        _ => None,
    }
}

/// The call of a part as compute nodes get it, with what it computes as its first argument; names and types stay. Other expressions stay as
/// they are.
pub fn to_travel(expr: Expr) -> Transformed<Expr> {
    let Expr::ScalarFunction(call) = expr else { return Transformed::no(expr) };
    let Some((held, volatility)) = at_home(&call.func) else { return Transformed::no(Expr::ScalarFunction(call)) };
    let body = Expr::Literal(held.literal(), None);
    let function = Part::function(Some(held.clone()), true, volatility);
    let arguments = std::iter::once(body).chain(call.args).collect();
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments)))
}

impl Held {
    fn name(&self) -> String {
        format!("{PART}_{:016x}", self.hash)
    }

    fn literal(&self) -> ScalarValue {
        ScalarValue::Binary(Some(self.bytes.to_vec()))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Part {
    name: String,
    /// None on compute nodes, which find it by its bytes.
    held: Option<Held>,
    /// Its first argument says what it computes.
    travels: bool,
    signature: Signature,
}

impl Part {
    fn function(held: Option<Held>, travels: bool, volatility: Volatility) -> Arc<ScalarUDF> {
        let any = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
        let name = held.as_ref().filter(|_| !travels).map_or_else(|| PART.to_owned(), Held::name);
        Arc::new(ScalarUDF::new_from_impl(Self { name, held, travels, signature: Signature::one_of(any, volatility) }))
    }

    fn body(&self, first: Option<&ScalarValue>) -> Result<Arc<Body>> {
        match (&self.held, first) {
            (Some(held), _) => Ok(Arc::clone(&held.body)),
            (None, Some(bytes)) => Ok(Held::of(bytes_of(bytes)?)?.body),
            (None, None) => Err(torn("no body")),
        }
    }

    fn short_name(&self, arguments: &[Expr]) -> String {
        let columns = arguments.iter().skip(usize::from(self.travels));
        let columns: Vec<String> = columns.map(|column| column.schema_name().to_string()).collect();
        let name = self.held.as_ref().map_or_else(|| PART.to_owned(), Held::name);
        format!("{name}({})", columns.join(","))
    }
}

impl ScalarUDFImpl for Part {
    fn name(&self) -> &str {
        &self.name
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
        let columns = arguments.args.get(usize::from(self.travels)..).unwrap_or_default();
        body.evaluate(columns, arguments.number_rows)
    }
}

#[cfg(test)]
mod tests;
