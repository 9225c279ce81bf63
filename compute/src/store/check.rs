//! Reads a node's data directory while no node runs on it, without changing anything.

use super::fences::Fences;
use super::verify::sum_of;
use super::{FileFault, SEGMENT_EXTENSION, list, read_id, segment_of};
use slipher_common::finding::{self, Finding};
use slipher_common::ids::{NodeId, SegmentId, TableId};
use slipher_common::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Damaged files that are told one by one.
const LISTED_FILES_MAX: usize = 100;

/// What a manifest says of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedSegment {
    /// Whose rows it holds.
    pub table: TableId,
    /// Its size.
    pub bytes: u64,
    /// XXH3-64 of all of it.
    pub checksum: u64,
    /// Where it was durable when it was committed.
    pub nodes: Vec<NodeId>,
}

/// What was found in a node's data directory. Files are compared with what the manifests expect, where somebody knows them; else they are
/// read only.
pub fn check(root: &Path, expected: Option<&BTreeMap<SegmentId, ExpectedSegment>>) -> Result<Vec<Finding>> {
    let _held = finding::hold(root, "lock", "a compute node", "stop the compute node")?;
    let mut findings = Vec::new();
    let mut look = |name: &str, looked: Result<String>| {
        let name = format!("\"{}\"", root.join(name).display());
        findings.push(match looked {
            Ok(what) => Finding::sound(format!("{name}: {what}")),
            Err(error) => Finding::damaged(name, error.message),
        });
    };
    let node = read_id(&root.join("node.id"));
    look("node.id", node.clone().and_then(|id| id.map(|id| format!("node {id}")).ok_or_else(|| missing("it is missing"))));
    let cluster = read_id(&root.join("cluster.id"));
    look("cluster.id", cluster.map(|id| id.map_or_else(|| "of no cluster yet".to_owned(), |id| format!("cluster {id}"))));
    look("fence", Fences::read(root).map(|fences| fences.describe()));
    let (files, mut faults) = check_files(root, expected)?;
    if let (Some(expected), Ok(Some(node))) = (expected, node) {
        let wanted = expected.iter().filter(|(_, segment)| segment.nodes.contains(&NodeId(node)));
        let gone = wanted.filter(|(id, segment)| files.get(id).is_none_or(|table| *table != segment.table));
        faults.extend(gone.map(|(id, segment)| (path_of(root, segment.table, *id), FileFault::Missing.to_string())));
    }
    let (dir, count) = (root.join("segments"), files.len());
    match (faults.is_empty(), expected) {
        (true, Some(_)) => findings.push(Finding::sound(format!("\"{}\": {count} files", dir.display()))),
        (true, None) => {
            let what = "can be read; to compare them with their checksums, give the leader's directory with --leader-dir";
            findings.push(Finding::sound(format!("\"{}\": {count} files {what}", dir.display())));
        }
        (false, _) => {
            let fault = format!("{} of its files are not as they should be", faults.len());
            findings.push(Finding::damaged(format!("\"{}\"", dir.display()), fault));
            let listed = faults.into_iter().take(LISTED_FILES_MAX);
            findings.extend(listed.map(|(path, fault)| Finding::damaged(format!("\"{}\"", path.display()), fault)));
        }
    }
    Ok(findings)
}

type Faults = Vec<(PathBuf, String)>;

/// All segment files, and what is wrong with them. Files that no manifest names are left to the sweep.
fn check_files(
    root: &Path,
    expected: Option<&BTreeMap<SegmentId, ExpectedSegment>>,
) -> Result<(BTreeMap<SegmentId, TableId>, Faults)> {
    let (mut files, mut faults) = (BTreeMap::new(), Vec::new());
    let segments = root.join("segments");
    if !segments.exists() {
        return Ok((files, faults));
    }
    for dir in list(&segments)?.into_iter().filter(|dir| dir.is_dir()) {
        let table = dir.file_name().and_then(|name| name.to_str()?.parse().ok()).map(TableId);
        for path in list(&dir)? {
            let (Some(segment), Some(table)) = (segment_of(&path), table) else { continue };
            files.insert(segment, table);
            let known = expected.and_then(|expected| expected.get(&segment)).filter(|known| known.table == table);
            let fault = match (sum_of(&path), known) {
                (Err(fault), _) => Some(fault),
                (Ok((found, _)), Some(known)) if found != known.bytes => Some(FileFault::Size { found }),
                (Ok((_, found)), Some(known)) if found != known.checksum => Some(FileFault::Checksum { found }),
                (Ok(_), _) => None,
            };
            faults.extend(fault.map(|fault| (path, fault.to_string())));
        }
    }
    Ok((files, faults))
}

fn path_of(root: &Path, table: TableId, segment: SegmentId) -> PathBuf {
    root.join("segments").join(table.to_string()).join(format!("{segment}.{SEGMENT_EXTENSION}"))
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::DataCorrupted, what)
}
