//! Session settings: SET, SHOW, RESET.

use crate::plan::disabled_rules::{self, DisabledRules};
use crate::plan::super_options::{self, SuperOptions};
use slipher_common::assign::{UTC, Zone};
use slipher_common::error::did_you_mean;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a setting can be.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Any text.
    Text,
    /// On or off.
    Switch,
    /// A whole number in a range.
    Whole(i64, i64),
    /// A percentage, with a fraction.
    Percent,
    /// Milliseconds, or a number with a unit.
    Milliseconds,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A switch that is never on: what it would do is not there, and what to use.
    Never(&'static str, &'static str),
    /// What [`check`] knows.
    Own,
}

use Kind::{Milliseconds, Never, Own, Percent, Switch, Text, Whole, Words};

/// Name, default and kind of every setting. Those of what is not there, and those that only clients read, are kept as they are set.
const SETTINGS: &[(&str, &str, Kind)] = &[
    ("analyze_threshold_percent", "10", Percent),
    ("application_name", "", Text),
    (super_options::CAST_NULL, "on", Switch),
    ("client_encoding", "UTF8", Own),
    ("client_min_messages", "notice", Words(MESSAGES)),
    ("datestyle", "ISO, MDY", Own),
    ("default_geometry_encoding", "1", Whole(1, 4)),
    (ISOLATION, "snapshot", Words(&["serializable", "snapshot", "repeatable read", "read committed", "read uncommitted"])),
    (READ_ONLY, "off", Switch),
    (UPPERCASE_NAMES, "off", Switch),
    (DOWNCASE_DELIMITED, "on", Switch),
    (CASE_SENSITIVE_IDENTIFIERS, "off", Switch),
    ("enable_case_sensitive_super_attribute", "off", Switch),
    ("enable_result_cache_for_session", "on", Switch),
    ("enable_vacuum_boost", "off", Switch),
    ("error_on_nondeterministic_update", "off", Switch),
    ("extra_float_digits", "0", Whole(-15, 3)),
    ("idle_in_transaction_session_timeout", "0", Milliseconds),
    ("idle_session_timeout", "0", Milliseconds),
    ("intervalstyle", "postgres", Words(&["postgres"])),
    (super_options::DEDUP_ATTRIBUTES, "off", Switch),
    (super_options::TRUNCATE_STRINGS, "off", Switch),
    ("json_serialization_enable", "off", Never("JSON in place of external tables' nested columns", "cast the column to VARCHAR")),
    ("max_concurrency_scaling_clusters", "1", Whole(0, 10)),
    ("mv_enable_aqmv_for_session", "on", Switch),
    (super_options::NAVIGATE_NULL, "on", Switch),
    (super_options::PARSE_NULL, "off", Switch),
    ("pg_federation_repeatable_read", "on", Switch),
    ("query_group", "default", Text),
    (disabled_rules::SETTING, "", Own),
    ("search_path", "$user, public", Text),
    ("spectrum_enable_pseudo_columns", "on", Switch),
    ("spectrum_query_maxerror", "-1", Whole(-1, i32::MAX as i64)),
    ("standard_conforming_strings", slipher_sql::STANDARD_CONFORMING_STRINGS, Words(&[slipher_sql::STANDARD_CONFORMING_STRINGS])),
    ("statement_timeout", "0", Milliseconds),
    ("stored_proc_log_min_messages", "log", Words(MESSAGES)),
    (TIME_ZONE, UTC, Own),
    ("wlm_query_slot_count", "1", Whole(1, 50)),
];

/// How much a client wants to hear.
const MESSAGES: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "info", "notice", "warning", "error", "fatal", "panic"];

/// Context variables of one session.
const VARIABLES_MAX_COUNT: usize = 1_000;
/// Longest value of one.
const VARIABLE_MAX_BYTES: usize = 65_535;

