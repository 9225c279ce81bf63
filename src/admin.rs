//! `slipher admin`: looks at data directories while nothing runs on them.

use crate::cli::{AdminCommand, CheckOptions};
use slipher_common::finding::Finding;
use slipher_common::ids::SegmentId;
use slipher_common::{Error, ErrorKind, Result};
use slipher_compute::store::{self, ExpectedSegment};
use slipher_leader::side_files::SideFiles;
use slipher_meta::State;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Runs a command of the administrator's.
pub fn run(command: &AdminCommand) -> Result<ExitCode> {
    match command {
        AdminCommand::Check(options) => check(options),
    }
}

/// What a directory is.
enum Kind {
    /// Of a leader, with its metadata in here.
    Leader(PathBuf),
    /// Of a compute node.
    Node,
}

fn kind_of(dir: &Path) -> Result<Kind> {
    if dir.join("node.id").exists() || dir.join("segments").exists() {
        return Ok(Kind::Node);
    }
    let meta = [dir.join("meta"), dir.to_owned()];
    let holds_metadata = |dir: &PathBuf| ["db", "witness"].iter().any(|file| dir.join(file).exists());
    meta.into_iter().find(holds_metadata).map(Kind::Leader).ok_or_else(|| {
        Error::new(ErrorKind::UndefinedFile, format!("\"{}\" is no data directory of a leader or a compute node", dir.display()))
            .with_hint("give what the server was given as --data-dir")
    })
}

fn check(options: &CheckOptions) -> Result<ExitCode> {
    let findings = match kind_of(&options.dir)? {
        Kind::Leader(meta) if options.accept_loss => {
            tell(&slipher_meta::accept_loss(&meta)?);
            check_leader(&options.dir, &meta)?
        }
        Kind::Leader(meta) => check_leader(&options.dir, &meta)?,
        Kind::Node if options.accept_loss => {
            return Err(Error::new(ErrorKind::Config, "--accept-loss is for the data directory of a leader"));
        }
        Kind::Node => check_node(&options.dir, options.leader_dir.as_deref())?,
    };
    findings.iter().for_each(|finding| tell(&finding.to_string()));
    let damaged = findings.iter().filter(|finding| finding.fault.is_some()).count();
    tell(&if damaged == 0 { "everything is sound".to_owned() } else { format!("not sound: {damaged} of {}", findings.len()) });
    Ok(if damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A leader's metadata, and the nodes that `slipher local` keeps beside them.
fn check_leader(dir: &Path, meta: &Path) -> Result<Vec<Finding>> {
    let (mut findings, state) = slipher_meta::check(meta)?;
    if let (Some(state), Some(data_dir)) = (&state, meta.parent()) {
        findings.push(SideFiles::check(data_dir, state));
    }
    let expected = state.as_deref().map(expected_by);
    for number in 1.. {
        let node = dir.join(format!("node-{number}"));
        if !node.exists() {
            break;
        }
        findings.extend(store::check(&node, expected.as_ref())?);
    }
    Ok(findings)
}

fn check_node(dir: &Path, leader_dir: Option<&Path>) -> Result<Vec<Finding>> {
    let Some(leader_dir) = leader_dir else { return store::check(dir, None) };
    let Kind::Leader(meta) = kind_of(leader_dir)? else {
        let message = format!("--leader-dir \"{}\" is the data directory of a compute node", leader_dir.display());
        return Err(Error::new(ErrorKind::Config, message));
    };
    let (mut findings, state): (_, Option<Arc<State>>) = slipher_meta::check(&meta)?;
    findings.extend(store::check(dir, state.as_deref().map(expected_by).as_ref())?);
    Ok(findings)
}

fn expected_by(state: &State) -> BTreeMap<SegmentId, ExpectedSegment> {
    let segments = state.tables().values().flat_map(|table| table.segments.values());
    let expected = segments.map(|segment| {
        let nodes = segment.nodes.clone();
        (segment.id, ExpectedSegment { table: segment.table, bytes: segment.bytes, checksum: segment.checksum, nodes })
    });
    expected.collect()
}

/// Nobody may be listening any more.
fn tell(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
