//! REGEXP_REPLACE, REGEXP_COUNT, REGEXP_INSTR, REGEXP_SUBSTR as Redshift documents them.

use super::bounded::too_long;
use super::{Function, downcast, is_text, no_such_call};
use crate::sql_type::VARCHAR_LENGTH_MAX_BYTES;
use crate::{Error, ErrorKind, Result};
use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, StringArray, StringViewBuilder};
use arrow::datatypes::DataType;
use regex::{Captures, Regex, RegexBuilder};
use std::sync::Arc;

/// Most memory that one compiled pattern may take.
const PATTERN_MAX_BYTES: usize = 10 << 20;
/// What look-around begins with.
const LOOK_AROUND: [(&str, &str); 4] =
    [("(?=", "look-ahead"), ("(?!", "negative look-ahead"), ("(?<=", "look-behind"), ("(?<!", "negative look-behind")];

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("regexp_replace", coerce_replace, |_| Ok(DataType::Utf8View), replace),
        Function::new("regexp_count", coerce_count, |_| Ok(DataType::Int32), count),
        Function::new("regexp_instr", coerce_instr, |_| Ok(DataType::Int32), instr),
        Function::new("regexp_substr", coerce_substr, |_| Ok(DataType::Utf8View), substr),
    ]
}

/// What an argument may be.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
}

fn coerce(name: &str, types: &[DataType], kinds: &[Kind], least: usize, usage: &str) -> Result<Vec<DataType>> {
    let fits = |(data_type, kind): (&DataType, &Kind)| match kind {
        Kind::Text => is_text(data_type) || *data_type == DataType::Null,
        Kind::Number => data_type.is_integer() || *data_type == DataType::Null,
    };
    if types.len() < least || types.len() > kinds.len() || !types.iter().zip(kinds).all(fits) {
        return Err(no_such_call(name, types, usage));
    }
    let wanted = |kind: &Kind| match kind {
        Kind::Text => DataType::Utf8,
        Kind::Number => DataType::Int64,
    };
    Ok(kinds[..types.len()].iter().map(wanted).collect())
}

fn coerce_replace(types: &[DataType]) -> Result<Vec<DataType>> {
    use Kind::{Number, Text};
    let usage = "regexp_replace(source, pattern [, replacement [, position [, parameters]]])";
    coerce("regexp_replace", types, &[Text, Text, Text, Number, Text], 2, usage).map_err(|error| match types {
        // PostgreSQL's form.
        [_, _, _, flags] if is_text(flags) => {
            error.with_hint("the fourth argument is a position; every occurrence is replaced anyway, and parameters come fifth")
        }
        _ => error,
    })
}

fn coerce_count(types: &[DataType]) -> Result<Vec<DataType>> {
    use Kind::{Number, Text};
    let usage = "regexp_count(source, pattern [, position [, parameters]])";
    coerce("regexp_count", types, &[Text, Text, Number, Text], 2, usage)
}

fn coerce_instr(types: &[DataType]) -> Result<Vec<DataType>> {
    use Kind::{Number, Text};
    let usage = "regexp_instr(source, pattern [, position [, occurrence [, option [, parameters]]]])";
    coerce("regexp_instr", types, &[Text, Text, Number, Number, Number, Text], 2, usage)
}

fn coerce_substr(types: &[DataType]) -> Result<Vec<DataType>> {
    use Kind::{Number, Text};
    let usage = "regexp_substr(source, pattern [, position [, occurrence [, parameters]]])";
    coerce("regexp_substr", types, &[Text, Text, Number, Number, Text], 2, usage)
}

/// What the last argument says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parameters {
    ignore_case: bool,
    perl: bool,
    /// The first group is meant, not the whole match.
    group: bool,
}

impl Parameters {
    fn parse(text: &str, may_extract: bool) -> Result<Self> {
        let mut parameters = Self::default();
        for letter in text.chars() {
            match letter {
                'i' => parameters.ignore_case = true,
                'c' => parameters.ignore_case = false,
                'p' => parameters.perl = true,
                'e' if may_extract => parameters.group = true,
                other => {
                    let known = if may_extract { "c, i, e and p" } else { "c, i and p" };
                    let message = format!("regular expression parameter \"{other}\" is not known");
                    return Err(Error::new(ErrorKind::InvalidParameter, message).with_hint(format!("use {known}")));
                }
            }
        }
        Ok(parameters)
    }
}

