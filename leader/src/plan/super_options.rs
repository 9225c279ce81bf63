//! What a session says of SUPER values: whether what cannot be done with one is NULL or an error, and how JSON is read.

use datafusion::common::extensions_options;
use datafusion::config::ConfigExtension;

/// Navigation that leads nowhere is NULL.
pub(crate) const NAVIGATE_NULL: &str = "navigate_super_null_on_error";
/// Casts that cannot be made are NULL.
pub(crate) const CAST_NULL: &str = "cast_super_null_on_error";
/// Text that is no JSON is NULL.
pub(crate) const PARSE_NULL: &str = "parse_super_null_on_error";
/// The last one of equal attributes stays.
pub(crate) const DEDUP_ATTRIBUTES: &str = "json_parse_dedup_attributes";
/// Long strings are cut.
pub(crate) const TRUNCATE_STRINGS: &str = "json_parse_truncate_strings";

extensions_options! {
    /// The options; their defaults are Redshift's.
    pub(crate) struct SuperOptions {
        /// Navigation that leads nowhere is an error.
        pub strict_navigation: bool, default = false
        /// A cast that cannot be made is an error.
        pub strict_casts: bool, default = false
        /// What is no JSON is NULL.
        pub parse_to_null: bool, default = false
        /// The last one of equal attributes stays.
        pub dedup_attributes: bool, default = false
        /// Long strings are cut.
        pub truncate_strings: bool, default = false
    }
}

impl ConfigExtension for SuperOptions {
    const PREFIX: &'static str = "slipher_super";
}

impl SuperOptions {
    /// As settings that are on or off say.
    pub(crate) fn of(is_on: impl Fn(&str) -> bool) -> Self {
        Self {
            strict_navigation: !is_on(NAVIGATE_NULL),
            strict_casts: !is_on(CAST_NULL),
            parse_to_null: is_on(PARSE_NULL),
            dedup_attributes: is_on(DEDUP_ATTRIBUTES),
            truncate_strings: is_on(TRUNCATE_STRINGS),
        }
    }

    fn all(&self) -> [bool; 5] {
        [self.strict_navigation, self.strict_casts, self.parse_to_null, self.dedup_attributes, self.truncate_strings]
    }
}

impl PartialEq for SuperOptions {
    fn eq(&self, other: &Self) -> bool {
        self.all() == other.all()
    }
}

impl Eq for SuperOptions {}
