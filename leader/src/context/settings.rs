//! Session settings: SET, SHOW, RESET.

use crate::plan::disabled_rules::{self, DisabledRules};
use crate::plan::super_options::{self, SuperOptions};
use slipher_common::error::did_you_mean;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// Name and default of every setting. Those that only clients read are kept as they set them.
const SETTINGS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    (ISOLATION, "snapshot"),
    (CASE_SENSITIVE_IDENTIFIERS, "off"),
    (READ_ONLY, "off"),
    ("enable_result_cache_for_session", "on"),
    ("error_on_nondeterministic_update", "off"),
    ("extra_float_digits", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("intervalstyle", "postgres"),
    ("query_group", "default"),
    (disabled_rules::SETTING, ""),
    ("search_path", "$user, public"),
    ("standard_conforming_strings", slipher_sql::STANDARD_CONFORMING_STRINGS),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
];

/// Whether names in double quotes keep their case.
pub(crate) const CASE_SENSITIVE_IDENTIFIERS: &str = "enable_case_sensitive_identifier";
/// What blocks are that do not say what they are.
pub(crate) const ISOLATION: &str = "default_transaction_isolation";
/// Whether blocks, and statements on their own, may change nothing.
pub(crate) const READ_ONLY: &str = "default_transaction_read_only";

/// Every setting with its default, those of SUPER values among them.
fn all_settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS.iter().chain(super_options::SETTINGS).copied()
}

/// A setting's name as it is kept.
fn canonical(name: &str) -> String {
    match name.to_lowercase().as_str() {
        "transaction_isolation" => ISOLATION.to_owned(),
        "transaction_read_only" => READ_ONLY.to_owned(),
        other => other.to_owned(),
    }
}

/// The settings of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    changed: BTreeMap<String, String>,
}

impl Settings {
    /// The value, `None` for an unknown name.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let name = canonical(name);
        let default = all_settings().find(|(known, _)| *known == name)?.1;
        Some(self.changed.get(&name).cloned().unwrap_or_else(|| default.to_owned()))
    }

    /// The value that the session gave a setting; None: it has its default.
    pub(crate) fn changed(&self, name: &str) -> Option<&str> {
        self.changed.get(&canonical(name)).map(String::as_str)
    }

    /// Changes a setting.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let name = canonical(name);
        if !all_settings().any(|(known, _)| known == name) {
            return Err(unknown(&name));
        }
        check(&name, value)?;
        self.changed.insert(name, value.to_owned());
        Ok(())
    }

    /// Back to the default; of all settings without a name.
    pub(crate) fn reset(&mut self, name: Option<&str>) -> Result<()> {
        match name.map(canonical) {
            None => self.changed.clear(),
            Some(name) if all_settings().any(|(known, _)| known == name) => {
                self.changed.remove(&name);
            }
            Some(name) => return Err(unknown(&name)),
        }
        Ok(())
    }

    /// Every name and value.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        all_settings().map(|(name, _)| (name.to_owned(), self.get(name).unwrap_or_default())).collect()
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
        self.get(name).is_some_and(|value| matches!(value.to_lowercase().as_str(), "on" | "true" | "1" | "yes"))
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
    let hint = did_you_mean(name, all_settings().map(|(known, _)| known));
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

fn is_switch(lower: &str) -> bool {
    matches!(lower, "on" | "off" | "true" | "false" | "1" | "0" | "yes" | "no")
}

fn check(name: &str, value: &str) -> Result<()> {
    if name == disabled_rules::SETTING {
        return DisabledRules::parse(value).map(drop);
    }
    let lower = value.to_lowercase();
    let valid = match name {
        name if name.ends_with("_timeout") => milliseconds(value).is_some(),
        "timezone" => matches!(lower.as_str(), "utc" | "gmt" | "etc/utc" | "z" | "default"),
        "extra_float_digits" => value.parse().is_ok_and(|digits: i32| (-15..=3).contains(&digits)),
        "client_encoding" => matches!(lower.replace(['-', '_'], "").as_str(), "utf8" | "unicode"),
        "standard_conforming_strings" => lower == slipher_sql::STANDARD_CONFORMING_STRINGS,
        "datestyle" => lower.starts_with("iso"),
        ISOLATION => {
            matches!(lower.as_str(), "serializable" | "snapshot" | "repeatable read" | "read committed" | "read uncommitted")
        }
        READ_ONLY | CASE_SENSITIVE_IDENTIFIERS => is_switch(&lower),
        name if super_options::SETTINGS.iter().any(|(known, _)| *known == name) => is_switch(&lower),
        _ => true,
    };
    if valid {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidParameter, format!("invalid value for parameter \"{name}\": \"{value}\"")).with_hint(
        match name {
            "timezone" => "sessions run in UTC",
            "client_encoding" => "sessions speak UTF8",
            "extra_float_digits" => "give a whole number from -15 to 3",
            name if name.ends_with("_timeout") => "give milliseconds, or a number with ms, s, min or h",
            _ => "",
        },
    ))
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
}
