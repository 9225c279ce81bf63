//! Tokens with positions, and a cursor over them for the statements we parse ourselves.

use super::dialect::SlipherDialect;
use super::names::{Name, QualifiedName, SchemaName, check_length, fold, is_reserved};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};
use slipher_common::functions::DatePart;
use slipher_common::{Error, ErrorKind, Result};

/// The dialect of all parsing.
pub(crate) static DIALECT: SlipherDialect = SlipherDialect;

/// One token, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Lexeme {
    /// The token.
    pub token: Token,
    /// First character, from 0.
    pub start: usize,
    /// Bytes in the text.
    pub bytes: std::ops::Range<usize>,
    /// The same for sqlparser.
    pub span: Span,
}

impl Lexeme {
    /// The unquoted word in upper case.
    pub fn keyword(&self) -> Option<String> {
        match &self.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
            _ => None,
        }
    }

    pub fn is_keyword(&self, keyword: &str) -> bool {
        matches!(&self.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword))
    }
}

/// A text and its tokens.
#[derive(Debug)]
pub(crate) struct Lexed<'a> {
    /// The text.
    pub text: &'a str,
    /// Its tokens. Blanks and comments are none: a text of megabytes of them has no memory to give to each.
    pub lexemes: Vec<Lexeme>,
    /// Where the first character stands that is not blank; comments count.
    pub first_not_blank: Option<Location>,
    /// Characters in the text.
    pub characters: usize,
}

impl<'a> Lexed<'a> {
    /// Splits `text` into tokens; 42601 for an unterminated string, identifier or comment.
    pub fn new(text: &'a str) -> Result<Self> {
        let all = Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|error| {
            let (start, byte) = offset_of(text, error.location);
            let rest: String = text[byte..].chars().take(20).collect();
            Error::new(ErrorKind::Syntax, format!("{} at or near \"{rest}\"", lower_first(&error.message))).at(start + 1)
        })?;
        let first_not_blank = all.iter().find(|token| !is_blank(&token.token)).map(|token| token.span.start);
        let mut all = with_temporary_names(all);
        adapt_tokens(&mut all);
        let mut walk = Walk::new(text);
        let mut lexemes = Vec::with_capacity(all.len());
        for TokenWithSpan { token, span } in all {
            let (start, from) = walk.to(span.start);
            let (_, until) = walk.to(span.end);
            if is_foreign(&token) {
                let message = format!("syntax error at or near \"{}\"", &text[from..until]);
                return Err(Error::new(ErrorKind::Syntax, message).at(start + 1));
            }
            lexemes.push(Lexeme { token, start, bytes: from..until, span });
        }
        walk.finish();
        Ok(Self { text, lexemes, first_not_blank, characters: walk.characters })
    }

    /// The text of a lexeme.
    pub fn text_of(&self, lexeme: &Lexeme) -> &'a str {
        &self.text[lexeme.bytes.clone()]
    }
}

/// Other systems' parameters (`:name`, `?1`), and the colon: the parser takes it for the beginning of a name, even with a blank behind it.
fn is_foreign(token: &Token) -> bool {
    match token {
        Token::Colon => true,
        Token::Placeholder(name) => name.strip_prefix('$').is_none_or(|number| number.parse::<u16>().is_err()),
        _ => false,
    }
}

fn is_blank(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::Space | Whitespace::Tab | Whitespace::Newline) | Token::EOF)
}

/// Words that no value ends with, beside the reserved ones: a name may stand behind them.
const NO_VALUE_ENDS_WITH: &[&str] = &[
    "by",
    "copy",
    "delete",
    "exists",
    "ilike",
    "only",
    "recluster",
    "reindex",
    "set",
    "sort",
    "truncate",
    "update",
    "vacuum",
    "view",
];
/// Reserved words that values end with.
const VALUE_ENDS_WITH: &[&str] = &["default", "end", "false", "null", "true", "user"];

/// `#` is an operator behind a value, and the first character of a temporary table's name elsewhere: the tokenizer knows neither. Leaves
/// blanks and comments out.
fn with_temporary_names(mut all: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    all.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    if all.iter().all(|token| token.token != Token::Sharp) {
        return all;
    }
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(all.len());
    let mut behind_value = false;
    // What stands before a `#` that may begin a name.
    let mut open = false;
    for mut token in all {
        if let Token::Word(word) = &token.token
            && open
            && word.quote_style.is_none()
            && joined.last().is_some_and(|sharp| sharp.span.end == token.span.start)
        {
            token.token = Token::make_word(&format!("#{}", word.value), None);
            if let Some(sharp) = joined.pop() {
                token.span.start = sharp.span.start;
            }
        }
        open = token.token == Token::Sharp && !behind_value;
        behind_value = ends_value(&token.token);
        joined.push(token);
    }
    joined
}

