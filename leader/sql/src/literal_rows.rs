//! Many rows of plain literals, as a client writes that has no files to COPY: kept as values, not as trees.

use super::lex::Cursor;
use datafusion::sql::sqlparser::ast::{self, Expr, UnaryOperator};
use datafusion::sql::sqlparser::tokenizer::Token;
use std::collections::HashMap;

/// Fewer rows are planned as they are written: the short way of few rows knows them by their trees.
const ROWS_MIN: usize = 1_001;

/// One value of VALUES.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// NULL.
    Null,
    /// A whole number that is written as its value is.
    Whole(i64),
    /// Another number, as it is written, perhaps with a sign.
    Number(Box<str>),
    /// A string.
    Text(Box<str>),
    /// TRUE or FALSE.
    Truth(bool),
}

/// VALUES of nothing but literals.
#[derive(Debug)]
pub struct LiteralRows {
    columns: Vec<Vec<Literal>>,
}

impl LiteralRows {
    /// Reads `(literal, ...), ...` to the end of the statement; `None`, and the cursor where it was, where there is anything else, a row of
    /// another width (none has as many values as `width` says, where it is known), or only a few rows.
    pub(super) fn read(cursor: &mut Cursor<'_>, width: Option<usize>) -> Option<Self> {
        let mut ahead = cursor.clone();
        let mut columns: Vec<Vec<Literal>> = Vec::new();
        let (mut rows, mut width) = (0_usize, width);
        loop {
            let mut values = 0;
            ahead.eat_token(&Token::LParen).then_some(())?;
            loop {
                let value = literal(&mut ahead)?;
                match columns.get_mut(values) {
                    Some(column) => column.push(value),
                    None if rows == 0 => columns.push(vec![value]),
                    None => return None,
                }
                values += 1;
                if !ahead.eat_token(&Token::Comma) {
                    break;
                }
            }
            ahead.eat_token(&Token::RParen).then_some(())?;
            rows += 1;
            if *width.get_or_insert(values) != values {
                return None;
            }
            if !ahead.eat_token(&Token::Comma) {
                break;
            }
        }
        if !ahead.at_end() || rows < ROWS_MIN {
            return None;
        }
        cursor.next = ahead.next;
        Some(Self { columns })
    }

    /// The values, column by column.
    pub fn columns(&self) -> &[Vec<Literal>] {
        &self.columns
    }

    /// The rows as expressions.
    pub(crate) fn rows(&self) -> Vec<Vec<Expr>> {
        let rows = self.columns.first().map_or(0, Vec::len);
        (0..rows).map(|row| self.columns.iter().map(|column| column[row].expression()).collect()).collect()
    }

    /// Fewer rows, whose columns have the types that those of all rows have: of each kind of literal the least and the greatest.
    pub fn representatives(&self) -> Vec<Vec<Expr>> {
        let columns: Vec<Vec<&Literal>> = self.columns.iter().map(|column| representatives(column)).collect();
        let rows = columns.iter().map(Vec::len).max().unwrap_or_default();
        let value =
            |column: &Vec<&Literal>, row: usize| column.get(row).map_or(Literal::Null.expression(), |value| value.expression());
        (0..rows).map(|row| columns.iter().map(|column| value(column, row)).collect()).collect()
    }
}

impl Literal {
    fn expression(&self) -> Expr {
        match self {
            Self::Null => Expr::value(ast::Value::Null),
            Self::Whole(value) if *value < 0 => negated(Expr::value(ast::Value::Number(value.unsigned_abs().to_string(), false))),
            Self::Whole(value) => Expr::value(ast::Value::Number(value.to_string(), false)),
            Self::Number(digits) => match digits.strip_prefix('-') {
                Some(digits) => negated(Expr::value(ast::Value::Number(digits.to_owned(), false))),
                None => Expr::value(ast::Value::Number(digits.to_string(), false)),
            },
            Self::Text(text) => Expr::value(ast::Value::SingleQuotedString(text.to_string())),
            Self::Truth(value) => Expr::value(ast::Value::Boolean(*value)),
        }
    }

    /// Literals of one kind have one type, but for whole numbers: theirs grows with the value.
    fn kind(&self) -> (u8, usize, usize) {
        match self {
            Self::Null => (0, 0, 0),
            Self::Whole(_) => (1, 0, 0),
            Self::Number(digits) => {
                let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
                // One that has a point is never a whole number.
                (2 + u8::from(digits.contains('.')), whole.len(), fraction.len())
            }
            Self::Text(_) => (4, 0, 0),
            Self::Truth(_) => (5, 0, 0),
        }
    }

