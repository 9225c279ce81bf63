//! `UNPIVOT t.c AS value AT name` in FROM, which the parser does not know: the word becomes a mark of the name behind it.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

/// Begins the first name of what UNPIVOT stands before.
pub const UNPIVOTED: &str = "slipher$unpivot$";

/// Puts the mark where UNPIVOT begins a table of FROM; there are as many tokens as before.
pub(super) fn mark(tokens: &mut [TokenWithSpan]) {
    let is = |token: Option<&TokenWithSpan>, words: &[&str]| match token.map(|token| &token.token) {
        Some(Token::Word(word)) => {
            word.quote_style.is_none() && words.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted))
        }
        _ => false,
    };
    for at in 1..tokens.len().saturating_sub(1) {
        let begins = tokens[at - 1].token == Token::Comma || is(tokens.get(at - 1), &["FROM", "JOIN"]);
        if !begins || !is(tokens.get(at), &["UNPIVOT"]) {
            continue;
        }
        // A table may have this name: then an alias follows, and no path.
        let is_path = match tokens.get(at + 2).map(|token| &token.token) {
            Some(Token::Period | Token::LBracket) => true,
            _ => is(tokens.get(at + 2), &["AS"]) && is(tokens.get(at + 4), &["AT"]),
        };
        let Token::Word(word) = &tokens[at + 1].token else { continue };
        if !is_path {
            continue;
        }
        let mut marked = word.clone();
        let name = if word.quote_style.is_some() { word.value.clone() } else { word.value.to_ascii_lowercase() };
        marked.value = format!("{UNPIVOTED}{name}");
        marked.quote_style = Some('"');
        tokens[at + 1].token = Token::Word(marked);
        tokens[at].token = Token::Whitespace(Whitespace::Space);
    }
}