/// Whether a value can end with this token.
fn ends_value(token: &Token) -> bool {
    match token {
        Token::Word(word) if word.quote_style.is_none() => {
            let word = word.value.to_ascii_lowercase();
            let word = word.as_str();
            VALUE_ENDS_WITH.contains(&word) || !(is_reserved(word) || NO_VALUE_ENDS_WITH.contains(&word))
        }
        Token::Word(_) | Token::Number(..) | Token::RParen | Token::RBracket | Token::Placeholder(_) => true,
        Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_) => true,
        _ => false,
    }
}

/// Two things that sqlparser's Redshift dialect does not read: E'...', and abbreviated parts in EXTRACT.
fn adapt_tokens(all: &mut [TokenWithSpan]) {
    let word = |token: &Token, wanted: &str| matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted));
    // The last tokens, newest first.
    let mut before: [Option<usize>; 2] = [None, None];
    for index in 0..all.len() {
        if let Token::EscapedStringLiteral(text) = &mut all[index].token {
            all[index].token = Token::SingleQuotedString(std::mem::take(text));
        }
        if let [Some(parenthesis), Some(function)] = before
            && all[parenthesis].token == Token::LParen
            && word(&all[function].token, "extract")
            && let Token::Word(part) = &all[index].token
            && let Ok(known) = DatePart::parse(&part.value)
        {
            all[index].token = Token::make_word(known.name(), None);
        }
        before = [Some(index), before[0]];
    }
}

fn lower_first(message: &str) -> String {
    let mut characters = message.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

/// Character and byte offset (from 0) of a location.
pub(crate) fn offset_of(text: &str, location: Location) -> (usize, usize) {
    Walk::new(text).to(location)
}

/// Turns locations in ascending order into offsets, in one pass over the text.
struct Walk<'a> {
    text: &'a str,
    byte: usize,
    characters: usize,
    line: u64,
    column: u64,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, byte: 0, characters: 0, line: 1, column: 1 }
    }

    fn to(&mut self, location: Location) -> (usize, usize) {
        while (self.line, self.column) < (location.line, location.column) && self.step() {}
        (self.characters, self.byte)
    }

    fn finish(&mut self) {
        while self.step() {}
    }

    fn step(&mut self) -> bool {
        let Some(character) = self.text[self.byte..].chars().next() else { return false };
        self.byte += character.len_utf8();
        self.characters += 1;
        if character == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        true
    }
}

/// Walks over the lexemes of one statement.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    /// The statement.
    pub lexed: &'a Lexed<'a>,
    /// The next lexeme.
    pub next: usize,
}

impl<'a> Cursor<'a> {
    /// At the first lexeme.
    pub fn new(lexed: &'a Lexed<'a>) -> Self {
        Self { lexed, next: 0 }
    }

