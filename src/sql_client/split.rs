//! Cuts text into statements at the semicolons that end one. The server gets one statement at a time.

use std::collections::VecDeque;

/// Cuts a text that comes line by line.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The statement that is not complete yet.
    text: String,
    /// It holds more than blanks and comments.
    has_content: bool,
    inside: Inside,
    complete: VecDeque<String>,
}

/// What the text so far leaves open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    /// '…'
    Literal,
    /// "…"
    Identifier,
    /// /* … */, which nest.
    Comment(usize),
    /// $tag$ … $tag$, with this delimiter.
    Dollars(String),
}

impl Splitter {
    /// Takes the next line with its line end. Nothing that matters here spans a line end but what [`Inside`] remembers.
    pub(super) fn push_line(&mut self, line: &str) {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let taken = self.token(rest, first);
            let (token, tail) = rest.split_at(taken);
            if token == ";" && self.inside == Inside::Nothing {
                self.end_statement();
            } else {
                self.text.push_str(token);
            }
            rest = tail;
        }
    }

    /// The next complete statement, without its semicolon.
    pub(super) fn next_statement(&mut self) -> Option<String> {
        self.complete.pop_front()
    }

    /// What stands behind the last semicolon, at the end of the text.
    pub(super) fn finish(&mut self) -> Option<String> {
        self.end_statement();
        self.complete.pop_back()
    }

    /// Whether a statement has begun.
    pub(super) fn is_inside_statement(&self) -> bool {
        self.has_content || self.inside != Inside::Nothing
    }

    /// Length of what is kept, in bytes.
    pub(super) fn pending_bytes(&self) -> usize {
        self.text.len()
    }

    fn end_statement(&mut self) {
        let text = std::mem::take(&mut self.text);
        if std::mem::take(&mut self.has_content) {
            self.complete.push_back(text.trim().to_owned());
        }
        self.inside = Inside::Nothing;
    }

    /// Reads the token at the start of `rest`, which is not empty; answers its length in bytes.
    fn token(&mut self, rest: &str, first: char) -> usize {
        match &mut self.inside {
            Inside::Nothing => self.plain_token(rest, first),
            Inside::Literal => match first {
                // As in Redshift, a backslash takes away the next character's meaning.
                '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                '\'' => self.leave(1),
                other => other.len_utf8(),
            },
            Inside::Identifier if first == '"' => self.leave(1),
            Inside::Comment(depth) if rest.starts_with("*/") => {
                *depth -= 1;
                if *depth == 0 { self.leave(2) } else { 2 }
            }
            Inside::Comment(depth) if rest.starts_with("/*") => {
                *depth += 1;
                2
            }
            Inside::Dollars(delimiter) if rest.starts_with(delimiter.as_str()) => {
                let length = delimiter.len();
                self.leave(length)
            }
            Inside::Identifier | Inside::Comment(_) | Inside::Dollars(_) => first.len_utf8(),
        }
    }

    fn leave(&mut self, length: usize) -> usize {
        self.inside = Inside::Nothing;
        length
    }

    fn plain_token(&mut self, rest: &str, first: char) -> usize {
        if rest.starts_with("--") {
            return rest.find('\n').unwrap_or(rest.len());
        }
        if rest.starts_with("/*") {
            self.inside = Inside::Comment(1);
            return 2;
        }
        if first == ';' || first.is_whitespace() {
            return first.len_utf8();
        }
        self.has_content = true;
        match first {
            '\'' => self.inside = Inside::Literal,
            '"' => self.inside = Inside::Identifier,
            '$' => {
                let after_name = self.text.chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$'));
                if let Some(delimiter) = dollar_delimiter(rest).filter(|_| !after_name) {
                    self.inside = Inside::Dollars(delimiter.to_owned());
                    return delimiter.len();
                }
            }
            _ => {}
        }
        first.len_utf8()
    }
}

/// `$$` or `$name$` at the start of `text`. `$1` is a parameter.
fn dollar_delimiter(text: &str) -> Option<&str> {
    let name = &text[1..][..text[1..].find('$')?];
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| &text[..name.len() + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        let mut splitter = Splitter::default();
        for line in text.split_inclusive('\n') {
            splitter.push_line(line);
        }
        let mut statements: Vec<String> = std::iter::from_fn(|| splitter.next_statement()).collect();
        statements.extend(splitter.finish());
        statements
    }

    #[test]
    fn semicolons_end_statements_only_outside_of_quotes_and_comments() {
        assert_eq!(split("SELECT 1; SELECT 2"), ["SELECT 1", "SELECT 2"]);
        assert_eq!(split("SELECT ';', 'it''s;', 'a\\';', \";\"\";\" ; x"), ["SELECT ';', 'it''s;', 'a\\';', \";\"\";\"", "x"]);
        assert_eq!(split("a -- ; '\n, b; c"), ["a -- ; '\n, b", "c"]);
        assert_eq!(split("a /* ; /* ' */ ; */ b; c"), ["a /* ; /* ' */ ; */ b", "c"]);
        assert_eq!(split("f $$ ;\n' $x$ ; $$; g $t_1$;$$;$t_1$;h"), ["f $$ ;\n' $x$ ; $$", "g $t_1$;$$;$t_1$", "h"]);
        assert_eq!(split("SELECT $1;SELECT a$b$;c"), ["SELECT $1", "SELECT a$b$", "c"]);
        assert_eq!(split("SELECT 'é;\nü';"), ["SELECT 'é;\nü'"]);
    }

    #[test]
    fn blanks_and_comments_are_no_statement() {
        assert!(split(" ;; -- nothing;\n /* ; */ ;\n").is_empty());
        assert_eq!(split("-- first\nSELECT 1;\n-- last\n"), ["-- first\nSELECT 1"]);
        assert_eq!(split("SELECT 'open ;"), ["SELECT 'open ;"]);
    }
}
