//! Names in double quotes, folded in the text itself.

use super::lex::Lexed;
use datafusion::sql::sqlparser::tokenizer::Token;
use std::borrow::Cow;

/// The text with the names in double quotes in lower case, as Redshift reads it unless `enable_case_sensitive_identifier` is on. ASCII
/// letters only: positions in the text stay what they are. Whatever is stored of a statement is stored folded, so that it means the same
/// in every session.
pub fn fold_quoted(text: &str) -> Cow<'_, str> {
    if !text.contains('"') || !text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    // What has no tokens is refused by whoever parses it.
    let Ok(lexed) = Lexed::new(text) else { return Cow::Borrowed(text) };
    let mut folded = text.to_owned();
    for lexeme in &lexed.lexemes {
        if matches!(&lexeme.token, Token::Word(word) if word.quote_style == Some('"'))
            && let Some(name) = folded.get_mut(lexeme.bytes.clone())
        {
            name.make_ascii_lowercase();
        }
    }
    Cow::Owned(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_in_quotes_are_folded() {
        let text = "SELECT \"Foo\".\"B\"\"X\", 'It''s \"NOT\"', E'a\\'\"B\"' -- \"C\"\n AS \"É\" /* \"D\" */ FROM T, $$\"Q\"$$";
        let folded = "SELECT \"foo\".\"b\"\"x\", 'It''s \"NOT\"', E'a\\'\"B\"' -- \"C\"\n AS \"É\" /* \"D\" */ FROM T, $$\"Q\"$$";
        assert_eq!(fold_quoted(text), folded);
        assert!(matches!(fold_quoted("SELECT \"foo\" FROM t WHERE x = 'a\""), Cow::Borrowed(_)));
    }
}
