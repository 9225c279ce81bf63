//! Queries that rewriting puts together as text.

use super::lex::DIALECT;
use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::parser::Parser;
use slipher_common::{Error, Result};

/// Reads a query that was put together here.
pub fn parse_made(text: &str) -> Result<Box<Query>> {
    let parsed = Parser::new(&DIALECT).try_with_sql(text).and_then(|mut parser| parser.parse_query());
    parsed.map_err(|error| Error::internal(format!("making the query of a change: {error}")))
}
