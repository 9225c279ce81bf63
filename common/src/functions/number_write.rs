//! Writes numbers by TO_CHAR's patterns.

use super::number_pattern::{Item, Pattern};

/// Roman numerals end here.
const ROMAN_MAX: u32 = 3999;
/// Without FM, a Roman numeral is padded to this many characters.
const ROMAN_WIDTH: usize = 15;
const ROMAN: [(u32, &str); 13] = [
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
];

/// A number's digits, rounded to as many places as its pattern has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Digits {
    negative: bool,
    /// Without zeros in front; "0" alone. `None`: no number, or an infinite one.
    whole: Option<String>,
    fraction: String,
    /// The nearest whole number, for Roman numerals.
    nearest: Option<u32>,
}

impl Digits {
    /// `unscaled / 10^scale`, halves rounded away from zero.
    pub(super) fn of_decimal(unscaled: i128, scale: i8, places: usize) -> Self {
        let scale = usize::try_from(scale).unwrap_or(0);
        let text = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = text.split_at(text.len() - scale);
        Self::rounded(unscaled < 0, whole, fraction, places)
    }

    /// A float, of which so many digits count.
    pub(super) fn of_float(value: f64, places: usize, digits: usize) -> Self {
        if !value.is_finite() {
            return Self { negative: value < 0.0, whole: None, fraction: "0".repeat(places), nearest: None };
        }
        let long = format!("{:.0}", value.abs()).len();
        let exact = places.min(digits.saturating_sub(long));
        let text = format!("{:.exact$}", value.abs());
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let fraction = format!("{fraction:0<places$}");
        let zero = !whole.bytes().chain(fraction.bytes()).any(|digit| digit != b'0');
        let nearest = value.abs().round();
        Self {
            negative: value < 0.0 && !zero,
            whole: Some(whole.to_owned()),
            fraction,
            nearest: (value >= 0.0 && nearest <= f64::from(ROMAN_MAX)).then_some(nearest as u32),
        }
    }

    fn rounded(negative: bool, whole: &str, fraction: &str, places: usize) -> Self {
        let up = |kept: &str, next: Option<u8>| {
            let mut digits: Vec<u8> = kept.bytes().collect();
            let mut carry = next.is_some_and(|digit| digit >= b'5');
            for digit in digits.iter_mut().rev() {
                if !carry {
                    break;
                }
                carry = *digit == b'9';
                *digit = if carry { b'0' } else { *digit + 1 };
            }
            let text: String = digits.into_iter().map(char::from).collect();
            if carry { format!("1{text}") } else { text }
        };
        let padded = format!("{fraction:0<places$}");
        let all = up(&format!("{whole}{}", &padded[..places]), padded.as_bytes().get(places).copied());
        let (whole_rounded, fraction_rounded) = all.split_at(all.len() - places);
        let nearest = up(whole, fraction.as_bytes().first().copied()).parse().ok().filter(|_| !negative);
        let zero = all.bytes().all(|digit| digit == b'0');
        Self {
            negative: negative && !zero,
            whole: Some(whole_rounded.to_owned()),
            fraction: fraction_rounded.to_owned(),
            nearest,
        }
    }
}

/// Where a sign goes that belongs to the number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Behind,
}

struct Writer<'a> {
    pattern: &'a Pattern,
    number: &'a Digits,
    out: String,
    place: Place,
    signed: bool,
    /// A digit has been written: groups are told apart from here on.
    started: bool,
}

/// The number as the pattern has it.
pub(super) fn write(pattern: &Pattern, number: &Digits) -> String {
    if let Some(upper) = pattern.roman {
        return roman(number.nearest, upper, pattern.trimmed);
    }
    // With V the digits behind the point follow those before it.
    let (whole, fraction) = match (pattern.items.contains(&Item::Shift), &number.whole) {
        (true, Some(whole)) => (Some(format!("{whole}{}", number.fraction).trim_start_matches('0').to_owned()), String::new()),
        (_, whole) => (whole.clone(), number.fraction.clone()),
    };
    let shifted = fraction.len() < number.fraction.len();
    let places = pattern.whole + if shifted { pattern.fraction } else { 0 };
    // What does not fit is all signs.
    let filled = |count: usize| "#".repeat(count);
    let (whole, fraction) = match whole {
        Some(whole) if whole == "0" && places == 0 => (String::new(), fraction),
        Some(whole) if whole.is_empty() => ("0".to_owned(), fraction),
        Some(whole) if whole.len() <= places => (whole, fraction),
        _ => (filled(places), filled(fraction.len())),
    };
    let own = |item: &Item| matches!(item, Item::Minus | Item::PlusOrMinus);
    let plus = !number.negative && pattern.items.contains(&Item::Plus);
    let mut writer = Writer { pattern, number, out: String::new(), place: Place::Before, signed: false, started: false };
    writer.signed = pattern.items.iter().any(own) || plus;
    if let Some(at) = pattern.items.iter().position(|item| *item == Item::Sign) {
        let digits = |items: &[Item]| items.iter().any(|item| matches!(item, Item::Digit { .. }));
        let whole_follows =
            pattern.items[at..].iter().take_while(|item| **item != Item::Point).any(|item| matches!(item, Item::Digit { .. }));
        let before = whole_follows && !pattern.items[..at].contains(&Item::Point) && digits(&pattern.items[at..]);
        writer.place = if before { Place::Before } else { Place::Behind };
    }
    writer.items(places, &whole, &fraction);
    writer.out
}

