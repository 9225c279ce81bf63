//! How the columns of a segment are compressed: by Vortex's choice of light-weight encodings, which filters can look into, except
//! where Zstandard is asked for or worth its slower reading.

use super::statistics::ColumnShape;
use slipher_common::SqlType;
use slipher_common::catalog::{Column, Table};
use std::sync::Arc;
use vortex::compressor::BtrBlocksCompressorBuilder;
use vortex::dtype::FieldPath;
use vortex::file::WriteStrategyBuilder;
use vortex::layout::LayoutStrategy;
use vortex::session::VortexSession;

/// Mean length from which strings that hardly repeat count as free text. Comments are most of the bytes of a table and the least
/// read of it; Zstandard makes them a quarter smaller than string dictionaries do, at twice the time to read.
const FREE_TEXT_BYTES_PER_VALUE_MIN: u64 = 16;
/// Redshift's names for "the system decides".
const AUTOMATIC: &str = "auto";
const ZSTANDARD: &str = "zstd";

/// The writer of a segment whose columns have `shapes`.
pub(super) fn write_strategy(session: &VortexSession, table: &Table, shapes: &[ColumnShape]) -> Arc<dyn LayoutStrategy> {
    let mut strategy = WriteStrategyBuilder::from_session(session);
    let mut compact: Option<Arc<dyn LayoutStrategy>> = None;
    for (column, shape) in table.columns.iter().zip(shapes) {
        if wants_zstandard(column, shape) {
            let writer = compact.get_or_insert_with(|| compact_writer(session));
            strategy = strategy.with_field_writer(FieldPath::from_name(column.name_in_files()), Arc::clone(writer));
        }
    }
    strategy.build()
}

fn compact_writer(session: &VortexSession) -> Arc<dyn LayoutStrategy> {
    let compressor = BtrBlocksCompressorBuilder::from_session(session).with_compact();
    WriteStrategyBuilder::from_session(session).with_btrblocks_builder(compressor).build()
}

fn wants_zstandard(column: &Column, shape: &ColumnShape) -> bool {
    match column.encoding.as_deref() {
        Some(ZSTANDARD) => true,
        None | Some(AUTOMATIC) => {
            let text = matches!(column.sql_type, SqlType::VarChar(_) | SqlType::Char(_) | SqlType::Super | SqlType::VarByte(_));
            let hardly_repeats = shape.distinct > shape.values / 2;
            text && hardly_repeats && shape.text_bytes >= shape.values.saturating_mul(FREE_TEXT_BYTES_PER_VALUE_MIN).max(1)
        }
        // Redshift's other encodings have no counterpart: Vortex picks among light-weight ones.
        Some(_) => false,
    }
}
