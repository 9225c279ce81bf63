//! Functions that say what time it is: for the leader alone, which computes them once per statement.

use crate::transaction::Clock;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result as EngineResult;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use slipher_common::SqlType;
use slipher_sql::rewrite::STATEMENT_TIME;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Days from 0001-01-01 to 1970-01-01.
const EPOCH_DAYS: i32 = 719_163;

/// Which time is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// Of the transaction's start.
    Now,
    /// Its day.
    Today,
    /// Of the statement's start.
    Statement,
    /// Of the wall clock, as text.
    WallClock,
}

#[derive(Debug)]
struct ClockFunction {
    kind: Kind,
    signature: Signature,
    aliases: Vec<String>,
    clock: Clock,
}

impl PartialEq for ClockFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.clock == other.clock
    }
}

impl Eq for ClockFunction {}

impl Hash for ClockFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

/// Makes the functions known to an engine session, in place of the engine's own.
pub(crate) fn register(registry: &mut dyn FunctionRegistry, clock: Clock) -> EngineResult<()> {
    for kind in [Kind::Now, Kind::Today, Kind::Statement, Kind::WallClock] {
        let aliases: &[&str] = match kind {
            Kind::Now => &["current_timestamp"],
            Kind::Today => &["today"],
            Kind::Statement | Kind::WallClock => &[],
        };
        let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        let function = ClockFunction { kind, signature: Signature::nullary(Volatility::Stable), aliases, clock };
        registry.register_udf(Arc::new(ScalarUDF::from(function)))?;
    }
    Ok(())
}

impl ScalarUDFImpl for ClockFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Now => "now",
            Kind::Today => "current_date",
            Kind::Statement => STATEMENT_TIME,
            Kind::WallClock => "timeofday",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(match self.kind {
            Kind::Now => SqlType::TimestampTz.to_arrow(),
            Kind::Today => DataType::Date32,
            Kind::Statement => SqlType::Timestamp.to_arrow(),
            Kind::WallClock => DataType::Utf8View,
        })
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        use chrono::Datelike;
        let Clock { transaction, statement } = self.clock;
        Ok(ColumnarValue::Scalar(match self.kind {
            Kind::Now => ScalarValue::TimestampMicrosecond(Some(transaction.timestamp_micros()), Some(Arc::from("UTC"))),
            Kind::Today => ScalarValue::Date32(Some(transaction.date_naive().num_days_from_ce() - EPOCH_DAYS)),
            Kind::Statement => ScalarValue::TimestampMicrosecond(Some(statement.timestamp_micros()), None),
            Kind::WallClock => {
                let text = chrono::Utc::now().format("%a %b %d %H:%M:%S%.6f %Y UTC").to_string();
                ScalarValue::Utf8View(Some(text))
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Datelike};

    #[test]
    fn the_epoch_is_day_zero() {
        assert_eq!(DateTime::UNIX_EPOCH.date_naive().num_days_from_ce(), EPOCH_DAYS);
    }
}
