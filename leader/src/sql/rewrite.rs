//! stub
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Span;
use slipher_common::Result;
pub(crate) fn rewrite_statement(_s: &mut ast::Statement, _p: &dyn Fn(Span) -> usize) -> Result<()> {
    Ok(())
}
pub(crate) fn rewrite_expression(_s: &mut ast::Expr, _p: &dyn Fn(Span) -> usize) -> Result<()> {
    Ok(())
}
pub(crate) fn query_of(body: ast::SetExpr) -> ast::Query {
    ast::Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: vec![],
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: vec![],
    }
}
