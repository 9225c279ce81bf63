//! Optimizer rules that a session leaves out (`SET slipher_disabled_rules`): answers must be the same without them, which
//! `tests/oracles` checks.

use super::scan_filters::SEGMENT_PRUNING;
use slipher_common::error::did_you_mean;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The short way of what reads little.
pub(crate) const SHORT_WAY: &str = "short_way";
/// The setting's name.
pub(crate) const SETTING: &str = "slipher_disabled_rules";

/// Rules that make plans faster only, ours and the engine's. The others make what the engine can run at all (subqueries
/// into joins), or hold it up: without `push_down_limit` it leaves out a sort below a limit that it has not got.
const OPTIONAL: &[&str] = &[
    "common_sub_expression_eliminate",
    "date_bounds",
    "eliminate_cross_join",
    "eliminate_duplicated_expr",
    "eliminate_filter",
    "eliminate_group_by_constant",
    "eliminate_join",
    "eliminate_limit",
    "eliminate_outer_join",
    "filter_in_scans",
    "filter_null_join_keys",
    "join_order",
    "one_match",
    "optimize_projections",
    "optimize_unions",
    "propagate_empty_relation",
    "push_down_filter",
    SEGMENT_PRUNING,
    SHORT_WAY,
    "single_distinct_aggregation_to_group_by",
    "unions_to_filter",
];

/// Names of rules that are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DisabledRules(Arc<BTreeSet<String>>);

impl DisabledRules {
    /// Names with commas between them; an error for a rule that does not exist or is needed.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let checked = names.map(|name| match OPTIONAL.contains(&name) {
            true => Ok(name.to_owned()),
            false => {
                Err(Error::new(ErrorKind::InvalidParameter, format!("\"{name}\" is no optimizer rule that may be left out"))
                    .with_hint(did_you_mean(name, OPTIONAL.iter().copied())))
            }
        });
        checked.collect::<Result<_>>().map(|names| Self(Arc::new(names)))
    }

    /// Whether a rule runs.
    pub(crate) fn keep(&self, rule: &str) -> bool {
        !self.0.contains(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::date_bounds::DateBounds;
    use crate::plan::join_order::{JoinOrder, OneMatch};
    use crate::plan::scan_filters::with_filters_in_scans;
    use datafusion::optimizer::{Optimizer, OptimizerRule};
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

    #[test]
    fn optional_rules_exist() {
        let logical = Optimizer::new().rules;
        let physical = with_filters_in_scans(PhysicalOptimizer::default().rules, true);
        let mut names: BTreeSet<&str> = logical.iter().map(|rule| rule.name()).collect();
        names.extend(physical.iter().map(|rule| rule.name()));
        names.extend([JoinOrder.name(), OneMatch.name(), DateBounds.name(), SEGMENT_PRUNING, SHORT_WAY]);
        let unknown: Vec<_> = OPTIONAL.iter().filter(|name| !names.contains(*name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn names_are_checked() {
        let rules = DisabledRules::parse("join_order, push_down_filter").expect("known names");
        assert!(!rules.keep("join_order") && !rules.keep("push_down_filter") && rules.keep("optimize_projections"));
        assert!(DisabledRules::parse("").is_ok_and(|rules| rules == DisabledRules::default()));
        let error = DisabledRules::parse("decorrelate_predicate_subquery").expect_err("a needed rule");
        assert_eq!(error.kind, ErrorKind::InvalidParameter);
    }
}