/// Whether names in double quotes keep their case.
const CASE_SENSITIVE_IDENTIFIERS: &str = "enable_case_sensitive_identifier";
/// The same the other way round, of before.
const DOWNCASE_DELIMITED: &str = "downcase_delimited_identifier";
/// Whether names of result columns are told in upper case.
const UPPERCASE_NAMES: &str = "describe_field_name_in_uppercase";
/// The zone in which instants are read and shown.
const TIME_ZONE: &str = "timezone";
/// What blocks are that do not say what they are.
pub(crate) const ISOLATION: &str = "default_transaction_isolation";
/// Whether blocks, and statements on their own, may change nothing.
pub(crate) const READ_ONLY: &str = "default_transaction_read_only";

/// A setting's name as it is kept.
fn canonical(name: &str) -> String {
    match name.to_lowercase().as_str() {
        "transaction_isolation" => ISOLATION.to_owned(),
        "transaction_read_only" | "readonly" => READ_ONLY.to_owned(),
        other => other.to_owned(),
    }
}

fn known(name: &str) -> Option<&'static (&'static str, &'static str, Kind)> {
    SETTINGS.iter().find(|(known, ..)| *known == name)
}

/// A session's own variable: its name has a dot.
fn is_variable(name: &str) -> bool {
    name.contains('.')
}

/// The settings of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// By name; session context variables, too.
    changed: BTreeMap<String, String>,
    /// What `timezone` says, unless it is UTC.
    zone: Option<Arc<Zone>>,
}

impl Settings {
    /// The value, `None` for an unknown name.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let name = canonical(name);
        let value = self.changed.get(&name).map(String::as_str);
        value.or_else(|| known(&name).map(|(_, default, _)| *default)).map(str::to_owned)
    }

    /// The value that the session gave a setting; None: it has its default.
    pub(crate) fn changed(&self, name: &str) -> Option<&str> {
        self.changed.get(&canonical(name)).map(String::as_str)
    }

    /// Changes a setting.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let name = canonical(name);
        let value = match known(&name) {
            Some((_, _, kind)) => checked(&name, *kind, value)?,
            None if is_variable(&name) => self.checked_variable(&name, value)?,
            None => return Err(unknown(&name)),
        };
        if name == TIME_ZONE {
            self.zone = Some(Zone::parse(&value)?).filter(|zone| !zone.is_utc()).map(Arc::new);
        }
        self.changed.insert(name, value);
        Ok(())
    }

    fn checked_variable(&self, name: &str, value: &str) -> Result<String> {
        let fault = if name.split('.').any(str::is_empty) {
            format!("invalid name of a session context variable: \"{name}\"")
        } else if value.len() > VARIABLE_MAX_BYTES {
            format!("session context variable \"{name}\": the value has more than {VARIABLE_MAX_BYTES} bytes")
        } else if !self.changed.contains_key(name)
            && self.changed.keys().filter(|name| is_variable(name)).count() >= VARIABLES_MAX_COUNT
        {
            format!("session context variable \"{name}\": the session has {VARIABLES_MAX_COUNT} of them already")
        } else {
            return Ok(value.to_owned());
        };
        Err(Error::new(ErrorKind::InvalidParameter, fault).with_hint("RESET name forgets a variable, RESET ALL every one"))
    }

    /// Back to the default; of all settings without a name.
    pub(crate) fn reset(&mut self, name: Option<&str>) -> Result<()> {
        let name = name.map(canonical);
        match name.as_deref() {
            None => *self = Self::default(),
            Some(name) if known(name).is_some() || self.changed.contains_key(name) => {
                self.changed.remove(name);
                if name == TIME_ZONE {
                    self.zone = None;
                }
            }
            Some(name) => return Err(unknown(name)),
        }
        Ok(())
    }

    /// Every name and value.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        let own = self.changed.keys().filter(|name| is_variable(name)).map(String::as_str);
        let names = SETTINGS.iter().map(|(name, ..)| *name).chain(own);
        names.map(|name| (name.to_owned(), self.get(name).unwrap_or_default())).collect()
    }

    /// The session's time zone; None: UTC.
    pub(crate) fn zone(&self) -> Option<Arc<Zone>> {
        self.zone.clone()
    }

    /// Whether names in double quotes keep their case.
    pub(crate) fn keeps_case_of_names(&self) -> bool {
        self.is_on(CASE_SENSITIVE_IDENTIFIERS) || !self.is_on(DOWNCASE_DELIMITED)
    }

    /// Whether names of result columns are told in upper case.
    pub(crate) fn tells_names_in_uppercase(&self) -> bool {
        self.is_on(UPPERCASE_NAMES)
    }

    /// The schemas of unqualified names.
    pub(crate) fn search_path(&self, user: &str) -> Vec<String> {
        let text = self.get("search_path").unwrap_or_default();
        text.split(',')
            .map(|part| part.trim().trim_matches(['"', '\'']))
            .filter(|part| !part.is_empty())
            .map(|part| if part == "$user" { user.to_owned() } else { part.to_owned() })
            .collect()
    }

    /// Whether a setting of on and off is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "on")
    }

    /// What is said of SUPER values.
    pub(crate) fn super_options(&self) -> SuperOptions {
        SuperOptions::of(|name| self.is_on(name))
    }

    /// Optimizer rules that are left out.
    pub(crate) fn disabled_rules(&self) -> DisabledRules {
        // It was checked when it was set.
        self.changed(disabled_rules::SETTING).and_then(|names| DisabledRules::parse(names).ok()).unwrap_or_default()
    }

    /// How long a statement may run, in milliseconds; `None`: for ever.
    pub(crate) fn statement_timeout_ms(&self) -> Option<u64> {
        self.limit_ms("statement_timeout")
    }

    /// How long a session may wait for its client, in milliseconds; `None`: for ever.
    pub(crate) fn idle_timeout_ms(&self, in_transaction: bool) -> Option<u64> {
        match in_transaction {
            true => self.limit_ms("idle_in_transaction_session_timeout"),
            false => self.limit_ms("idle_session_timeout"),
        }
    }

    fn limit_ms(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|text| milliseconds(&text)).filter(|ms| *ms > 0)
    }
}

