//! Rows that are kept as the JSON they are sent as: what they take is what is counted.

use serde_json::Value;
use slipher_common::{Error, Result};

/// Rows of one result.
#[derive(Debug, Default)]
pub(super) struct KeptRows {
    batches: Vec<Batch>,
    count: usize,
}

/// Some of them, one behind the other.
#[derive(Debug)]
pub(super) struct Batch {
    text: Box<str>,
    /// Where each ends.
    ends: Box<[usize]>,
}

impl Batch {
    /// `rows` as JSON.
    pub(super) fn new(rows: &[Value]) -> Result<Self> {
        let mut text = Vec::new();
        let mut ends = Vec::with_capacity(rows.len());
        for row in rows {
            serde_json::to_writer(&mut text, row).map_err(|error| Error::internal(format!("writing a row: {error}")))?;
            ends.push(text.len());
        }
        let text = String::from_utf8(text).map_err(|error| Error::internal(format!("writing a row: {error}")))?;
        Ok(Self { text: text.into(), ends: ends.into() })
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + size_of_val(self.ends.as_ref()) + size_of::<Self>()
    }

    fn row(&self, index: usize) -> Option<&str> {
        let start = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.text.get(start..*self.ends.get(index)?)
    }
}

impl KeptRows {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// What they take.
    pub(super) fn bytes(&self) -> usize {
        self.batches.iter().map(Batch::bytes).sum()
    }

    /// Keeps some more.
    pub(super) fn push(&mut self, batch: Batch) {
        self.count += batch.ends.len();
        self.batches.push(batch);
    }

    /// Writes the elements of a JSON array, without its brackets: at most `limit` rows from `offset` on; answers how many.
    pub(super) fn write_page(&self, offset: usize, limit: usize, out: &mut String) -> usize {
        let mut skipped = offset;
        let mut written = 0;
        for batch in &self.batches {
            let rows = batch.ends.len();
            for index in skipped.min(rows)..rows {
                let Some(row) = batch.row(index).filter(|_| written < limit) else { return written };
                if written > 0 {
                    out.push(',');
                }
                out.push_str(row);
                written += 1;
            }
            skipped = skipped.saturating_sub(rows);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pages_are_parts_of_all_rows() {
        let all: Vec<Value> = (0..10).map(|number| json!([number, "a\"ä"])).collect();
        let mut rows = KeptRows::default();
        for batch in [&all[..3], &[], &all[3..9], &all[9..]] {
            rows.push(Batch::new(batch).unwrap());
        }
        assert_eq!(rows.len(), 10);
        for offset in 0..12 {
            for limit in 0..12 {
                let mut page = String::from("[");
                let count = rows.write_page(offset, limit, &mut page);
                page.push(']');
                let expected: Vec<Value> = all.iter().skip(offset).take(limit).cloned().collect();
                assert_eq!((count, serde_json::from_str::<Vec<Value>>(&page).unwrap()), (expected.len(), expected));
            }
        }
    }
}