fn compile(pattern: &str, parameters: Parameters) -> Result<Regex> {
    if let Some((written, name)) = LOOK_AROUND.iter().find(|(written, _)| pattern.contains(written)) {
        let what = format!("{name} in a regular expression");
        let hint = if parameters.perl { "match what is around it too, and use a group for the rest" } else { "write it without" };
        return Err(Error::not_supported(what, hint).with_detail(format!("\"{written}\" in the pattern \"{pattern}\"")));
    }
    RegexBuilder::new(pattern)
        .case_insensitive(parameters.ignore_case)
        .dot_matches_new_line(true)
        .size_limit(PATTERN_MAX_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                Error::new(ErrorKind::ProgramLimit, format!("regular expression \"{pattern}\" is too large"))
            }
            other => {
                let reason = other.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                Error::new(ErrorKind::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
                    .with_detail(format!("pattern \"{pattern}\""))
            }
        })
}

/// The arguments of all rows, and the pattern that was compiled last: it is nearly always the same.
struct Calls<'a> {
    sources: &'a StringArray,
    patterns: &'a StringArray,
    numbers: Vec<&'a Int64Array>,
    parameters: Option<&'a StringArray>,
    may_extract: bool,
    last: Option<(String, String, Parameters, Regex)>,
}

/// One row's call: where the search begins (`None`: behind the end), and its whole numbers.
struct Call<'a> {
    source: &'a str,
    from: Option<usize>,
    numbers: Vec<i64>,
}

impl<'a> Calls<'a> {
    /// `numbers`, then `parameters` are the arguments from `first` on.
    fn new(arguments: &'a [ArrayRef], first: usize, numbers: usize, may_extract: bool) -> Result<Self> {
        let rest = arguments.get(first..).unwrap_or_default();
        Ok(Self {
            sources: downcast(&arguments[0])?,
            patterns: downcast(&arguments[1])?,
            numbers: rest.iter().take(numbers).map(downcast).collect::<Result<_>>()?,
            parameters: rest.get(numbers).map(downcast).transpose()?,
            may_extract,
            last: None,
        })
    }

    /// The call of a row, `None` where an argument is NULL; and its pattern is in `last`.
    fn at(&mut self, row: usize) -> Result<Option<(Call<'a>, &Regex, Parameters)>> {
        let null = self.sources.is_null(row)
            || self.patterns.is_null(row)
            || self.parameters.is_some_and(|parameters| parameters.is_null(row))
            || self.numbers.iter().any(|numbers| numbers.is_null(row));
        if null {
            return Ok(None);
        }
        let (pattern, given) = (self.patterns.value(row), self.parameters.map_or("", |parameters| parameters.value(row)));
        let same = |(last, flags, ..): &(String, String, Parameters, Regex)| last == pattern && flags == given;
        if !self.last.as_ref().is_some_and(same) {
            let parameters = Parameters::parse(given, self.may_extract)?;
            self.last = Some((pattern.to_owned(), given.to_owned(), parameters, compile(pattern, parameters)?));
        }
        let source = self.sources.value(row);
        let numbers: Vec<i64> = self.numbers.iter().map(|numbers| numbers.value(row)).collect();
        let from = byte_of(source, numbers.first().copied().unwrap_or(1));
        let Some((.., parameters, regex)) = &self.last else { return Err(Error::internal("a pattern was not compiled")) };
        Ok(Some((Call { source, from, numbers }, regex, *parameters)))
    }
}

/// The byte at which a character begins, counted from 1; `None` behind the last one.
fn byte_of(source: &str, position: i64) -> Option<usize> {
    let Ok(before @ 1..) = usize::try_from(position.saturating_sub(1)) else { return Some(0) };
    source.char_indices().nth(before).map(|(byte, _)| byte)
}

fn character_of(source: &str, byte: usize) -> i32 {
    i32::try_from(source[..byte].chars().count() + 1).unwrap_or(i32::MAX)
}

fn replace(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut calls = Calls::new(arguments, 3, 1, false)?;
    let replacements = arguments.get(2).map(downcast::<StringArray>).transpose()?;
    let mut answer = StringViewBuilder::with_capacity(calls.sources.len());
    for row in 0..calls.sources.len() {
        let replacement = match replacements {
            Some(replacements) if replacements.is_null(row) => None,
            Some(replacements) => Some(replacements.value(row)),
            None => Some(""),
        };
        match (calls.at(row)?, replacement) {
            (Some((call, regex, _)), Some(replacement)) => match call.from {
                Some(from) => answer.append_value(replace_all(call.source, from, regex, replacement)?),
                None => answer.append_value(call.source),
            },
            _ => answer.append_null(),
        }
    }
    Ok(Arc::new(answer.finish()))
}

