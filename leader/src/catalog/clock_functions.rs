//! Functions that say what time it is: for the leader alone, which computes them once per statement.

use crate::transaction::Clock;
use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result as EngineResult;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use slipher_common::SqlType;
use slipher_common::assign::{UTC, Zone};
use slipher_common::time_units::MICROS_PER_DAY;
use slipher_sql::rewrite::STATEMENT_TIME;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

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
    /// The session's; None: UTC.
    zone: Option<Zone>,
}

impl PartialEq for ClockFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.clock == other.clock && self.zone == other.zone
    }
}

impl Eq for ClockFunction {}

impl Hash for ClockFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

/// Makes the functions known to an engine session, in place of the engine's own.
pub(crate) fn register(registry: &mut dyn FunctionRegistry, clock: Clock, zone: Option<&Zone>) -> EngineResult<()> {
    for kind in [Kind::Now, Kind::Today, Kind::Statement, Kind::WallClock] {
        let aliases: &[&str] = match kind {
            Kind::Now => &["current_timestamp"],
            Kind::Today => &["today"],
            Kind::Statement | Kind::WallClock => &[],
        };
        let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        let (signature, zone) = (Signature::nullary(Volatility::Stable), zone.cloned());
        let function = ClockFunction { kind, signature, aliases, clock, zone };
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
        let Clock { transaction, statement } = self.clock;
        let local = |when: DateTime<Utc>| self.local(when.timestamp_micros());
        Ok(ColumnarValue::Scalar(match self.kind {
            Kind::Now => ScalarValue::TimestampMicrosecond(Some(transaction.timestamp_micros()), Some(Arc::from(UTC))),
            // Moments of today are days of 32 bits.
            Kind::Today => ScalarValue::Date32(Some(local(transaction).div_euclid(MICROS_PER_DAY) as i32)),
            Kind::Statement => ScalarValue::TimestampMicrosecond(Some(local(statement)), None),
            Kind::WallClock => {
                let now = Utc::now();
                let zone = self.zone.as_ref().map_or_else(|| UTC.to_owned(), |zone| zone.abbreviation(now.timestamp_micros()));
                let shown = DateTime::from_timestamp_micros(local(now)).unwrap_or(now);
                ScalarValue::Utf8View(Some(format!("{} {zone}", shown.format("%a %b %d %H:%M:%S%.6f %Y"))))
            }
        }))
    }
}

impl ClockFunction {
    /// The session's wall clock at an instant, both in microseconds since 1970.
    fn local(&self, instant: i64) -> i64 {
        self.zone.as_ref().and_then(|zone| zone.to_local(instant)).unwrap_or(instant)
    }
}
