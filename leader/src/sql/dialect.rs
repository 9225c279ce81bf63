//! The parser's Redshift dialect, with what it lacks.

use datafusion::sql::sqlparser::dialect::{Dialect, RedshiftSqlDialect};
use std::any::TypeId;
use std::iter::Peekable;
use std::str::Chars;

const REDSHIFT: RedshiftSqlDialect = RedshiftSqlDialect {};

/// Redshift's dialect with GROUP BY ROLLUP, CUBE and GROUPING SETS.
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

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    /// PostgreSQL's FILTER (WHERE ...); the engine has it.
    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn is_nested_delimited_identifier_start(&self, ch: char) -> bool {
        REDSHIFT.is_nested_delimited_identifier_start(ch)
    }

    fn peek_nested_delimited_identifier_quotes(&self, chars: Peekable<Chars<'_>>) -> Option<(char, Option<char>)> {
        REDSHIFT.peek_nested_delimited_identifier_quotes(chars)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        REDSHIFT.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        REDSHIFT.is_identifier_part(ch)
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
