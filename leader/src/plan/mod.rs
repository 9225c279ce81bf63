//! Planning: tables, distribution, explain.

pub(crate) mod align;
mod all_tables;
mod common_types;
pub(crate) mod context;
pub(crate) mod date_bounds;
pub(crate) mod disabled_rules;
pub(crate) mod explain;
mod filters_above;
pub(crate) mod grouping_sets;
mod join_order;
pub(crate) mod known_tables;
pub(crate) mod literals;
pub(crate) mod output_types;
pub(crate) mod parameters;
pub(crate) mod parts;
mod plain_filters;
pub(crate) mod planner;
mod replaced;
pub(crate) mod scan_filters;
pub(crate) mod semantics;
pub(crate) mod subqueries;
pub(crate) mod table;
pub(crate) mod table_statistics;
pub(crate) mod threads;
pub(crate) mod tight;
pub(crate) mod write_rows;
mod yielding;
