//! Words that call a function of the session without parentheses: `current_user`.

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArgumentList, FunctionArguments, Ident, ObjectName};

/// Reserved words that do, and the functions that they call. No column is called so without quotes.
const RESERVED: &[(&str, &str)] = &[
    ("current_user", "current_user"),
    ("current_user_id", "current_user_id"),
    ("session_user", "session_user"),
    ("user", "current_user"),
];

/// Words that do where nothing else is called so.
const PLAIN: &[&str] = &["current_database", "current_schema"];

/// The call that a reserved word is.
pub(crate) fn reserved_call(ident: &Ident) -> Option<Expr> {
    let name = ident.value.to_lowercase();
    let (_, function) = RESERVED.iter().find(|(word, _)| ident.quote_style.is_none() && *word == name)?;
    Some(call(Ident { span: ident.span, ..Ident::new(*function) }))
}

/// The call that a name is which means no column.
pub fn session_function(ident: &Ident) -> Option<Expr> {
    let plain = ident.quote_style.is_none() && PLAIN.contains(&ident.value.to_lowercase().as_str());
    plain.then(|| call(ident.clone()))
}

fn call(name: Ident) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        // With parentheses, so that it is the same call when it is written out.
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args: Vec::new(), clauses: Vec::new() }),
        null_treatment: None,
        filter: None,
        over: None,
        within_group: Vec::new(),
    })
}