fn unknown(name: &str) -> Error {
    if name == "slices" {
        return Error::not_supported("SET slices for a session", "ALTER SYSTEM SET slices TO n changes it for the cluster");
    }
    let hint = did_you_mean(name, SETTINGS.iter().map(|(known, ..)| *known));
    Error::new(ErrorKind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\"")).with_hint(hint)
}

/// A number of milliseconds, or one with a unit.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic()).trim_end();
    let number: u64 = digits.parse().ok()?;
    let factor = match text[digits.len()..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn invalid(name: &str, value: &str, hint: String) -> Error {
    Error::new(ErrorKind::InvalidParameter, format!("invalid value for parameter \"{name}\": \"{value}\"")).with_hint(hint)
}

/// `on` or `off`.
fn switch(value: &str) -> Option<&'static str> {
    match value.to_lowercase().as_str() {
        "on" | "true" | "t" | "1" | "yes" | "y" => Some("on"),
        "off" | "false" | "f" | "0" | "no" | "n" => Some("off"),
        _ => None,
    }
}

/// The value as it is kept.
fn checked(name: &str, kind: Kind, value: &str) -> Result<String> {
    let refuse = |hint: String| Err(invalid(name, value, hint));
    match kind {
        Text => Ok(value.to_owned()),
        Switch => switch(value).map(str::to_owned).map_or_else(|| refuse("say on or off".to_owned()), Ok),
        Whole(least, most) => match value.trim().parse::<i64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number.to_string()),
            _ => refuse(format!("give a whole number from {least} to {most}")),
        },
        Percent => match value.trim().parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(value.trim().to_owned()),
            _ => refuse("give a number from 0 to 100".to_owned()),
        },
        Milliseconds if milliseconds(value).is_some() => Ok(value.to_owned()),
        Milliseconds => refuse("give milliseconds, or a number with ms, s, min or h".to_owned()),
        Words(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(value)) {
            Some(word) => Ok((*word).to_owned()),
            None => refuse(format!("it can be {}", words.join(", "))),
        },
        Never(what, instead) => match switch(value) {
            Some("off") => Ok("off".to_owned()),
            Some(_) => Err(Error::not_supported(format_args!("{what} (SET {name} TO on)"), instead)),
            None => refuse("say on or off".to_owned()),
        },
        Own => checked_by_name(name, value),
    }
}

