//! `pg_backend_pid()`, `pg_cancel_backend(pid)`, `pg_terminate_backend(pid)`: functions about sessions, for the leader alone.

use super::Snapshot;
use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use slipher_common::Result;
use slipher_common::ids::DatabaseId;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What is done to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Signal {
    /// Its statement ends with 57014.
    Cancel,
    /// It ends with 57P01.
    Terminate,
}

/// The sessions there are, as statements of others reach them.
pub(crate) trait Signals: fmt::Debug + Send + Sync {
    /// Sends a signal; false when there is no such session. Those of others are for superusers.
    fn signal(&self, process_id: i32, signal: Signal, user: &str, is_superuser: bool) -> Result<bool>;
    /// The sessions in a database.
    fn process_ids_in(&self, database: DatabaseId) -> Vec<i32>;
}

/// What one of the functions does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    OwnProcess,
    Send(Signal),
}

#[derive(Debug)]
struct BackendFunction {
    kind: Kind,
    signature: Signature,
    sessions: Arc<dyn Signals>,
    user: String,
    is_superuser: bool,
    process_id: i32,
}

impl PartialEq for BackendFunction {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.process_id) == (other.kind, other.process_id)
    }
}

impl Eq for BackendFunction {}

impl Hash for BackendFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.kind, self.process_id).hash(state);
    }
}

/// Makes the functions known to an engine session.
pub(crate) fn register(
    registry: &mut dyn FunctionRegistry,
    snapshot: &Snapshot,
    sessions: &Arc<dyn Signals>,
) -> EngineResult<()> {
    let is_superuser = snapshot.state.users().get(&snapshot.user).is_some_and(|user| user.superuser);
    for kind in [Kind::OwnProcess, Kind::Send(Signal::Cancel), Kind::Send(Signal::Terminate)] {
        let signature = match kind {
            Kind::OwnProcess => Signature::nullary(Volatility::Stable),
            Kind::Send(_) => Signature::uniform(1, vec![DataType::Int64], Volatility::Volatile),
        };
        let function = BackendFunction {
            kind,
            signature,
            sessions: Arc::clone(sessions),
            user: snapshot.user.clone(),
            is_superuser,
            process_id: snapshot.process_id,
        };
        registry.register_udf(Arc::new(ScalarUDF::from(function)))?;
    }
    Ok(())
}

impl ScalarUDFImpl for BackendFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::OwnProcess => "pg_backend_pid",
            Kind::Send(Signal::Cancel) => "pg_cancel_backend",
            Kind::Send(Signal::Terminate) => "pg_terminate_backend",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(if self.kind == Kind::OwnProcess { DataType::Int32 } else { DataType::Boolean })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let Kind::Send(signal) = self.kind else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Int32(Some(self.process_id))));
        };
        let values = ColumnarValue::values_to_arrays(&arguments.args)?;
        let Some(processes) = values.first().and_then(|values| values.as_primitive_opt::<Int64Type>()) else {
            return Err(DataFusionError::Internal(format!("{} got no process ids", self.name())));
        };
        let send = |process: Option<i64>| {
            let Some(process) = process else { return Ok(None) };
            // Numbers that are no process id have no session.
            let Ok(process) = i32::try_from(process) else { return Ok(Some(false)) };
            let sent = self.sessions.signal(process, signal, &self.user, self.is_superuser);
            sent.map(Some).map_err(DataFusionError::from)
        };
        let sent = processes.iter().map(send).collect::<EngineResult<BooleanArray>>()?;
        match arguments.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_))) && sent.len() == 1 {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&sent, 0)?)),
            false => Ok(ColumnarValue::Array(Arc::new(sent))),
        }
    }
}
