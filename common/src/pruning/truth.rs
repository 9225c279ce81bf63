//! What a condition may yield for rows of each segment.

use arrow::buffer::BooleanBuffer;

/// For each segment, which of the three truth values some row may give.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Truth {
    pub(super) yes: BooleanBuffer,
    pub(super) no: BooleanBuffer,
    pub(super) null: BooleanBuffer,
}

impl Truth {
    /// Nothing is known of it.
    pub(super) fn unknown(segments: usize) -> Self {
        let all = BooleanBuffer::new_set(segments);
        Self { yes: all.clone(), no: all.clone(), null: all }
    }

    /// NOT.
    pub(super) fn negated(self) -> Self {
        Self { yes: self.no, no: self.yes, null: self.null }
    }

    /// AND. NULL needs a NULL on one side and no false on the other.
    pub(super) fn and(&self, other: &Self) -> Self {
        let not_no = |side: &Self| &side.yes | &side.null;
        Self {
            yes: &self.yes & &other.yes,
            no: &self.no | &other.no,
            null: &(&self.null & &not_no(other)) | &(&other.null & &not_no(self)),
        }
    }

    /// OR.
    pub(super) fn or(self, other: Self) -> Self {
        self.negated().and(&other.negated()).negated()
    }

    /// IS NULL, which is never NULL itself.
    pub(super) fn nulls_as_true(self) -> Self {
        let known = &self.yes | &self.no;
        Self { null: BooleanBuffer::new_unset(known.len()), yes: self.null, no: known }
    }
}
