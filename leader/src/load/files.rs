//! COPY's files: found below the configured directory, and dealt to the lanes of all compute nodes.

use crate::plan::context::QueryContext;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use slipher_common::assign::{can_split_delimited, normalize_load_schema};
use slipher_common::catalog::Table;
use slipher_common::plan::{FileFormat, FileRef, FileScanExec};
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::plan::CsvOptions;
use slipher_sql::{CopyFormat, CopySpec};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files are cut into ranges of about this size, so that several lanes read one: a Parquet row group goes to the range that holds its
/// middle, a line of text to the range it starts in.
const FILE_RANGE_BYTES: u64 = 16 << 20;
/// Files one COPY may read.
const COPY_FILES_MAX: usize = 100_000;

/// The files of one COPY as a table.
#[derive(Debug)]
pub(super) struct FileTable {
    schema: SchemaRef,
    format: FileFormat,
    tasks: Vec<Vec<Vec<FileRef>>>,
    lanes: usize,
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::clone(&self.schema);
        Ok(Arc::new(FileScanExec::try_new(schema, projection, self.format.clone(), self.tasks.clone(), self.lanes)?))
    }
}

/// Finds the files of `spec`, learns their schema, and deals them to lanes.
pub(super) async fn plan_files(
    load_dir: Option<&Path>,
    spec: &CopySpec,
    table: &Table,
    targets: &[usize],
    query: Arc<QueryContext>,
) -> Result<FileTable> {
    let root = load_dir.map(Path::to_owned).ok_or_else(|| {
        Error::new(ErrorKind::NotSupported, "COPY from files is switched off: no load directory is configured")
            .with_hint("start the leader with --load-dir DIR (SLIPHER_LOAD_DIR)")
    })?;
    let (source, position) = (spec.source.clone(), spec.source_position);
    let found = tokio::task::spawn_blocking(move || find_files(&root, &source))
        .await
        .map_err(|error| Error::internal(format!("looking for files: {error}")))?
        .map_err(|error| error.at(position))?;
    let columns: Vec<_> = targets.iter().map(|index| &table.columns[*index]).collect();
    let (schema, format, ranges) = match &spec.format {
        CopyFormat::Parquet => {
            let first = found[0].0.clone();
            let schema = tokio::task::spawn_blocking(move || parquet_schema(&first))
                .await
                .map_err(|error| Error::internal(format!("reading a Parquet footer: {error}")))??;
            if schema.fields().len() != columns.len() {
                return Err(Error::new(ErrorKind::DatatypeMismatch, "the files do not have the columns of the load")
                    .with_detail(format!(
                        "\"{}\" has {} columns, the load names {} of table \"{}\"",
                        found[0].0.display(),
                        schema.fields().len(),
                        columns.len(),
                        table.name
                    ))
                    .with_hint("Parquet columns are loaded by position: name the table's columns in their order"));
            }
            (schema, FileFormat::Parquet, cut(&found))
        }
        CopyFormat::Csv(options) => {
            let fields: Vec<_> = columns.iter().map(|column| column.sql_type.to_field(&column.name, !column.not_null)).collect();
            let ranges = if can_split_delimited(options) { cut(&found) } else { found.iter().map(whole).collect() };
            let time_zone = query.zone.as_ref().map(|zone| zone.name().to_owned()).unwrap_or_default();
            (Arc::new(Schema::new(fields)), FileFormat::Csv(CsvOptions { time_zone, ..options.clone() }), ranges)
        }
    };
    let (tasks, lanes) = (query.layout.tasks(), query.layout.lanes);
    Ok(FileTable { schema, format, tasks: deal(ranges, tasks, lanes), lanes })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The files that `source` means: one file, all files of a directory, or all whose path starts with it.
fn find_files(root: &Path, source: &str) -> Result<Vec<(PathBuf, u64)>> {
    let root = root
        .canonicalize()
        .map_err(|error| Error::io(format_args!("opening the load directory \"{}\"", root.display()), &error))?;
    let relative = source.strip_prefix("file://").unwrap_or(source);
    let wanted = root.join(relative);
    let outside = || {
        Error::new(ErrorKind::InsufficientPrivilege, format!("\"{source}\" is outside the load directory"))
            .with_hint("COPY reads files below the directory given with --load-dir only")
    };
    let parent =
        if wanted.is_dir() { wanted.clone() } else { wanted.parent().map(Path::to_owned).unwrap_or_else(|| root.clone()) };
    let parent = parent.canonicalize().map_err(|error| Error::io(format_args!("looking for files of \"{source}\""), &error))?;
    if !parent.starts_with(&root) {
        return Err(outside());
    }
    let prefix = if wanted.is_dir() {
        String::new()
    } else {
        wanted.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let listing =
        std::fs::read_dir(&parent).map_err(|error| Error::io(format_args!("listing \"{}\"", parent.display()), &error))?;
    let mut found = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|error| Error::io(format_args!("listing \"{}\"", parent.display()), &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let information =
            path.metadata().map_err(|error| Error::io(format_args!("looking at \"{}\"", path.display()), &error))?;
        let hidden = name.starts_with(['.', '_']);
        if !information.is_file() || !name.starts_with(&prefix) || (hidden && prefix.is_empty()) {
            continue;
        }
        if !path.canonicalize().is_ok_and(|real| real.starts_with(&root)) {
            return Err(outside());
        }
        found.push((path, information.len()));
    }
    // A name that is a file means that file, whatever else starts with it.
    if let Some(exact) = found.iter().find(|(path, _)| *path == parent.join(&prefix)).cloned() {
        found = vec![exact];
    }
    if found.is_empty() {
        return Err(Error::new(ErrorKind::UndefinedFile, format!("no file matches \"{source}\""))
            .with_detail(format!("looked for a file, a directory or a prefix below \"{}\"", root.display())));
    }
    if found.len() > COPY_FILES_MAX {
        return Err(Error::new(
            ErrorKind::ProgramLimit,
            format!("\"{source}\" matches {} files, more than {COPY_FILES_MAX}", found.len()),
        ));
    }
    found.sort();
    Ok(found)
}

fn parquet_schema(path: &Path) -> Result<SchemaRef> {
    let doing = || format!("reading the Parquet footer of \"{}\"", path.display());
    let file = std::fs::File::open(path).map_err(|error| Error::io(doing(), &error))?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default())
        .map_err(|error| Error::new(ErrorKind::DataCorrupted, format!("{}: {error}", doing())))?;
    Ok(normalize_load_schema(metadata.schema()))
}

fn whole((path, bytes): &(PathBuf, u64)) -> FileRef {
    FileRef { path: text(path), bytes: *bytes, range: None }
}

fn cut(files: &[(PathBuf, u64)]) -> Vec<FileRef> {
    let mut ranges = Vec::new();
    for (path, bytes) in files {
        let count = bytes.div_ceil(FILE_RANGE_BYTES).max(1);
        for part in 0..count {
            let range = (bytes * part / count, bytes * (part + 1) / count);
            ranges.push(FileRef { path: text(path), bytes: *bytes, range: Some(range) });
        }
    }
    ranges
}

/// Deals files to lanes, largest first, each to the lane with the fewest bytes.
fn deal(mut files: Vec<FileRef>, tasks: usize, lanes: usize) -> Vec<Vec<Vec<FileRef>>> {
    let size = |file: &FileRef| file.range.map_or(file.bytes, |(start, end)| end - start);
    files.sort_by_key(|file| std::cmp::Reverse(size(file)));
    let mut dealt = vec![vec![Vec::new(); lanes]; tasks];
    let mut loads = vec![0u64; tasks * lanes];
    for file in files {
        let slot = (0..loads.len()).min_by_key(|slot| (loads[*slot], slot % tasks)).unwrap_or(0);
        loads[slot] += size(&file);
        dealt[slot / lanes][slot % lanes].push(file);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_name_directory_and_prefix_and_never_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("loads");
        std::fs::create_dir_all(root.join("t")).unwrap();
        for name in ["t/a.csv", "t/a.csv.1", "t/b.csv", "t/_SUCCESS"] {
            std::fs::write(root.join(name), "x").unwrap();
        }
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), root.join("link")).unwrap();
        let count = |source: &str| find_files(&root, source).map(|found| found.len());
        assert_eq!(count("t"), Ok(3));
        assert_eq!(count("t/a.csv"), Ok(1));
        assert_eq!(count("t/a"), Ok(2));
        assert_eq!(count("file://t/b"), Ok(1));
        assert_eq!(count("../secret").unwrap_err().kind, ErrorKind::InsufficientPrivilege);
        assert_eq!(count("link").unwrap_err().kind, ErrorKind::InsufficientPrivilege);
        assert_eq!(count("t/zzz").unwrap_err().kind, ErrorKind::UndefinedFile);
    }

    #[test]
    fn files_are_dealt_by_size() {
        let file = |bytes| FileRef { path: String::new(), bytes, range: None };
        let dealt = deal(vec![file(10), file(10), file(10), file(10), file(40)], 2, 2);
        let mut loads: Vec<u64> = dealt.iter().flatten().map(|lane| lane.iter().map(|file| file.bytes).sum()).collect();
        loads.sort();
        assert_eq!(loads, [10, 10, 20, 40]);
    }
}
