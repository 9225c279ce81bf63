//! `OBJECT_TRANSFORM(x KEEP path, ... SET path, value, ...)`, as a call: x, the number of paths that are kept, those, and paths with values.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Value,
};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

const NAME: &str = "object_transform";

fn looks_at(parser: &Parser<'_>, word: &str) -> bool {
    matches!(&parser.peek_token_ref().token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// Whether a call begins here.
pub(super) fn begins(parser: &Parser<'_>) -> bool {
    looks_at(parser, NAME) && parser.peek_nth_token_ref(1).token == Token::LParen
}

/// Reads the call that begins here.
pub(super) fn parse(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.expect_token(&Token::LParen)?;
    let input = parser.parse_expr()?;
    let mut kept = Vec::new();
    if looks_at(parser, "KEEP") {
        parser.advance_token();
        kept = parser.parse_comma_separated(Parser::parse_expr)?;
    }
    let mut set = Vec::new();
    if looks_at(parser, "SET") {
        parser.advance_token();
        set = parser.parse_comma_separated(Parser::parse_expr)?;
        if !set.len().is_multiple_of(2) {
            return parser.expected_ref("a value for each path of SET", parser.peek_token_ref());
        }
    }
    parser.expect_token(&Token::RParen)?;
    let count = Expr::value(Value::Number(kept.len().to_string(), false));
    Ok(call([input, count].into_iter().chain(kept).chain(set)))
}

fn call(arguments: impl Iterator<Item = Expr>) -> Expr {
    let args = arguments.map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(NAME)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
