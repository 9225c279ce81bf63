//! The engine's functions with Redshift's implicit casts in their arguments, and errors that speak of SQL's types.
//!
//! The engine asks for the types of a call while it reads the statement. What a form says of an argument becomes its type
//! first ([`crate::casts`]); then the engine's own rules have their say.

use super::bytes::of_bytes;
use super::{no_such_call, on_arrays};
use crate::casts::{Kind, Meeting, When, cast, compared, together};
use crate::{Error, Result, SqlType};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as EngineResult, ScalarValue};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use std::collections::HashMap;
use std::sync::Arc;

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    /// Text; numbers, dates and times become that.
    Text,
    /// A whole number; one in quotes is read.
    Whole,
    /// A number of any type; one in quotes is DOUBLE PRECISION.
    Number,
    /// DOUBLE PRECISION.
    Double,
}

use Wants::{Double, Number, Text, Whole};

/// How the arguments of a function are brought to types.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// One after the other; those beyond the first so many may be left out.
    Each(&'static [Wants], usize),
    /// All get one type.
    Together,
    /// Two that are compared; the plan brings them together.
    Compared,
}

const fn each(wants: &'static [Wants]) -> Form {
    Form::Each(wants, wants.len())
}

/// Function, form, and how it is called.
const FORMS: &[(&str, Form, &str)] = &[
    ("abs", each(&[Number]), "abs(a_number)"),
    ("acos", each(&[Double]), "acos(a_number)"),
    ("ascii", each(&[Text]), "ascii(a_text)"),
    ("asin", each(&[Double]), "asin(a_number)"),
    ("atan", each(&[Double]), "atan(a_number)"),
    ("atan2", each(&[Double, Double]), "atan2(a_number, a_number)"),
    ("bit_length", each(&[Text]), "bit_length(a_text)"),
    ("btrim", Form::Each(&[Text, Text], 1), "btrim(a_text [, characters])"),
    ("cbrt", each(&[Double]), "cbrt(a_number)"),
    ("ceil", each(&[Number]), "ceil(a_number)"),
    ("character_length", each(&[Text]), "len(a_text)"),
    ("chr", each(&[Whole]), "chr(a_whole_number)"),
    ("coalesce", Form::Together, "coalesce(a_value, another_value)"),
    ("cos", each(&[Double]), "cos(a_number)"),
    ("cot", each(&[Double]), "cot(a_number)"),
    ("degrees", each(&[Double]), "degrees(a_number)"),
    ("exp", each(&[Double]), "exp(a_number)"),
    ("floor", each(&[Number]), "floor(a_number)"),
    ("greatest", Form::Together, "greatest(a_value, another_value)"),
    ("initcap", each(&[Text]), "initcap(a_text)"),
    ("least", Form::Together, "least(a_value, another_value)"),
    ("left", each(&[Text, Whole]), "left(a_text, characters)"),
    ("ln", each(&[Double]), "ln(a_number)"),
    ("log", Form::Each(&[Double, Double], 1), "log(a_number)"),
    ("log10", each(&[Double]), "log(a_number)"),
    ("lower", each(&[Text]), "lower(a_text)"),
    ("lpad", Form::Each(&[Text, Whole, Text], 2), "lpad(a_text, length [, fill])"),
    ("ltrim", Form::Each(&[Text, Text], 1), "ltrim(a_text [, characters])"),
    ("md5", each(&[Text]), "md5(a_text)"),
    ("nullif", Form::Compared, "nullif(a_value, another_value)"),
    ("octet_length", each(&[Text]), "octet_length(a_text)"),
    ("radians", each(&[Double]), "radians(a_number)"),
    ("repeat", each(&[Text, Whole]), "repeat(a_text, times)"),
    ("replace", each(&[Text, Text, Text]), "replace(a_text, old, new)"),
    ("reverse", each(&[Text]), "reverse(a_text)"),
    ("right", each(&[Text, Whole]), "right(a_text, characters)"),
    ("round", Form::Each(&[Number, Whole], 1), "round(a_number [, digits])"),
    ("rpad", Form::Each(&[Text, Whole, Text], 2), "rpad(a_text, length [, fill])"),
    ("rtrim", Form::Each(&[Text, Text], 1), "rtrim(a_text [, characters])"),
    ("signum", each(&[Number]), "sign(a_number)"),
    ("sin", each(&[Double]), "sin(a_number)"),
    ("split_part", each(&[Text, Text, Whole]), "split_part(a_text, delimiter, part)"),
    ("sqrt", each(&[Double]), "sqrt(a_number)"),
    ("strpos", each(&[Text, Text]), "strpos(a_text, part)"),
    ("substr", Form::Each(&[Text, Whole, Whole], 2), "substring(a_text, first_character [, length])"),
    ("tan", each(&[Double]), "tan(a_number)"),
    ("translate", each(&[Text, Text, Text]), "translate(a_text, characters, instead)"),
    ("upper", each(&[Text]), "upper(a_text)"),
];

