//! What COPY says.

use super::names::{Name, QualifiedName};
use slipher_proto::plan::CsvOptions;
use std::fmt;

/// COPY, as it was written.
#[derive(Debug)]
pub struct CopySpec {
    /// Where rows go.
    pub table: QualifiedName,
    /// The columns the file's fields go to; empty: all, in order.
    pub columns: Vec<Name>,
    /// A path: one file, or the beginning of the names of many.
    pub source: String,
    /// Where the path stands.
    pub source_position: usize,
    /// What the files hold.
    pub format: CopyFormat,
    /// EXPLICIT_IDS: the files have values for IDENTITY columns.
    pub explicit_ids: bool,
    /// What opens an object store.
    #[cfg_attr(not(test), expect(dead_code, reason = "files below the load directory need none; a notice says so"))]
    pub(crate) access: Access,
    /// For the client: options that have no effect here.
    pub notices: Vec<String>,
}

/// What the files of a COPY hold.
#[expect(clippy::large_enum_variant, reason = "a statement has one")]
#[derive(Clone, Debug, PartialEq)]
pub enum CopyFormat {
    /// Lines of text. `null_as` is always set, `escape` empty without ESCAPE, `date_format` and `time_format` empty
    /// for the default, `compression` one of "", "gzip", "bzip2", "zstd".
    Csv(CsvOptions),
    /// Parquet.
    Parquet,
}

/// Credentials and region of an object store. `Debug` does not show secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// CREDENTIALS, or the same text made of IAM_ROLE or ACCESS_KEY_ID and the others.
    pub credentials: Option<String>,
    /// REGION.
    pub region: Option<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("credentials", &self.credentials.as_ref().map(|_| ".."))
            .field("region", &self.region)
            .finish()
    }
}