fn checked_by_name(name: &str, value: &str) -> Result<String> {
    let lower = value.to_lowercase();
    match name {
        disabled_rules::SETTING => DisabledRules::parse(value).map(|_| value.to_owned()),
        TIME_ZONE if matches!(lower.as_str(), "default" | "local") => Ok(UTC.to_owned()),
        TIME_ZONE => match Zone::parse(value) {
            Ok(zone) => Ok(zone.name().to_owned()),
            Err(error) => Err(invalid(name, value, error.hint.unwrap_or_default())),
        },
        "client_encoding" if matches!(lower.replace(['-', '_'], "").as_str(), "utf8" | "unicode") => Ok("UTF8".to_owned()),
        "client_encoding" => Err(invalid(name, value, "sessions speak UTF8".to_owned())),
        "datestyle" => checked_date_style(name, value),
        _ => Err(Error::internal(format!("there is no rule for the setting {name}"))),
    }
}

/// Dates are written as ISO 8601 says, and where a text does not say which of its numbers is what, month, day and year.
fn checked_date_style(name: &str, value: &str) -> Result<String> {
    for word in value.split(',').map(str::trim) {
        match word.to_lowercase().as_str() {
            "iso" | "mdy" | "us" | "noneuro" | "noneuropean" | "default" => {}
            "postgres" | "sql" | "german" => {
                let instead = "dates are written as ISO 8601 says; TO_CHAR writes them in any other form";
                return Err(Error::not_supported(format_args!("DateStyle {word}"), instead));
            }
            "dmy" | "ymd" | "euro" | "european" => {
                let instead = "write dates as year-month-day, or read them with TO_DATE and a pattern";
                return Err(Error::not_supported(format_args!("DateStyle {word}"), instead));
            }
            _ => return Err(invalid(name, value, "say ISO, MDY".to_owned())),
        }
    }
    Ok("ISO, MDY".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_and_reset() {
        let mut settings = Settings::default();
        assert_eq!(settings.search_path("ann"), ["ann", "public"]);
        settings.set("Search_Path", "analytics, \"Public\"").unwrap();
        assert_eq!(settings.search_path("ann"), ["analytics", "Public"]);
        settings.set("statement_timeout", "2min").unwrap();
        assert_eq!(settings.statement_timeout_ms(), Some(120_000));
        assert_eq!(settings.set("statment_timeout", "1").unwrap_err().hint.unwrap(), "did you mean \"statement_timeout\"?");
        assert!(settings.set("timezone", "Mars").is_err());
        settings.set("idle_session_timeout", "10s").unwrap();
        assert_eq!((settings.idle_timeout_ms(false), settings.idle_timeout_ms(true)), (Some(10_000), None));
        assert!(settings.set("idle_session_timeout", "soon").is_err());
        settings.reset(None).unwrap();
        assert_eq!(settings.statement_timeout_ms(), None);
    }

    #[test]
    fn every_default_is_a_value() {
        let mut settings = Settings::default();
        for (name, default, _) in SETTINGS {
            settings.set(name, default).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(settings.get(name).as_deref(), Some(*default), "{name}");
        }
    }

    #[test]
    fn names_with_a_dot_are_the_sessions_own() {
        let mut settings = Settings::default();
        settings.set("App.User", "eva").unwrap();
        assert_eq!(settings.get("app.user").as_deref(), Some("eva"));
        assert_eq!(settings.set("app.", "x").unwrap_err().sqlstate(), "22023");
        settings.reset(Some("app.user")).unwrap();
        assert_eq!(settings.get("app.user"), None);
        assert_eq!(settings.reset(Some("app.user")).unwrap_err().sqlstate(), "42704");
    }
}
