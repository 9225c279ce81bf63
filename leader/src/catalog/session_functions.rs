//! Functions that answer from the session: who is connected, to what, with which settings. For the leader alone, which computes them once per
//! statement.

use super::{Snapshot, own_schema};
use crate::transaction::SessionSettings;
use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringViewArray, StringViewBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use slipher_common::{Error, ErrorKind, Result};
use std::fmt;
use std::sync::Arc;

/// The schema of the system's catalog, which comes first wherever names are looked up.
const CATALOG_SCHEMA: &str = "pg_catalog";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    CurrentUser,
    SessionUser,
    CurrentUserId,
    CurrentDatabase,
    CurrentSchema,
    CurrentSchemas,
    CurrentSetting,
    SetConfig,
}

const KINDS: &[Kind] = &[
    Kind::CurrentUser,
    Kind::SessionUser,
    Kind::CurrentUserId,
    Kind::CurrentDatabase,
    Kind::CurrentSchema,
    Kind::CurrentSchemas,
    Kind::CurrentSetting,
    Kind::SetConfig,
];

/// What is known of the session.
#[derive(Debug)]
struct Known {
    user: String,
    user_id: Option<u32>,
    database: String,
    /// The schemas of its search path that are there.
    schemas: Vec<String>,
    settings: Option<Arc<dyn SessionSettings>>,
}

struct SessionFunction {
    kind: Kind,
    signature: Signature,
    known: Arc<Known>,
}

impl fmt::Debug for SessionFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFunction").field("kind", &self.kind).finish_non_exhaustive()
    }
}

slipher_common::told_apart_by!(SessionFunction, kind);

/// Makes the functions known to an engine session.
pub(crate) fn register(registry: &mut dyn FunctionRegistry, snapshot: &Snapshot) -> EngineResult<()> {
    let named = snapshot.search_path.iter().filter_map(|schema| own_schema(snapshot.temp_schema.as_deref(), schema));
    let schemas = named.filter(|schema| snapshot.state.schemas().contains_key(*schema)).map(str::to_owned).collect();
    let known = Arc::new(Known {
        user: snapshot.user.clone(),
        user_id: snapshot.state.user_id(&snapshot.user),
        database: snapshot.database_name().to_owned(),
        schemas,
        settings: snapshot.settings.clone(),
    });
    for kind in KINDS {
        let function = SessionFunction { kind: *kind, signature: kind.signature(), known: Arc::clone(&known) };
        registry.register_udf(Arc::new(ScalarUDF::from(function)))?;
    }
    Ok(())
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::CurrentUser => "current_user",
            Self::SessionUser => "session_user",
            Self::CurrentUserId => "current_user_id",
            Self::CurrentDatabase => "current_database",
            Self::CurrentSchema => "current_schema",
            Self::CurrentSchemas => "current_schemas",
            Self::CurrentSetting => "current_setting",
            Self::SetConfig => "set_config",
        }
    }

    fn signature(self) -> Signature {
        let text = DataType::Utf8View;
        match self {
            Self::CurrentSchemas => Signature::exact(vec![DataType::Boolean], Volatility::Stable),
            Self::CurrentSetting => {
                let named = TypeSignature::Exact(vec![text.clone()]);
                Signature::one_of(vec![named, TypeSignature::Exact(vec![text, DataType::Boolean])], Volatility::Stable)
            }
            Self::SetConfig => Signature::exact(vec![text.clone(), text, DataType::Boolean], Volatility::Volatile),
            _ => Signature::nullary(Volatility::Stable),
        }
    }
}

impl ScalarUDFImpl for SessionFunction {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(match self.kind {
            Kind::CurrentUserId => DataType::Int32,
            Kind::CurrentSchemas => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))),
            _ => DataType::Utf8View,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let known = &self.known;
        let text = |text: Option<&str>| Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(text.map(str::to_owned))));
        match self.kind {
            Kind::CurrentUser | Kind::SessionUser => text(Some(&known.user)),
            Kind::CurrentUserId => {
                let id = known.user_id.and_then(|id| i32::try_from(id).ok());
                Ok(ColumnarValue::Scalar(ScalarValue::Int32(id)))
            }
            Kind::CurrentDatabase => text(Some(&known.database)),
            Kind::CurrentSchema => text(known.schemas.first().map(String::as_str)),
            Kind::CurrentSchemas | Kind::CurrentSetting | Kind::SetConfig => self.of_rows(&arguments),
        }
    }
}

impl SessionFunction {
    /// Of functions with arguments, row by row.
    fn of_rows(&self, arguments: &ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [first, rest @ ..] = arrays.as_slice() else {
            return Err(DataFusionError::Internal(format!("{} got no arguments", self.name())));
        };
        let rows = first.len();
        let answer: ArrayRef = match self.kind {
            Kind::CurrentSchemas => self.schemas(first),
            _ => {
                let names = first.as_string_view();
                let each = (0..rows).map(|row| match names.is_valid(row) {
                    true => self.setting(names.value(row), rest, row),
                    false => Ok(None),
                });
                Arc::new(each.collect::<Result<StringViewArray>>()?)
            }
        };
        match rows == 1 && arguments.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_))) {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answer, 0)?)),
            false => Ok(ColumnarValue::Array(answer)),
        }
    }

    /// The schemas of the search path; with those that are there without being named where a row says so.
    fn schemas(&self, implicit: &ArrayRef) -> ArrayRef {
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        for implicit in implicit.as_boolean() {
            let Some(implicit) = implicit else {
                lists.append_null();
                continue;
            };
            let first = Some(CATALOG_SCHEMA).filter(|_| implicit);
            first.into_iter().chain(self.known.schemas.iter().map(String::as_str)).for_each(|name| {
                lists.values().append_value(name);
            });
            lists.append(true);
        }
        Arc::new(lists.finish())
    }

    /// `current_setting(name [, missing_ok])`, `set_config(name, value, is_local)`.
    fn setting(&self, name: &str, rest: &[ArrayRef], row: usize) -> Result<Option<String>> {
        let settings = self.known.settings.as_ref().ok_or_else(|| Error::internal("a function of sessions runs without one"))?;
        let name = name.to_lowercase();
        let flag = |array: &ArrayRef| array.is_valid(row) && array.as_boolean().value(row);
        if let [value, local] = rest {
            let value = value.as_string_view();
            // NULL is no value, as an empty text is none.
            settings.change(&name, if value.is_valid(row) { value.value(row) } else { "" }, flag(local))?;
        }
        let shown = settings.shown(&name);
        let may_be_missing = matches!(rest, [missing_ok] if flag(missing_ok));
        match shown {
            None if !may_be_missing => {
                Err(Error::new(ErrorKind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\"")))
            }
            shown => Ok(shown),
        }
    }
}
