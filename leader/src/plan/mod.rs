//! Planning: tables, distribution, explain.

pub(crate) mod align;
mod all_tables;
pub(crate) mod context;
pub(crate) mod explain;
mod join_order;
pub(crate) mod literals;
pub(crate) mod parameters;
pub(crate) mod planner;
pub(crate) mod scalar_subquery;
pub(crate) mod scan_filters;
pub(crate) mod semantics;
pub(crate) mod table;
pub(crate) mod write_rows;
mod yielding;