impl Writer<'_> {
    fn items(&mut self, places: usize, whole: &str, fraction: &str) {
        let digit = |item: &Item| matches!(item, Item::Digit { .. } | Item::Point);
        let last = self.pattern.items.iter().rposition(digit);
        // With FM, zeros at the end go, but for those that the pattern has as such.
        let kept = if self.pattern.trimmed { self.kept_fraction(fraction) } else { fraction.len() };
        let first_zero = self.first_zero();
        let (mut index, mut behind) = (0, None::<usize>);
        for (at, item) in self.pattern.items.iter().enumerate() {
            match item {
                Item::Point => {
                    self.sign();
                    self.out.push('.');
                    behind = Some(0);
                }
                Item::Digit { .. } => match behind.as_mut() {
                    Some(place) => {
                        if *place < kept {
                            self.out.push_str(fraction.get(*place..=*place).unwrap_or("0"));
                        }
                        *place += 1;
                    }
                    None => {
                        self.whole_digit(index, places, whole, first_zero, kept == 0 && self.pattern.trimmed);
                        index += 1;
                    }
                },
                other => self.other(other),
            }
            if Some(at) == last {
                self.close();
            }
        }
    }

    /// The index of the first digit of the pattern that is 0, before the point.
    fn first_zero(&self) -> Option<usize> {
        let digits = self.pattern.items.iter().take_while(|item| **item != Item::Point);
        digits.filter(|item| matches!(item, Item::Digit { .. })).position(|item| *item == Item::Digit { zero: true })
    }

    /// How many digits behind the point FM leaves.
    fn kept_fraction(&self, fraction: &str) -> usize {
        let behind = self.pattern.items.iter().skip_while(|item| **item != Item::Point);
        let digits: Vec<bool> =
            behind.filter_map(|item| if let Item::Digit { zero } = item { Some(*zero) } else { None }).collect();
        let forced = digits.iter().rposition(|zero| *zero).map_or(0, |last| last + 1);
        fraction.trim_end_matches('0').len().max(forced)
    }

    fn whole_digit(&mut self, index: usize, places: usize, whole: &str, first_zero: Option<usize>, bare: bool) {
        let blanks = places - whole.len();
        if index >= blanks {
            // 0.5 by 9.9 is .5, but 0 by FM9.9 is 0.
            let hidden =
                whole == "0" && first_zero.is_none() && self.pattern.fraction > 0 && !self.pattern.items.contains(&Item::Shift);
            if hidden && !bare {
                self.pad();
                return;
            }
            self.sign();
            self.out.push_str(whole.get(index - blanks..=index - blanks).unwrap_or("0"));
            self.started = true;
        } else if first_zero.is_some_and(|zero| zero <= index) {
            self.sign();
            self.out.push('0');
            self.started = true;
        } else {
            self.pad();
        }
    }

    fn pad(&mut self) {
        if !self.pattern.trimmed {
            self.out.push(' ');
        }
    }

    /// The sign before the first digit, once.
    fn sign(&mut self) {
        if std::mem::replace(&mut self.signed, true) {
            return;
        }
        let anchored = self.pattern.items.contains(&Item::Sign);
        match (anchored, self.place, self.number.negative) {
            (true, Place::Before, negative) => self.out.push(if negative { '-' } else { '+' }),
            (true, ..) => {}
            (false, _, true) => self.out.push(if self.pattern.brackets { '<' } else { '-' }),
            (false, _, false) => self.pad(),
        }
    }

    /// What follows the last digit.
    fn close(&mut self) {
        if self.pattern.items.contains(&Item::Sign) && self.place == Place::Behind {
            self.out.push(if self.number.negative { '-' } else { '+' });
        } else if self.pattern.brackets {
            if self.number.negative {
                self.out.push('>');
            } else {
                self.pad();
            }
        }
    }

    fn other(&mut self, item: &Item) {
        let negative = self.number.negative;
        match item {
            Item::Group if self.started => self.out.push(','),
            Item::Group => self.pad(),
            Item::Minus if negative => self.out.push('-'),
            Item::Plus if !negative => self.out.push('+'),
            Item::Minus | Item::Plus => self.pad(),
            Item::PlusOrMinus => self.out.push(if negative { '-' } else { '+' }),
            Item::Currency => self.out.push('$'),
            Item::Ordinal { upper } if !negative && self.pattern.fraction == 0 => {
                let ending = ordinal(self.number.whole.as_deref().unwrap_or_default());
                self.out.push_str(&if *upper { ending.to_uppercase() } else { ending.to_owned() });
            }
            Item::Literal(c) => self.out.push(*c),
            _ => {}
        }
    }
}

