//! The parser's Redshift dialect, with what it lacks.

use super::names::is_reserved;
use super::object_transform;
use super::session_names::reserved_call;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator};
use datafusion::sql::sqlparser::dialect::{Dialect, Precedence, RedshiftSqlDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use std::any::TypeId;
use std::iter::Peekable;
use std::str::Chars;

const REDSHIFT: RedshiftSqlDialect = RedshiftSqlDialect {};

/// `^` binds tighter than `*`, and a sign tighter than `^`.
const POWER_PRECEDENCE: u8 = 45;
/// Operators without a place of their own (`|| | & # << >>`, and before an operand `~ @ |/ ||/`) bind alike, from the left: looser
/// than `+`, tighter than comparisons.
const OTHER_PRECEDENCE: u8 = 25;

/// Begins the names of temporary tables, and is the operator of exclusive or: `lex` tells them apart, the tokenizer cannot.
const TEMPORARY: char = '#';

/// Stand before columns of the row above, and of the root, in queries with CONNECT BY.
const PRIOR: &str = "PRIOR";
const CONNECT_BY_ROOT: &str = "CONNECT_BY_ROOT";

/// One of them, where a column follows.
fn before_a_column(parser: &Parser<'_>) -> Option<Ident> {
    let Token::Word(word) = &parser.peek_nth_token_ref(0).token else { return None };
    let known = word.quote_style.is_none() && [PRIOR, CONNECT_BY_ROOT].iter().any(|known| word.value.eq_ignore_ascii_case(known));
    let column = matches!(&parser.peek_nth_token_ref(1).token,
        Token::Word(next) if next.quote_style.is_some() || !is_reserved(&next.value.to_lowercase()));
    (known && column).then(|| Ident::new(word.value.clone()))
}

/// `x IN ((SELECT …), 1)`: the parser would take the first parenthesis for all of a query. None, with nothing read, where it is one, or no
/// parenthesis stands there.
fn in_list_of_queries(parser: &mut Parser<'_>, left: &Expr) -> Result<Option<Expr>, ParserError> {
    let negated = matches!(&parser.peek_token_ref().token, Token::Word(word) if word.keyword == Keyword::NOT);
    let behind_in = usize::from(negated) + 1;
    let opens = |nth: usize| parser.peek_nth_token_ref(nth).token == Token::LParen;
    let is_in = matches!(&parser.peek_nth_token_ref(behind_in - 1).token, Token::Word(word) if word.keyword == Keyword::IN);
    if !is_in || !opens(behind_in) || !opens(behind_in + 1) {
        return Ok(None);
    }
    parser.maybe_parse(|parser| {
        (0..=behind_in).for_each(|_| parser.advance_token());
        let mut list = parser.parse_comma_separated(Parser::parse_expr)?;
        parser.expect_token(&Token::RParen)?;
        let expr = Box::new(left.clone());
        Ok(match list.pop() {
            Some(Expr::Subquery(subquery)) if list.is_empty() => Expr::InSubquery { expr, subquery, negated },
            last => {
                list.extend(last);
                Expr::InList { expr, list, negated }
            }
        })
    })
}

/// `current_user` and its like, read; None, with nothing read, for other words, and where the word begins a longer name.
fn session_word(parser: &mut Parser<'_>) -> Option<Expr> {
    let token = parser.peek_token_ref();
    let Token::Word(word) = &token.token else { return None };
    let call = reserved_call(&word.to_ident(token.span))?;
    let goes_on = matches!(parser.peek_nth_token_ref(1).token, Token::Period | Token::LParen);
    // The last one that was read.
    let is_behind = parser.get_current_token().token == Token::Period;
    if goes_on || is_behind {
        return None;
    }
    parser.advance_token();
    Some(call)
}

/// `APPROXIMATE count(distinct x)`, `APPROXIMATE percentile_disc(...)`: exact answers are approximate ones, too.
fn is_approximate(parser: &Parser<'_>) -> bool {
    let word = |nth: usize, wanted: &[&str]| match &parser.peek_nth_token_ref(nth).token {
        Token::Word(word) => word.quote_style.is_none() && wanted.iter().any(|name| word.value.eq_ignore_ascii_case(name)),
        _ => false,
    };
    word(0, &["approximate"]) && word(1, &["count", "percentile_disc"]) && parser.peek_nth_token_ref(2).token == Token::LParen
}

/// Redshift's dialect with GROUP BY ROLLUP, CUBE and GROUPING SETS, and PostgreSQL's precedence of operators.
#[derive(Debug)]
pub(crate) struct SlipherDialect;

macro_rules! as_redshift {
    ($($name:ident),* $(,)?) => {
        $(fn $name(&self) -> bool {
            REDSHIFT.$name()
        })*
    };
}

impl Dialect for SlipherDialect {
    /// Checks of the parser for the Redshift dialect hold here.
    fn dialect(&self) -> TypeId {
        TypeId::of::<RedshiftSqlDialect>()
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::Caret => POWER_PRECEDENCE,
            Precedence::Pipe | Precedence::Ampersand | Precedence::PgOther => OTHER_PRECEDENCE,
            other => REDSHIFT.prec_value(other),
        }
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        match parser.peek_token_ref().token {
            Token::StringConcat | Token::Sharp | Token::ShiftLeft | Token::ShiftRight => Some(Ok(OTHER_PRECEDENCE)),
            _ => None,
        }
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        if let Some(word) = before_a_column(parser) {
            parser.advance_token();
            let prior = word.value.eq_ignore_ascii_case(PRIOR);
            return Some(parser.parse_subexpr(POWER_PRECEDENCE).map(|expr| match prior {
                true => Expr::Prior(Box::new(expr)),
                false => Expr::Prefixed { prefix: word, value: Box::new(expr) },
            }));
        }
        if is_approximate(parser) {
            parser.advance_token();
            return Some(parser.parse_prefix());
        }
        if object_transform::begins(parser) {
            return Some(object_transform::parse(parser));
        }
        let (op, precedence) = match parser.peek_token_ref().token {
            Token::Minus => (UnaryOperator::Minus, POWER_PRECEDENCE),
            Token::Plus => (UnaryOperator::Plus, POWER_PRECEDENCE),
            Token::Tilde => (UnaryOperator::BitwiseNot, OTHER_PRECEDENCE),
            Token::PGSquareRoot => (UnaryOperator::PGSquareRoot, OTHER_PRECEDENCE),
            Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, OTHER_PRECEDENCE),
            Token::AtSign => (UnaryOperator::PGAbs, OTHER_PRECEDENCE),
            Token::Word(_) => return session_word(parser).map(Ok),
            _ => return None,
        };
        parser.advance_token();
        Some(parser.parse_subexpr(precedence).map(|operand| Expr::UnaryOp { op, expr: Box::new(operand) }))
    }

    /// `^` is the power; a list behind IN may begin with a query in parentheses.
    fn parse_infix(&self, parser: &mut Parser<'_>, left: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        match parser.peek_token_ref().token {
            Token::Caret => {
                parser.advance_token();
                let (left, op) = (Box::new(left.clone()), BinaryOperator::PGExp);
                Some(parser.parse_subexpr(precedence).map(|right| Expr::BinaryOp { left, op, right: Box::new(right) }))
            }
            Token::Word(ref word) if matches!(word.keyword, Keyword::IN | Keyword::NOT) => {
                in_list_of_queries(parser, left).transpose()
            }
            _ => None,
        }
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    /// A comment may hold comments, as in PostgreSQL.
    fn supports_nested_comments(&self) -> bool {
        true
    }

    /// PostgreSQL's FILTER (WHERE ...); the engine has it.
    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    /// Redshift's `a.x = b.y(+)`.
    fn supports_outer_join_operator(&self) -> bool {
        true
    }

    fn is_nested_delimited_identifier_start(&self, ch: char) -> bool {
        REDSHIFT.is_nested_delimited_identifier_start(ch)
    }

    fn peek_nested_delimited_identifier_quotes(&self, chars: Peekable<Chars<'_>>) -> Option<(char, Option<char>)> {
        REDSHIFT.peek_nested_delimited_identifier_quotes(chars)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch != TEMPORARY && REDSHIFT.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch != TEMPORARY && REDSHIFT.is_identifier_part(ch)
    }

    as_redshift!(
        convert_type_before_value,
        supports_connect_by,
        supports_top_before_distinct,
        supports_partiql,
        supports_string_escape_constant,
        supports_geometric_types,
        supports_bitwise_shift_operators,
        supports_array_typedef_with_brackets,
        allow_extract_single_quotes,
        supports_string_literal_backslash_escape,
        supports_select_wildcard_exclude,
        supports_select_wildcard_with_alias,
        supports_select_exclude,
        supports_create_table_like_parenthesized,
        supports_string_literal_concatenation_with_newline,
        supports_window_function_null_treatment_arg,
    );
}
