//! Bounds on what a text may chain and nest, counted before the parser sees it.

use super::lex::Lexed;
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, ErrorKind, Result};

/// Operators that one expression may chain; a chain is a tree of that depth.
const OPERATORS_IN_CHAIN_MAX: usize = 1_200;
/// Conditions that AND and OR may chain; they are balanced after parsing.
const CONDITIONS_IN_CHAIN_MAX: usize = 2_000;
/// Joins and set operations that one query may chain.
const BRANCHES_MAX: usize = 300;
/// Columns that one SELECT may list, as many as a result may have. They are counted before the list is read: a tree of millions of
/// items takes gigabytes.
const SELECT_ITEMS_MAX: usize = 1_664;

/// How many of each kind the innermost open parenthesis has chained so far.
#[derive(Default)]
struct Chains {
    operators: usize,
    conditions: usize,
    branches: usize,
    /// Items of the SELECT list that is open.
    items: Option<usize>,
    /// The parenthesis is that of one of [`SPECIAL_CALLS`].
    is_special: bool,
}

/// Words that end one expression and begin another.
const CLAUSES: &[&str] =
    &["select", "from", "where", "group", "order", "having", "on", "when", "then", "else", "end", "values", "limit", "set", "by"];

/// Words that end the list of a SELECT.
const BEHIND_SELECT_LIST: &[&str] = &["from", "where", "group", "having", "order", "limit", "values"];

/// Words that make one expression of what stands before them, as operators do.
const CHAINING: &[&str] = &[
    "not", "is", "isnull", "notnull", "like", "ilike", "similar", "regexp", "rlike", "glob", "match", "between", "in", "collate",
    "at", "overlaps", "xor", "div", "operator",
];

/// CASEs that may be open at a time: behind that many the parser takes the word for a name.
const CASES_OPEN_MAX: usize = 70;
/// NOTs that may stand in a row: behind some more the parser takes that word for a name, too.
const NOTS_IN_ROW_MAX: usize = 100;
/// Calls of [`SPECIAL_CALLS`] that may be open at a time. Where one of them is not what it should be, the parser reads it a second time, as
/// an ordinary call, and everything inside of it with it: its time doubles with each level.
const SPECIAL_CALLS_OPEN_MAX: usize = 16;
/// Words that the parser reads in two ways.
const SPECIAL_CALLS: &[&str] = &[
    "cast",
    "try_cast",
    "safe_cast",
    "convert",
    "try_convert",
    "exists",
    "extract",
    "ceil",
    "floor",
    "position",
    "substr",
    "substring",
    "overlay",
    "trim",
    "array",
    "struct",
    "map",
    "match",
    "interval",
];

/// Refuses chains so long that walking their tree could exhaust the stack, and nests that the parser takes too long for.
pub(super) fn check_chains(lexed: &Lexed<'_>) -> Result<()> {
    let mut levels = vec![Chains::default()];
    let (mut cases, mut nots, mut is_special) = (0_usize, 0_usize, false);
    for lexeme in &lexed.lexemes {
        let too_complex = |what: &str, most: usize| {
            Error::new(ErrorKind::TooComplex, "statement too complex")
                .with_detail(format!("it {what} more than {most} of them"))
                .with_hint("use IN (...), a join with a table of values, or steps in a WITH clause")
                .at(lexeme.start + 1)
        };
        let word = match &lexeme.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.as_str(),
            _ => "",
        };
        if word.eq_ignore_ascii_case("case") {
            cases += 1;
        } else if word.eq_ignore_ascii_case("end") {
            cases = cases.saturating_sub(1);
        }
        if cases > CASES_OPEN_MAX {
            return Err(too_complex("nests CASEs,", CASES_OPEN_MAX));
        }
        nots = if word.eq_ignore_ascii_case("not") { nots + 1 } else { 0 };
        if nots > NOTS_IN_ROW_MAX {
            return Err(too_complex("chains NOTs,", NOTS_IN_ROW_MAX));
        }
        let closes = matches!(lexeme.token, Token::RParen | Token::RBracket);
        if closes && levels.len() > 1 {
            levels.pop();
        } else if lexeme.token != Token::LParen
            && let Some(level) = levels.last_mut()
            && let Some((what, most)) = level.count(&lexeme.token)
        {
            return Err(too_complex(&format!("{what},"), most));
        }
        // Subscripts and array types are counted as operators, and begin a level like parentheses.
        if matches!(lexeme.token, Token::LParen | Token::LBracket) {
            if is_special && levels.iter().filter(|level| level.is_special).count() >= SPECIAL_CALLS_OPEN_MAX {
                return Err(too_complex("nests calls such as CAST,", SPECIAL_CALLS_OPEN_MAX));
            }
            levels.push(Chains { is_special, ..Chains::default() });
        }
        is_special = SPECIAL_CALLS.iter().any(|special| word.eq_ignore_ascii_case(special));
    }
    Ok(())
}

impl Chains {
    /// Counts a token; answers what there are too many of, and how many may be.
    fn count(&mut self, token: &Token) -> Option<(&'static str, usize)> {
        let word = match token {
            Token::Word(word) if word.quote_style.is_none() => word.value.as_str(),
            Token::Word(_) | Token::Number(..) | Token::Period | Token::Placeholder(_) => return None,
            Token::SingleQuotedString(_) | Token::DollarQuotedString(_) | Token::NationalStringLiteral(_) => return None,
            Token::Comma | Token::SemiColon => ",",
            _ => "+",
        };
        let is_one_of = |words: &[&str]| words.iter().any(|candidate| word.eq_ignore_ascii_case(candidate));
        if word.eq_ignore_ascii_case("select") {
            self.items = Some(1);
        } else if is_one_of(BEHIND_SELECT_LIST) {
            self.items = None;
        } else if matches!(token, Token::Comma) {
            self.items = self.items.map(|items| items + 1);
        }
        if word == "," || is_one_of(CLAUSES) {
            (self.operators, self.conditions) = (0, 0);
        } else if is_one_of(&["and", "or"]) {
            self.operators = 0;
            self.conditions += 1;
        } else if is_one_of(&["union", "except", "intersect", "minus", "join"]) {
            (self.operators, self.conditions) = (0, 0);
            self.branches += 1;
        } else if word == "+" || is_one_of(CHAINING) {
            self.operators += 1;
        }
        if self.operators > OPERATORS_IN_CHAIN_MAX {
            Some(("chains operators", OPERATORS_IN_CHAIN_MAX))
        } else if self.conditions > CONDITIONS_IN_CHAIN_MAX {
            Some(("chains conditions", CONDITIONS_IN_CHAIN_MAX))
        } else if self.branches > BRANCHES_MAX {
            Some(("chains joins and set operations", BRANCHES_MAX))
        } else if self.items.is_some_and(|items| items > SELECT_ITEMS_MAX) {
            Some(("lists columns of a SELECT", SELECT_ITEMS_MAX))
        } else {
            None
        }
    }
}