fn ordinal(digits: &str) -> &'static str {
    let teen = digits.len() > 1 && digits.as_bytes()[digits.len() - 2] == b'1';
    match digits.as_bytes().last() {
        Some(b'1') if !teen => "st",
        Some(b'2') if !teen => "nd",
        Some(b'3') if !teen => "rd",
        _ => "th",
    }
}

fn roman(number: Option<u32>, upper: bool, trimmed: bool) -> String {
    let Some(mut rest) = number.filter(|number| (1..=ROMAN_MAX).contains(number)) else { return "#".repeat(ROMAN_WIDTH) };
    let mut numeral = String::new();
    for (value, letters) in ROMAN {
        while rest >= value {
            numeral.push_str(letters);
            rest -= value;
        }
    }
    let numeral = if upper { numeral } else { numeral.to_lowercase() };
    if trimmed { numeral } else { format!("{numeral:>ROMAN_WIDTH$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(unscaled: i128, scale: i8, pattern: &str) -> String {
        let pattern = Pattern::parse(pattern).unwrap();
        write(&pattern, &Digits::of_decimal(unscaled, scale, pattern.fraction))
    }

    #[test]
    fn numbers_are_written_as_their_patterns_say() {
        let cases = [
            (-1258, 1, "999D99S", "125.80-"),
            (-12588, 2, "$S999D99", "$-125.88"),
            (-1, 1, "99.99", "  -.10"),
            (-1, 1, "FM9.99", "-.1"),
            (1, 1, "0.9", " 0.1"),
            (12, 0, "9990999.9", "    0012.0"),
            (12, 0, "FM9990999.9", "0012."),
            (485, 0, "999", " 485"),
            (-485, 0, "999", "-485"),
            (485, 0, "9 9 9", " 4 8 5"),
            (1485, 0, "9,999", " 1,485"),
            (485, 0, "9,999", "   485"),
            (1485, 1, "999.999", " 148.500"),
            (1485, 1, "FM999.999", "148.5"),
            (1485, 1, "FM999.990", "148.500"),
            (-485, 0, "999S", "485-"),
            (-485, 0, "999MI", "485-"),
            (485, 0, "999MI", "485 "),
            (485, 0, "FM999MI", "485"),
            (485, 0, "PL999", "+485"),
            (485, 0, "SG999", "+485"),
            (-485, 0, "SG999", "-485"),
            (-485, 0, "9SG99", "4-85"),
            (-485, 0, "999PR", "<485>"),
            (485, 0, "L999", "$ 485"),
            (61880, 2, "l99999D99", "$   618.80"),
            (485, 0, "RN", "        CDLXXXV"),
            (485, 0, "FMRN", "CDLXXXV"),
            (61880, 2, "rn", "          dcxix"),
            (482, 0, "999th", " 482nd"),
            (11, 0, "99TH", " 11TH"),
            (485, 0, "\"Good number:\"999", "Good number: 485"),
            (4858, 1, "\"Pre:\"999\" Post:\" .999", "Pre: 485 Post: .800"),
            (12, 0, "99V999", " 12000"),
            (124, 1, "99V999", " 12400"),
            (1245, 2, "99V9", " 125"),
            (1234, 0, "999", " ###"),
            (-12345, 2, "99.99", "-##.##"),
            (9996, 1, "9999", " 1000"),
            (9996, 1, "999", " ###"),
            (0, 0, "999", "   0"),
            (0, 0, "9.9", "  .0"),
            (0, 0, "FM9.9", "0."),
            (5, 1, ".99", " .50"),
            (-4, 2, "9.9", "  .0"),
            (125, 0, "S999", "+125"),
            (4000, 0, "RN", "###############"),
            (0, 0, "00000", " 00000"),
        ];
        for (unscaled, scale, pattern, expected) in cases {
            assert_eq!(decimal(unscaled, scale, pattern), expected, "{unscaled} {scale} {pattern}");
        }
    }

    #[test]
    fn floats_have_as_many_digits_as_count() {
        let float = |value: f64, pattern: &str| {
            let pattern = Pattern::parse(pattern).unwrap();
            write(&pattern, &Digits::of_float(value, pattern.fraction, 15))
        };
        assert_eq!(float(125.8, "999D99"), " 125.80");
        assert_eq!(float(-0.001, "9.9"), "  .0");
        assert_eq!(float(1e20, "999"), " ###");
        assert_eq!(float(f64::NAN, "99.9"), " ##.#");
        assert_eq!(float(5.2, "FMRN"), "V");
        assert_eq!(float(123_456_789_012_345.67, "999999999999999.99"), " 123456789012346.00");
    }
}
