//! Which segments of a table may hold a row for which a condition is true, from what their statistics say.
//!
//! Each part of a condition is looked at for all segments at once: what it may yield for their rows ([`truth`]), which follows from the
//! bounds between which values lie ([`range`]). What nothing is known of may yield anything, so a segment is left out only where
//! the condition cannot be true: a column that the segment does not have, a bound that was not kept, a function that is not listed.
//! Deleted rows count: bounds of more rows are bounds of fewer, too.
//!
//! Values are compared by the kernels that compare them in scans, so that NaN and −0.0 have the place that they have there.

mod bounds;
mod evaluate;
mod range;
mod text;
mod truth;

pub use bounds::TableSegments;
pub use evaluate::may_hold;