    /// Whether this one stands behind `other`, of the same kind, in the order of numbers.
    fn is_behind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Whole(own), Self::Whole(other)) => own > other,
            (Self::Number(own), Self::Number(other)) => own > other,
            _ => false,
        }
    }
}

fn negated(number: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number) }
}

fn representatives(column: &[Literal]) -> Vec<&Literal> {
    let mut extremes: HashMap<(u8, usize, usize), (&Literal, &Literal)> = HashMap::new();
    for value in column {
        let (least, greatest) = extremes.entry(value.kind()).or_insert((value, value));
        if least.is_behind(value) {
            *least = value;
        }
        if value.is_behind(greatest) {
            *greatest = value;
        }
    }
    let mut kinds: Vec<_> = extremes.into_iter().collect();
    kinds.sort_by_key(|(kind, _)| *kind);
    kinds
        .into_iter()
        .flat_map(|(_, (least, greatest))| if least == greatest { vec![least] } else { vec![least, greatest] })
        .collect()
}

/// The literal that comes next, where a comma or parenthesis stands behind it.
fn literal(cursor: &mut Cursor<'_>) -> Option<Literal> {
    let negative = cursor.eat_token(&Token::Minus);
    let value = match &cursor.peek()?.token {
        // 1e300 is a float, which is for the rewrite to say.
        Token::Number(digits, false) if !digits.contains(['e', 'E']) => number(digits, negative),
        _ if negative => return None,
        Token::SingleQuotedString(text) => Literal::Text(text.as_str().into()),
        Token::Word(word) if word.quote_style.is_none() => match word.value.as_str() {
            word if word.eq_ignore_ascii_case("null") => Literal::Null,
            word if word.eq_ignore_ascii_case("true") => Literal::Truth(true),
            word if word.eq_ignore_ascii_case("false") => Literal::Truth(false),
            _ => return None,
        },
        _ => return None,
    };
    cursor.next += 1;
    matches!(cursor.peek()?.token, Token::Comma | Token::RParen).then_some(value)
}

fn number(digits: &str, negative: bool) -> Literal {
    // Beside strings a number is the text that was written.
    let as_written = digits == "0" || !digits.starts_with('0');
    match digits.parse::<i64>() {
        Ok(value) if as_written && !(negative && value == 0) => Literal::Whole(if negative { -value } else { value }),
        _ if negative => Literal::Number(format!("-{digits}").into()),
        _ => Literal::Number(digits.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lex::Lexed;
    use super::*;

    fn read(row: &str, width: Option<usize>) -> Option<LiteralRows> {
        let text = vec![row; ROWS_MIN].join(", ");
        let lexed = Lexed::new(&text).unwrap();
        let mut cursor = Cursor::new(&lexed);
        let rows = LiteralRows::read(&mut cursor, width);
        assert_eq!(cursor.at_end(), rows.is_some());
        rows
    }

    #[test]
    fn rows_of_literals_are_values() {
        let rows = read("(-1, 'it''s', NULL, 007, 1.50, true, -0, 12345678901234567890)", Some(8)).unwrap();
        let first: Vec<&Literal> = rows.columns().iter().map(|column| &column[0]).collect();
        let number = |digits: &str| Literal::Number(digits.into());
        let expected = [
            Literal::Whole(-1),
            Literal::Text("it's".into()),
            Literal::Null,
            number("007"),
            number("1.50"),
            Literal::Truth(true),
            number("-0"),
            number("12345678901234567890"),
        ];
        assert_eq!(first, expected.iter().collect::<Vec<_>>());
        assert_eq!(rows.rows().len(), ROWS_MIN);
        assert_eq!(rows.representatives().len(), 1);
        let written = rows.representatives()[0].iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        assert_eq!(written, "-1, 'it''s', NULL, 007, 1.50, true, -0, 12345678901234567890");
    }

    #[test]
    fn what_is_no_literal_is_read_as_ever() {
        for row in ["(1 + 1)", "(default)", "(- -1)", "(-'1')", "(1e5)", "($1)", "(\"null\")", "((1))", "(1), (1, 2)", "()"] {
            assert!(read(row, None).is_none(), "{row}");
        }
        assert!(read("(1)", Some(2)).is_none());
    }

    #[test]
    fn of_each_kind_the_least_and_the_greatest_stand_for_all() {
        let column: Vec<Literal> = [5, -3, 3_000_000_000, 7].into_iter().map(Literal::Whole).chain([Literal::Null]).collect();
        let all = representatives(&column);
        assert_eq!(all, [&Literal::Null, &Literal::Whole(-3), &Literal::Whole(3_000_000_000)]);
    }
}