fn replace_all(source: &str, from: usize, regex: &Regex, replacement: &str) -> Result<String> {
    let mut out = Replaced(String::with_capacity(source.len()));
    let mut copied = 0;
    for captures in captures_from(source, from, regex) {
        let Some(whole) = captures.get(0) else { continue };
        out.push(&source[copied..whole.start()])?;
        expand(&captures, replacement, &mut out)?;
        copied = whole.end();
    }
    out.push(&source[copied..])?;
    Ok(out.0)
}

/// What a replacement has made so far. It stops before it is too long for a VARCHAR: a few groups that stand often in a replacement
/// could make gigabytes of one row.
struct Replaced(String);

impl Replaced {
    fn push(&mut self, text: &str) -> Result<()> {
        let bytes = self.0.len() + text.len();
        if bytes > VARCHAR_LENGTH_MAX_BYTES as usize {
            return Err(too_long("regexp_replace", bytes));
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// `\1` and `$1` stand for groups, `\\` for a backslash; all else for itself.
fn expand(captures: &Captures<'_>, replacement: &str, out: &mut Replaced) -> Result<()> {
    let mut rest = replacement.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek().copied()) {
            ('\\' | '$', Some(digit @ '0'..='9')) => {
                rest.next();
                let group = digit.to_digit(10).unwrap_or(0) as usize;
                out.push(captures.get(group).map_or("", |group| group.as_str()))?;
            }
            ('\\', Some(plain @ ('\\' | '$'))) => {
                rest.next();
                out.push(plain.encode_utf8(&mut [0; 4]))?;
            }
            _ => out.push(c.encode_utf8(&mut [0; 4]))?,
        }
    }
    Ok(())
}

/// Matches that do not overlap, from a byte on; what is before it still counts for `^` and `\b`.
fn captures_from<'s, 'r>(source: &'s str, from: usize, regex: &'r Regex) -> impl Iterator<Item = Captures<'s>> + use<'s, 'r> {
    let mut next = Some(from);
    let mut last_end = None;
    std::iter::from_fn(move || {
        loop {
            let captures = regex.captures_at(source, next?)?;
            let whole = captures.get(0)?;
            next = match whole.is_empty() {
                false => Some(whole.end()),
                // Behind an empty match the search goes on with the next character.
                true => source[whole.end()..].chars().next().map(|c| whole.end() + c.len_utf8()),
            };
            // Nothing right behind a match is no match of its own.
            let counts = !whole.is_empty() || last_end != Some(whole.end());
            last_end = Some(whole.end());
            if counts {
                return Some(captures);
            }
        }
    })
}

fn count(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut calls = Calls::new(arguments, 2, 1, false)?;
    let values = (0..calls.sources.len()).map(|row| {
        let Some((call, regex, _)) = calls.at(row)? else { return Ok(None) };
        let matches = call.from.map_or(0, |from| captures_from(call.source, from, regex).count());
        Ok(Some(i32::try_from(matches).unwrap_or(i32::MAX)))
    });
    Ok(Arc::new(Int32Array::from(values.collect::<Result<Vec<_>>>()?)))
}

/// The wanted occurrence: bytes of the match, or of its first group.
fn occurrence(call: &Call<'_>, regex: &Regex, parameters: Parameters) -> Option<std::ops::Range<usize>> {
    let wanted = call.numbers.get(1).copied().unwrap_or(1);
    let index = usize::try_from(wanted.checked_sub(1)?).ok()?;
    let captures = captures_from(call.source, call.from?, regex).nth(index)?;
    let group = usize::from(parameters.group && captures.len() > 1);
    captures.get(group).map(|found| found.range())
}

fn instr(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut calls = Calls::new(arguments, 2, 3, true)?;
    let values = (0..calls.sources.len()).map(|row| {
        let Some((call, regex, parameters)) = calls.at(row)? else { return Ok(None) };
        let behind = call.numbers.get(2).is_some_and(|option| *option != 0);
        let found = occurrence(&call, regex, parameters);
        Ok(Some(found.map_or(0, |found| character_of(call.source, if behind { found.end } else { found.start }))))
    });
    Ok(Arc::new(Int32Array::from(values.collect::<Result<Vec<_>>>()?)))
}

