//! Columns, and the places in which their names stand.

use datafusion::sql::sqlparser::ast::{Expr, Ident};
use slipher_common::{Error, ErrorKind};

/// The columns of a relation or a join, each with its name and what it means; None where nobody knows them.
pub(super) type Columns = Option<Vec<(String, Expr)>>;

/// What the engine calls the columns of a relation, all of them differently; what SQL calls each is its [`slipher_sql::output::plain_name`]. None where nobody
/// knows them.
pub(super) type Names = Option<Vec<String>>;

/// Where an expression stands: names that no column of FROM has may be those of the select list there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    /// They are columns everywhere else.
    Plain,
    /// GROUP BY: the select list comes before the queries around.
    GroupBy,
    /// HAVING and QUALIFY: what no query around knows is of the select list.
    Having,
    /// An expression in ORDER BY; the same.
    OrderBy,
    /// The select list (what stands before) and WHERE: Redshift's lateral column aliases, which columns of FROM hide.
    Lateral,
}

/// A column that could be several.
pub(super) fn ambiguous_column(name: &str) -> Error {
    let message = format!("column reference \"{name}\" is ambiguous");
    Error::new(ErrorKind::AmbiguousColumn, message).with_hint("write the table's name before it, or give the columns aliases")
}

/// `"alias"."column"`.
pub(super) fn column(alias: &str, name: &str) -> Expr {
    Expr::CompoundIdentifier(vec![Ident::with_quote('"', alias), Ident::with_quote('"', name)])
}