/// The names that users know of functions which the engine calls otherwise.
const SHOWN: &[(&str, &str)] =
    &[("btrim", "trim"), ("character_length", "len"), ("signum", "sign"), ("substr", "substring"), ("log10", "log")];

/// The functions of [`FORMS`]: those of `ours` that have such a name, else the engine's.
pub(super) fn wrapped(ours: Vec<Arc<ScalarUDF>>) -> Vec<Arc<ScalarUDF>> {
    let forms: HashMap<&str, (Form, &'static str)> = FORMS.iter().map(|(name, form, usage)| (*name, (*form, *usage))).collect();
    let own: Vec<String> = ours.iter().map(|function| function.name().to_owned()).collect();
    let engine = SessionStateDefaults::default_scalar_functions().into_iter();
    let engine = engine.filter(|function| !own.iter().any(|name| name == function.name()) && forms.contains_key(function.name()));
    let wrap = |function: Arc<ScalarUDF>| match forms.get(function.name()) {
        Some((form, usage)) => Arc::new(ScalarUDF::new_from_impl(Typed::new(function, *form, usage))),
        None => function,
    };
    ours.into_iter().chain(engine.collect::<Vec<_>>()).map(wrap).collect()
}

/// The type of an argument; None: it cannot become what is wanted.
fn argument(data_type: &DataType, wants: Wants) -> Option<DataType> {
    let kind = Kind::of_arrow(data_type);
    let is_open = *data_type == DataType::Utf8;
    let implicit = |from: Kind, to: Kind| cast(from, to) == Some(When::Implicit);
    match (wants, kind) {
        // NULL, and types that the table does not know.
        (Text, None) if *data_type == DataType::Null => Some(DataType::Utf8View),
        (_, None) => Some(data_type.clone()),
        (Text, Some(Kind::Text)) => Some(data_type.clone()),
        (Text, Some(kind)) => implicit(kind, Kind::Text).then_some(DataType::Utf8View),
        (Whole, Some(kind)) if is_open || implicit(kind, Kind::BigInt) => Some(DataType::Int64),
        (Number, Some(_)) if is_open => Some(DataType::Float64),
        (Number, Some(kind)) => kind.is_number().then(|| data_type.clone()),
        // A column of text is read as a number, too, as ever.
        (Double, Some(Kind::Text)) => Some(DataType::Float64),
        // The engine computes some of them in REAL.
        (Double, Some(Kind::Real)) => Some(DataType::Float64),
        (Double, Some(kind)) => kind.is_number().then(|| data_type.clone()),
        (Whole, Some(_)) => None,
    }
}

/// The types of two values that are compared: one where they have a common one.
fn compared_types(one: &DataType, other: &DataType) -> Vec<DataType> {
    let is_text = |known: &DataType| Kind::of_arrow(known) == Some(Kind::Text);
    match (one, other) {
        (one, other) if is_text(one) && is_text(other) => vec![DataType::Utf8View; 2],
        (DataType::Null | DataType::Utf8, known) | (known, DataType::Null | DataType::Utf8) => vec![known.clone(); 2],
        _ => match compared(one, other) {
            Meeting::In(met) => vec![met; 2],
            Meeting::AsTheyAre | Meeting::Never => vec![one.clone(), other.clone()],
        },
    }
}

/// The one type of all; None: they have nothing in common.
fn common(types: &[DataType]) -> Option<DataType> {
    let typed = || types.iter().filter(|data_type| !matches!(data_type, DataType::Utf8 | DataType::Null));
    let Some(first) = typed().next() else {
        return Some(if types.contains(&DataType::Utf8) { DataType::Utf8 } else { DataType::Null });
    };
    typed().try_fold(first.clone(), |all, other| match together(&all, other) {
        Meeting::In(met) => Some(met),
        Meeting::AsTheyAre => Some(all),
        Meeting::Never => None,
    })
}

/// Whether there are SUPER values, and others.
fn is_super_among(types: &[DataType]) -> bool {
    let is_super = |known: &DataType| *known == DataType::BinaryView;
    types.iter().any(is_super) && !types.iter().all(is_super)
}

#[derive(Debug)]
struct Typed {
    engine: Arc<ScalarUDF>,
    form: Form,
    usage: &'static str,
    signature: Signature,
}

impl Typed {
    fn new(engine: Arc<ScalarUDF>, form: Form, usage: &'static str) -> Self {
        let mut signature = Signature::user_defined(engine.signature().volatility);
        signature.parameter_names = None;
        Self { engine, form, usage, signature }
    }

    fn refused(&self, types: &[DataType]) -> Error {
        let name = self.engine.name();
        let shown = SHOWN.iter().find(|(engine, _)| *engine == name).map_or(name, |(_, shown)| shown);
        no_such_call(shown, types, self.usage)
    }

    fn coerced(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let Some(own) = of_bytes(self.engine.name(), types.first()) {
            return own.coerced(types).ok_or_else(|| self.refused(types));
        }
        let refused = || self.refused(types);
        let wanted = match self.form {
            Form::Each(wants, least) if (least..=wants.len()).contains(&types.len()) => {
                let each = types.iter().zip(wants).map(|(data_type, wants)| argument(data_type, *wants));
                each.collect::<Option<Vec<_>>>().ok_or_else(refused)?
            }
            Form::Compared if types.len() == 2 => {
                return Ok(compared_types(&types[0], &types[1]));
            }
            // The engine knows no cast to SUPER: the planner brings the others there before anything runs.
            Form::Together if is_super_among(types) && common(types).is_some() => return Ok(types.to_vec()),
            Form::Together if !types.is_empty() => vec![common(types).ok_or_else(refused)?; types.len()],
            _ => return Err(refused()),
        };
        let field = |data_type| Arc::new(Field::new("", data_type, true));
        let fields: Vec<FieldRef> = wanted.into_iter().map(field).collect();
        let fields = fields_with_udf(&fields, self.engine.as_ref()).map_err(|_| refused())?;
        Ok(fields.into_iter().map(|field| field.data_type().clone()).collect())
    }
}

told_apart_by!(Typed, engine);

impl ScalarUDFImpl for Typed {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn aliases(&self) -> &[String] {
        self.engine.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> EngineResult<Vec<DataType>> {
        Ok(self.coerced(types)?)
    }

    fn return_type(&self, types: &[DataType]) -> EngineResult<DataType> {
        match of_bytes(self.engine.name(), types.first()) {
            Some(own) => Ok(own.returns.clone()),
            None => self.engine.return_type(types),
        }
    }

    /// Times with a zone are told from those without by their field.
    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> EngineResult<FieldRef> {
        let is_timetz = |field: &FieldRef| SqlType::of_field(field) == Ok(SqlType::TimeTz);
        let zoned = matches!(self.form, Form::Together) && arguments.arg_fields.iter().any(is_timetz);
        // Literals as what they will be.
        let literals: Vec<Option<ScalarValue>> = arguments
            .scalar_arguments
            .iter()
            .zip(arguments.arg_fields)
            .map(|(literal, field)| match literal {
                Some(literal) if literal.data_type() != *field.data_type() => literal.cast_to(field.data_type()).ok(),
                literal => literal.cloned(),
            })
            .collect();
        let literals: Vec<Option<&ScalarValue>> = literals.iter().map(Option::as_ref).collect();
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        if let Some(own) = of_bytes(self.engine.name(), types.first()) {
            let nullable = arguments.arg_fields.iter().any(|field| field.is_nullable());
            return Ok(Arc::new(Field::new(self.name(), own.returns.clone(), nullable)));
        }
        if matches!(self.form, Form::Together) && is_super_among(&types) {
            return Ok(Arc::new(Field::new(self.name(), DataType::BinaryView, true)));
        }
        let typed = ReturnFieldArgs { arg_fields: arguments.arg_fields, scalar_arguments: &literals };
        let field = self.engine.return_field_from_args(typed)?;
        match zoned {
            true => Ok(Arc::new(SqlType::TimeTz.to_field(field.name(), field.is_nullable()))),
            false => Ok(field),
        }
    }

    fn is_strict(&self) -> bool {
        self.engine.inner().is_strict()
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        match of_bytes(self.engine.name(), arguments.arg_fields.first().map(|field| field.data_type())) {
            Some(own) => on_arrays(&arguments.args, own.compute),
            None => self.engine.invoke_with_args(arguments),
        }
    }

    fn simplify(&self, arguments: Vec<Expr>, context: &SimplifyContext) -> EngineResult<ExprSimplifyResult> {
        self.engine.simplify(arguments, context)
    }

    fn preimage(&self, arguments: &[Expr], literal: &Expr, context: &SimplifyContext) -> EngineResult<PreimageResult> {
        self.engine.inner().preimage(arguments, literal, context)
    }

    fn short_circuits(&self) -> bool {
        self.engine.short_circuits()
    }

    fn conditional_arguments<'a>(&self, arguments: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.engine.conditional_arguments(arguments)
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> EngineResult<Interval> {
        self.engine.evaluate_bounds(input)
    }

    fn propagate_constraints(&self, interval: &Interval, inputs: &[&Interval]) -> EngineResult<Option<Vec<Interval>>> {
        self.engine.propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> EngineResult<SortProperties> {
        self.engine.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> EngineResult<bool> {
        self.engine.inner().preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> EngineResult<bool> {
        self.engine.inner().strictly_order_preserving(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
        let all = super::super::all();
        let function = all.iter().find(|function| function.name() == name).unwrap();
        function.coerce_types(types).map_err(Error::from)
    }

    #[test]
    fn arguments_are_cast_where_the_table_says_so() {
        use DataType::{Boolean, Date32, Decimal128, Float64, Int32, Int64, Utf8, Utf8View};
        assert_eq!(called("repeat", &[Int32, Utf8]).unwrap(), [Utf8View, Int64]);
        assert_eq!(called("sqrt", &[Utf8]).unwrap(), [Float64]);
        assert_eq!(called("coalesce", &[Date32, Utf8]).unwrap(), [Date32, Date32]);
        assert_eq!(called("coalesce", &[Utf8, Boolean]).unwrap(), [Boolean, Boolean]);
        assert_eq!(called("coalesce", &[Utf8View, Int32]).unwrap(), [Utf8View, Utf8View]);
        assert_eq!(called("abs", &[Decimal128(8, 2)]).unwrap(), [Decimal128(8, 2)]);
        assert_eq!(called("btrim", &[Date32]).unwrap(), [Utf8View]);
    }

    #[test]
    fn what_does_not_fit_is_said_in_sql() {
        use DataType::{Boolean, Date32, Int64, Utf8View};
        let error = called("abs", &[Date32]).unwrap_err();
        assert_eq!(error.message, "function \"abs\"(date) does not exist");
        assert_eq!(error.sqlstate(), "42883");
        assert!(called("coalesce", &[Date32, Int64]).is_err());
        assert!(called("repeat", &[Utf8View, Utf8View]).is_err());
        assert!(called("upper", &[Boolean]).is_err());
        assert!(called("upper", &[]).is_err());
    }

    #[test]
    fn every_form_is_of_a_function_that_there_is() {
        let all = super::super::all();
        for (name, ..) in FORMS {
            assert!(all.iter().any(|function| function.name() == *name), "{name}");
        }
    }
}