/// No match is an empty string; an occurrence that there is not, among others, is NULL.
fn substr(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut calls = Calls::new(arguments, 2, 2, true)?;
    let mut answer = StringViewBuilder::with_capacity(calls.sources.len());
    for row in 0..calls.sources.len() {
        let Some((call, regex, parameters)) = calls.at(row)? else {
            answer.append_null();
            continue;
        };
        let first = call.numbers.get(1).copied().unwrap_or(1) == 1;
        match occurrence(&call, regex, parameters) {
            Some(found) => answer.append_value(&call.source[found]),
            None if first => answer.append_value(""),
            None => answer.append_null(),
        }
    }
    Ok(Arc::new(answer.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;

    fn text(value: &str) -> ArrayRef {
        Arc::new(StringArray::from(vec![value]))
    }

    fn number(value: i64) -> ArrayRef {
        Arc::new(Int64Array::from(vec![value]))
    }

    fn replaced(arguments: &[ArrayRef]) -> Result<String> {
        Ok(replace(arguments)?.as_string_view().value(0).to_owned())
    }

    #[test]
    fn every_occurrence_is_replaced() {
        assert_eq!(replaced(&[text("2024-01-02"), text("-"), text("")]).unwrap(), "20240102");
        assert_eq!(replaced(&[text("2024-01-02"), text("-")]).unwrap(), "20240102");
        assert_eq!(
            replaced(&[text("the fox"), text("FOX"), text("quick brown fox"), number(1), text("i")]).unwrap(),
            "the quick brown fox"
        );
        assert_eq!(replaced(&[text("äöäö"), text("ö"), text("o"), number(3)]).unwrap(), "äöäo");
        assert_eq!(replaced(&[text("abc"), text("b"), text("x"), number(9)]).unwrap(), "abc");
        assert_eq!(replaced(&[text("ab"), text("(a)(b)"), text("$2-\\1")]).unwrap(), "b-a");
        assert_eq!(replaced(&[text("abc"), text("x*"), text("-")]).unwrap(), "-a-b-c-");
        assert_eq!(replaced(&[text("baac"), text("a*"), text("-")]).unwrap(), "-b-c-");
        assert_eq!(replaced(&[text("a1b22"), text("[0-9]+"), text("costs $\\\\")]).unwrap(), "acosts $\\bcosts $\\");
    }

    #[test]
    fn what_the_engine_cannot_do_is_named() {
        let error = replaced(&[text("ab"), text("(?=a)b"), text(""), number(1), text("p")]).unwrap_err();
        assert_eq!((error.sqlstate(), error.message.contains("look-ahead")), ("0A000", true));
        assert_eq!(replaced(&[text("ab"), text("\\d"), text(""), number(1), text("p")]).unwrap(), "ab");
        assert_eq!(replaced(&[text("ab"), text("("), text("")]).unwrap_err().sqlstate(), "2201B");
        assert_eq!(replaced(&[text("ab"), text("a"), text(""), number(1), text("g")]).unwrap_err().sqlstate(), "22023");
    }

    #[test]
    fn positions_count_characters() {
        let at = |arguments: &[ArrayRef]| downcast::<Int32Array>(&instr(arguments).unwrap()).unwrap().value(0);
        assert_eq!(at(&[text("äb1c2"), text("[0-9]")]), 3);
        assert_eq!(at(&[text("äb1c2"), text("[0-9]"), number(1), number(2)]), 5);
        assert_eq!(at(&[text("äb1c2"), text("[0-9]"), number(1), number(1), number(1)]), 4);
        assert_eq!(at(&[text("äb1c2"), text("C([0-9])"), number(1), number(1), number(0), text("ie")]), 5);
        assert_eq!(at(&[text("abc"), text("x")]), 0);
        let sub = |arguments: &[ArrayRef]| {
            let answer = substr(arguments).unwrap();
            answer.is_valid(0).then(|| answer.as_string_view().value(0).to_owned())
        };
        assert_eq!(sub(&[text("a1b22"), text("[0-9]+"), number(3)]).as_deref(), Some("22"));
        assert_eq!(sub(&[text("a1b22"), text("x")]).as_deref(), Some(""));
        assert_eq!(sub(&[text("a1b22"), text("[0-9]+"), number(1), number(3)]), None);
        assert_eq!(sub(&[text("k=v"), text("k=(.)"), number(1), number(1), text("e")]).as_deref(), Some("v"));
        let n = count(&[text("abcabc"), text("B"), number(3), text("i")]).unwrap();
        assert_eq!(downcast::<Int32Array>(&n).unwrap().value(0), 1);
    }
}
