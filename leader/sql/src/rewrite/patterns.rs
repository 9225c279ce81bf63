//! LIKE ... ESCAPE and SIMILAR TO, in forms that the engine has.

use super::build::{nested, string};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value, ValueWithSpan};
use slipher_common::{Error, ErrorKind, Result};

/// What the engine escapes with, as Redshift does where nothing else is said.
const ESCAPE: char = '\\';

/// Rewrites a comparison with a pattern; leaves other expressions alone.
pub(super) fn rewrite(expression: &mut Expr) -> Result<()> {
    if matches!(expression, Expr::Like { any: true, .. } | Expr::ILike { any: true, .. }) {
        *expression = like_any(expression)?;
    }
    match expression {
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            if let Some(escape) = escape_of(escape_char.take())?
                && escape != Some(ESCAPE)
            {
                let text = literal(pattern)
                    .ok_or_else(|| Error::not_supported("ESCAPE with a computed pattern", "escape with a backslash"))?;
                **pattern = string(&with_backslashes(text, escape));
            }
        }
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let escape = escape_of(escape_char.take())?.unwrap_or(Some(ESCAPE));
            let text = literal(pattern).ok_or_else(|| {
                Error::not_supported("SIMILAR TO with a computed pattern", "compare with a regular expression: value ~ pattern")
            })?;
            let regular = string(&regular_expression(text, escape)?);
            let value = nested(std::mem::replace(expr.as_mut(), Expr::value(Value::Null)));
            let matches = Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(value),
                op: BinaryOperator::PGRegexMatch,
                right: Box::new(regular),
            }));
            *expression = match *negated {
                true => Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(matches) })),
                false => matches,
            };
        }
        _ => {}
    }
    Ok(())
}

/// `x LIKE ANY ('a%', 'b%')` is `(x LIKE 'a%' OR x LIKE 'b%')`.
fn like_any(expression: &Expr) -> Result<Expr> {
    let (Expr::Like { pattern, .. } | Expr::ILike { pattern, .. }) = expression else { return Ok(expression.clone()) };
    let list = match pattern.as_ref() {
        Expr::Nested(inner) => inner.as_ref(),
        list => list,
    };
    let patterns = match list {
        Expr::Tuple(patterns) => patterns.clone(),
        Expr::Array(array) => array.elem.clone(),
        one @ Expr::Value(_) => vec![one.clone()],
        _ => {
            return Err(Error::not_supported("LIKE ANY with something else than a list", "write LIKE ANY ('a%', 'b%')"));
        }
    };
    let mut all: Option<Expr> = None;
    for one in patterns {
        let mut like = expression.clone();
        if let Expr::Like { any, pattern, .. } | Expr::ILike { any, pattern, .. } = &mut like {
            (*any, **pattern) = (false, one);
        }
        rewrite(&mut like)?;
        all = Some(match all {
            None => like,
            Some(before) => Expr::BinaryOp { left: Box::new(before), op: BinaryOperator::Or, right: Box::new(like) },
        });
    }
    let all = all.ok_or_else(|| Error::new(ErrorKind::Syntax, "LIKE ANY has no pattern"))?;
    Ok(nested(all))
}

/// The character behind ESCAPE: `None` without ESCAPE, `Some(None)` for an empty one, which escapes nothing.
fn escape_of(given: Option<ValueWithSpan>) -> Result<Option<Option<char>>> {
    let Some(given) = given else { return Ok(None) };
    let text = match &given.value {
        Value::SingleQuotedString(text) => text.as_str(),
        _ => return Err(Error::new(ErrorKind::InvalidParameter, "invalid escape string").with_hint("escape with one character")),
    };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (first, None) => Ok(Some(first)),
        _ => Err(Error::new(ErrorKind::InvalidParameter, "invalid escape string").with_hint("escape with one character")),
    }
}

fn literal(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn with_backslashes(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::with_capacity(pattern.len() + 2);
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if Some(c) == escape {
            out.push(ESCAPE);
            out.extend(characters.next());
        } else {
            out.extend((c == ESCAPE).then_some(ESCAPE));
            out.push(c);
        }
    }
    out
}

/// The whole value must match; `%` and `_` are LIKE's, `| * + ? {} () []` those of regular expressions.
fn regular_expression(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut out = String::from("^(?s:");
    let mut characters = pattern.chars();
    let mut in_class = false;
    while let Some(c) = characters.next() {
        if Some(c) == escape {
            let next = characters.next().ok_or_else(|| {
                Error::new(ErrorKind::InvalidParameter, "the pattern of SIMILAR TO ends in its escape character")
            })?;
            push_literal(&mut out, next);
            continue;
        }
        // A class by name within one by characters: [[:alpha:]_].
        if in_class
            && c == '['
            && let Some(end) = characters.as_str().strip_prefix(':').and_then(|rest| rest.find(":]"))
        {
            let name: String = characters.by_ref().take(end + ":".len() + ":]".len()).collect();
            out.push('[');
            out.push_str(&name);
            continue;
        }
        match c {
            '%' if !in_class => out.push_str(".*"),
            '_' if !in_class => out.push('.'),
            '[' | ']' => {
                in_class = c == '[';
                out.push(c);
            }
            '|' | '*' | '+' | '?' | '{' | '}' | '(' | ')' | ',' => out.push(c),
            '^' | '-' if in_class => out.push(c),
            other => push_literal(&mut out, other),
        }
    }
    out.push_str(")$");
    Ok(out)
}

fn push_literal(out: &mut String, c: char) {
    if !c.is_alphanumeric() && !c.is_whitespace() && c.is_ascii() {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_backslashes() {
        assert_eq!(with_backslashes("a#%b\\c##", Some('#')), "a\\%b\\\\c\\#");
        assert_eq!(with_backslashes("a\\%", None), "a\\\\%");
    }

    #[test]
    fn similar_to_is_a_regular_expression_for_the_whole_value() {
        assert_eq!(regular_expression("(a|b.)%_", Some('\\')).unwrap(), "^(?s:(a|b\\.).*.)$");
        assert_eq!(regular_expression("[^a-c_]#%", Some('#')).unwrap(), "^(?s:[^a-c\\_]\\%)$");
        assert!(regular_expression("a#", Some('#')).is_err());
        assert_eq!(regular_expression("[[:alpha:]_]+[^[:digit:]]", None).unwrap(), "^(?s:[[:alpha:]\\_]+[^[:digit:]])$");
    }
}
