//! Parameters whose types are known have them from the start: `$1` becomes `CAST($1 AS type)` before anything is planned, so
//! that what is computed of them is typed as it will be.

use datafusion::common::ParamValues;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{
    CastKind, CharacterLength, DataType, ExactNumberInfo, Expr as Syntax, Ident, ObjectName, Statement, TimezoneInfo, Value,
    VisitMut, VisitorMut,
};
use slipher_common::SqlType;
use slipher_common::sql_type::VARCHAR_LENGTH_MAX_BYTES;
use std::ops::ControlFlow;

/// Gives the parameters of a statement their types; `None` leaves one open.
pub(crate) fn with_typed_parameters(statement: &mut Statement, types: &[Option<SqlType>]) {
    if types.iter().any(Option::is_some) {
        let _ = statement.visit(&mut Typing { types });
    }
}

/// The types that values bring along.
pub(crate) fn types_of_values(values: &ParamValues) -> Vec<Option<SqlType>> {
    match values {
        ParamValues::List(values) => values.iter().map(|value| SqlType::from_arrow(&value.value().data_type()).ok()).collect(),
        ParamValues::Map(_) => Vec::new(),
    }
}

struct Typing<'a> {
    types: &'a [Option<SqlType>],
}

impl VisitorMut for Typing<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Syntax) -> ControlFlow<()> {
        if let Some(data_type) = number(expression).and_then(|index| self.types.get(index)).copied().flatten().and_then(syntax) {
            let parameter = std::mem::replace(expression, Syntax::value(Value::Null));
            *expression = Syntax::Cast { kind: CastKind::Cast, expr: Box::new(parameter), data_type, array: false, format: None };
        }
        ControlFlow::Continue(())
    }
}

/// The parameter's place in the list of all, if the expression is one.
fn number(expression: &Syntax) -> Option<usize> {
    let Syntax::Value(value) = expression else { return None };
    let Value::Placeholder(name) = &value.value else { return None };
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// A type as it is written, text as long as it may be.
pub(crate) fn written(sql_type: SqlType) -> DataType {
    let longest = CharacterLength::IntegerLength { length: u64::from(VARCHAR_LENGTH_MAX_BYTES), unit: None };
    syntax(sql_type).unwrap_or(DataType::Varchar(Some(longest)))
}

/// A type as it is written. Text stays open: it becomes what it meets.
fn syntax(sql_type: SqlType) -> Option<DataType> {
    Some(match sql_type {
        SqlType::SmallInt => DataType::SmallInt(None),
        SqlType::Integer => DataType::Integer(None),
        SqlType::BigInt => DataType::BigInt(None),
        SqlType::Decimal { precision, scale } => {
            DataType::Numeric(ExactNumberInfo::PrecisionAndScale(u64::from(precision), i64::from(scale)))
        }
        SqlType::Real => DataType::Real,
        SqlType::DoublePrecision => DataType::DoublePrecision,
        SqlType::Boolean => DataType::Boolean,
        SqlType::Date => DataType::Date,
        SqlType::Time | SqlType::TimeTz => DataType::Time(None, TimezoneInfo::None),
        SqlType::Timestamp => DataType::Timestamp(Some(6), TimezoneInfo::None),
        SqlType::TimestampTz => DataType::Timestamp(Some(6), TimezoneInfo::WithTimeZone),
        SqlType::VarByte(_) => DataType::Varbinary(None),
        SqlType::Super => DataType::Custom(ObjectName::from(vec![Ident::new("super")]), Vec::new()),
        SqlType::Char(_) | SqlType::VarChar(_) => return None,
    })
}

/// A parameter without its cast, where a literal must stand once it is bound.
pub(crate) fn bare(expression: Expr) -> Result<Transformed<Expr>> {
    expression.transform_up(|node| {
        Ok(match node {
            Expr::Cast(cast) if matches!(*cast.expr, Expr::Placeholder(_)) => Transformed::yes(*cast.expr),
            other => Transformed::no(other),
        })
    })
}
