//! The patterns of TO_CHAR and TO_NUMBER of numbers.

use crate::assign::shorten;
use crate::{Error, ErrorKind, Result};

/// Most digits that a pattern may have.
const PATTERN_DIGITS_MAX: usize = 38;

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Digit {
        zero: bool,
    },
    Point,
    Group,
    Sign,
    Minus,
    Plus,
    PlusOrMinus,
    Currency,
    Ordinal {
        upper: bool,
    },
    /// Digits from here on are those behind the point.
    Shift,
    Literal(char),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) items: Vec<Item>,
    /// FM: no padding.
    pub(super) trimmed: bool,
    /// PR: negative numbers in angle brackets.
    pub(super) brackets: bool,
    /// RN, in capitals or not.
    pub(super) roman: Option<bool>,
    /// Digits before the point, and behind it.
    pub(super) whole: usize,
    pub(super) fraction: usize,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut pattern = Self::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let taken = pattern.take(text, rest, first)?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        if pattern.whole + pattern.fraction > PATTERN_DIGITS_MAX {
            return Err(wrong(text, &format!("it has more than {PATTERN_DIGITS_MAX} digits")));
        }
        let signs = |item: &&Item| matches!(item, Item::Sign | Item::Minus | Item::Plus | Item::PlusOrMinus);
        let several = pattern.items.iter().filter(signs).count() + usize::from(pattern.brackets) > 1;
        if several && pattern.items.contains(&Item::Sign) {
            return Err(wrong(text, "S stands with another sign"));
        }
        Ok(pattern)
    }

    /// Reads one code; how many bytes it has.
    fn take(&mut self, text: &str, rest: &str, first: char) -> Result<usize> {
        let begins = |code: &str| rest.get(..code.len()).is_some_and(|start| start.eq_ignore_ascii_case(code));
        let behind_point = self.items.iter().any(|item| matches!(item, Item::Point | Item::Shift));
        let two = [
            ("FM", None),
            ("PR", None),
            ("RN", None),
            ("MI", Some(Item::Minus)),
            ("PL", Some(Item::Plus)),
            ("SG", Some(Item::PlusOrMinus)),
        ];
        if let Some((code, item)) = two.into_iter().find(|(code, _)| begins(code)) {
            match (code, item) {
                (_, Some(item)) => self.items.push(item),
                ("FM", _) => self.trimmed = true,
                ("PR", _) => self.brackets = true,
                _ => self.roman = Some(first == 'R'),
            }
            return Ok(2);
        }
        if begins("TH") {
            self.items.push(Item::Ordinal { upper: first == 'T' });
            return Ok(2);
        }
        if begins("EEEE") {
            return Err(Error::not_supported(
                "EEEE in a number's format",
                "cast the number to DOUBLE PRECISION, then to VARCHAR",
            ));
        }
        if first == '"' {
            let quoted = &rest[1..];
            let end = quoted.find('"').unwrap_or(quoted.len());
            self.items.extend(quoted[..end].chars().map(Item::Literal));
            return Ok((end + 2).min(rest.len()));
        }
        let item = match first {
            '9' | '0' => {
                *(if behind_point { &mut self.fraction } else { &mut self.whole }) += 1;
                Item::Digit { zero: first == '0' }
            }
            '.' | 'D' | 'd' | 'V' | 'v' if behind_point => return Err(wrong(text, "there is more than one decimal point")),
            '.' | 'D' | 'd' => Item::Point,
            'V' | 'v' => Item::Shift,
            ',' | 'G' | 'g' => Item::Group,
            'S' | 's' => Item::Sign,
            'L' | 'l' => Item::Currency,
            other => Item::Literal(other),
        };
        self.items.push(item);
        Ok(first.len_utf8())
    }
}

fn wrong(pattern: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, format!("invalid number format \"{}\": {why}", shorten(pattern)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_contradict_themselves() {
        for wrong in ["9.9.9", "9S9MI", "9D9V9"] {
            assert_eq!(Pattern::parse(wrong).unwrap_err().sqlstate(), "22023", "{wrong}");
        }
        assert_eq!(Pattern::parse("9EEEE").unwrap_err().sqlstate(), "0A000");
        assert_eq!(Pattern::parse(&"9".repeat(39)).unwrap_err().sqlstate(), "22023");
    }
}
