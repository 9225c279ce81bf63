//! sqlparser's Redshift dialect with what it lacks: GROUPING SETS, ROLLUP and CUBE.

use datafusion::sql::sqlparser::dialect::{Dialect, RedshiftSqlDialect};
use std::any::TypeId;
use std::iter::Peekable;
use std::str::Chars;

/// The dialect of all parsing.
#[derive(Debug)]
pub(crate) struct Redshift;

const BASE: RedshiftSqlDialect = RedshiftSqlDialect {};

/// Forwards switches without arguments to [`BASE`].
macro_rules! like_base {
    ($($switch:ident)*) => { $(fn $switch(&self) -> bool { BASE.$switch() })* };
}

impl Dialect for Redshift {
    fn dialect(&self) -> TypeId {
        BASE.dialect()
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn is_nested_delimited_identifier_start(&self, ch: char) -> bool {
        BASE.is_nested_delimited_identifier_start(ch)
    }

    fn peek_nested_delimited_identifier_quotes(&self, chars: Peekable<Chars<'_>>) -> Option<(char, Option<char>)> {
        BASE.peek_nested_delimited_identifier_quotes(chars)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        BASE.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        BASE.is_identifier_part(ch)
    }

    like_base! {
        convert_type_before_value
        supports_connect_by
        supports_top_before_distinct
        supports_partiql
        supports_string_escape_constant
        supports_geometric_types
        supports_bitwise_shift_operators
        supports_array_typedef_with_brackets
        allow_extract_single_quotes
        supports_string_literal_backslash_escape
        supports_select_wildcard_exclude
        supports_select_wildcard_with_alias
        supports_select_exclude
        supports_create_table_like_parenthesized
        supports_string_literal_concatenation_with_newline
        supports_window_function_null_treatment_arg
    }
}