    /// The next lexeme.
    pub fn peek(&self) -> Option<&'a Lexeme> {
        self.lexed.lexemes.get(self.next)
    }

    /// The lexeme `ahead` of the next.
    pub fn peek_at(&self, ahead: usize) -> Option<&'a Lexeme> {
        self.lexed.lexemes.get(self.next + ahead)
    }

    /// Whether every lexeme is consumed.
    pub fn at_end(&self) -> bool {
        self.peek().is_none()
    }

    /// Position of the next lexeme, in characters from 1.
    pub fn position(&self) -> usize {
        self.peek().map_or(self.lexed.characters, |lexeme| lexeme.start) + 1
    }

    /// Whether the next words are `keywords`.
    pub fn looking_at(&self, keywords: &[&str]) -> bool {
        keywords.iter().enumerate().all(|(i, word)| self.peek_at(i).is_some_and(|lexeme| lexeme.is_keyword(word)))
    }

    /// Consumes `keywords` when they come next.
    pub fn eat(&mut self, keywords: &[&str]) -> bool {
        let there = self.looking_at(keywords);
        if there {
            self.next += keywords.len();
        }
        there
    }

    /// Consumes the first of `keywords` that comes next and answers it.
    pub fn eat_one_of<'k>(&mut self, keywords: &[&'k str]) -> Option<&'k str> {
        let found = keywords.iter().find(|word| self.looking_at(&[word])).copied();
        self.next += usize::from(found.is_some());
        found
    }

    /// Consumes `keywords` or answers a syntax error.
    pub fn expect(&mut self, keywords: &[&str]) -> Result<()> {
        for word in keywords {
            if !self.eat(&[word]) {
                return Err(self.error(&format!("expected {word}")));
            }
        }
        Ok(())
    }

    /// Whether `token` comes next.
    pub fn looking_at_token(&self, token: &Token) -> bool {
        self.peek().is_some_and(|lexeme| lexeme.token == *token)
    }

    /// Consumes `token` when it comes next.
    pub fn eat_token(&mut self, token: &Token) -> bool {
        let there = self.looking_at_token(token);
        self.next += usize::from(there);
        there
    }

    /// Consumes `token` or answers a syntax error.
    pub fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.eat_token(token) { Ok(()) } else { Err(self.error(&format!("expected \"{token}\""))) }
    }

    /// A syntax error at the next lexeme.
    pub fn error(&self, detail: &str) -> Error {
        syntax_error(self.lexed, self.next).with_detail(detail)
    }

    /// Answers a syntax error unless the statement ends here.
    pub fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.error("expected the end of the statement")) }
    }

    /// An identifier; `what` names it in the error.
    pub fn name(&mut self, what: &str) -> Result<Name> {
        let Some(lexeme) = self.peek() else { return Err(self.error(&format!("expected {what}"))) };
        let Token::Word(word) = &lexeme.token else { return Err(self.error(&format!("expected {what}"))) };
        if word.quote_style.is_none() && super::names::is_reserved(&word.value) {
            return Err(self
                .error(&format!("expected {what}; \"{}\" is a reserved word", word.value))
                .with_hint(format!("write it in double quotes: \"{}\"", fold(&word.value, false))));
        }
        let name = Name {
            value: fold(&word.value, word.quote_style.is_some()),
            quoted: word.quote_style.is_some(),
            position: lexeme.start + 1,
        };
        check_length(&name)?;
        self.next += 1;
        Ok(name)
    }

    /// `[[database.]schema.]name`.
    pub fn qualified_name(&mut self, what: &str) -> Result<QualifiedName> {
        let mut parts = vec![self.name(what)?];
        while self.eat_token(&Token::Period) {
            parts.push(self.name(what)?);
        }
        QualifiedName::from_parts(parts)
    }

    /// `[database.]schema`.
    pub fn schema_name(&mut self) -> Result<SchemaName> {
        let QualifiedName { database, schema, name } = self.qualified_name("a schema's name")?;
        match database {
            None => Ok(SchemaName { database: schema, name }),
            Some(first) => {
                let message = "improper schema name (too many dotted names)";
                Err(Error::new(ErrorKind::InvalidName, message).at(first.position))
            }
        }
    }

    /// One or more of them, with commas between.
    pub fn qualified_names(&mut self, what: &str) -> Result<Vec<QualifiedName>> {
        let mut names = vec![self.qualified_name(what)?];
        while self.eat_token(&Token::Comma) {
            names.push(self.qualified_name(what)?);
        }
        Ok(names)
    }

    /// `(name, ...)`.
    pub fn names_in_parentheses(&mut self, what: &str) -> Result<Vec<Name>> {
        self.expect_token(&Token::LParen)?;
        let mut names = vec![self.name(what)?];
        while self.eat_token(&Token::Comma) {
            names.push(self.name(what)?);
        }
        self.expect_token(&Token::RParen)?;
        Ok(names)
    }

    /// A string literal.
    pub fn string(&mut self, what: &str) -> Result<String> {
        let value = match self.peek().map(|lexeme| &lexeme.token) {
            Some(Token::SingleQuotedString(value) | Token::EscapedStringLiteral(value)) => value.clone(),
            Some(Token::DollarQuotedString(value)) => value.value.clone(),
            Some(Token::Word(word)) if word.quote_style == Some('"') => {
                return Err(self
                    .error(&format!("expected {what}"))
                    .with_hint("strings stand in single quotes, names in double quotes"));
            }
            _ => return Err(self.error(&format!("expected {what}"))),
        };
        self.next += 1;
        Ok(value)
    }

    /// An integer, with a sign or without.
    pub fn integer(&mut self, what: &str) -> Result<i64> {
        let start = self.next;
        let negative = self.eat_token(&Token::Minus);
        if !negative {
            self.eat_token(&Token::Plus);
        }
        let digits = match self.peek().map(|lexeme| &lexeme.token) {
            Some(Token::Number(digits, _)) => digits.as_str(),
            _ => return Err(self.error(&format!("expected {what}"))),
        };
        let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
        match signed.parse() {
            Ok(value) => {
                self.next += 1;
                Ok(value)
            }
            Err(_) => {
                self.next = start;
                Err(self.error(&format!("expected {what}: {signed} is not a whole number of 64 bits")))
            }
        }
    }
}

/// A syntax error at a lexeme (or at the end), with a hint where one is obvious.
pub(crate) fn syntax_error(lexed: &Lexed<'_>, index: usize) -> Error {
    match lexed.lexemes.get(index) {
        Some(lexeme) => {
            let found: String = lexed.text_of(lexeme).chars().take(60).collect();
            Error::new(ErrorKind::Syntax, format!("syntax error at or near \"{found}\"")).at(lexeme.start + 1)
        }
        None => Error::new(ErrorKind::Syntax, "syntax error at end of input").at(lexed.characters + 1),
    }
}
