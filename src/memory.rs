//! How much memory there is, and who gets which part of it. What is left is for everything that is not counted: connections, metadata, files
//! that are read and written, and the allocator.

use crate::cli::ResultsArgs;
use slipher_common::ledger::LedgerLimits;
use slipher_common::{Error, ErrorKind, Result};
use std::path::Path;

/// The part of the machine's memory that is given out.
const GIVEN_PERCENT: usize = 60;
/// Of that, the leader's queries get no more than this part unless configured.
const LEADER_PARTS: usize = 4;
/// And results no more than this.
const RESULTS_PARTS: usize = 8;
const LEADER_MEMORY_MIB_DEFAULT: usize = 1024;
const QUERY_MEMORY_MIB_DEFAULT: usize = 1024;
const RESULTS_MIB_DEFAULT: usize = 512;
/// With less, a node cannot do anything.
const NODE_MEMORY_MIB_MIN: usize = 16;
/// A node gets so much, however small the machine is and however many nodes are on it.
const NODE_MEMORY_MIB_DEFAULT_MIN: usize = 128;
/// Where the machine does not say how much it has.
const UNKNOWN_MACHINE_BYTES: usize = 8 << 30;

/// The memory that is given out.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    bytes: usize,
}

impl Given {
    /// Of the machine, or of the container where that has less.
    pub fn here() -> Self {
        Self::of(machine_bytes(Path::new("/")).unwrap_or(UNKNOWN_MACHINE_BYTES))
    }

    fn of(machine_bytes: usize) -> Self {
        Self { bytes: machine_bytes / 100 * GIVEN_PERCENT }
    }

    /// Bytes of all queries on a leader.
    pub fn leader_bytes(&self, configured_mib: Option<usize>) -> usize {
        let default = (LEADER_MEMORY_MIB_DEFAULT << 20).min(self.bytes / LEADER_PARTS);
        configured_mib.map_or(default, mib)
    }

    /// Bytes of results that are kept for clients.
    pub fn results(&self, options: &ResultsArgs) -> Result<LedgerLimits> {
        let all_bytes = options.results_mib.map_or((RESULTS_MIB_DEFAULT << 20).min(self.bytes / RESULTS_PARTS), mib);
        let owner_bytes = options.user_results_mib.map_or(all_bytes / 2, mib);
        for (option, bytes) in [("--results-mib", all_bytes), ("--user-results-mib", owner_bytes)] {
            if bytes == 0 {
                return Err(Error::new(ErrorKind::Config, format!("{option} is 0: no result could be kept")));
            }
        }
        Ok(LedgerLimits { owner_bytes, all_bytes })
    }

    /// Bytes of all queries on each of `nodes` in this process, beside `others` bytes in it.
    pub fn node_bytes(&self, configured_mib: Option<usize>, nodes: usize, others: usize) -> Result<usize> {
        if let Some(configured) = configured_mib.filter(|configured| *configured < NODE_MEMORY_MIB_MIN) {
            let message = format!("--node-memory-mib is {configured}: it must be at least {NODE_MEMORY_MIB_MIN}");
            return Err(Error::new(ErrorKind::Config, message));
        }
        let default = self.bytes.saturating_sub(others) / nodes.max(1);
        Ok(configured_mib.map_or(default.max(NODE_MEMORY_MIB_DEFAULT_MIN << 20), mib))
    }
}

/// Bytes of each query on a node.
pub fn query_bytes(configured_mib: Option<usize>, node_bytes: usize) -> usize {
    mib(configured_mib.unwrap_or(QUERY_MEMORY_MIB_DEFAULT)).min(node_bytes)
}

fn mib(mib: usize) -> usize {
    mib.saturating_mul(1 << 20)
}

/// What the machine has, or what its control group may use. `root` is where both are described.
fn machine_bytes(root: &Path) -> Option<usize> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let total = read("proc/meminfo").and_then(|text| total_of(&text));
    let groups = read("proc/self/cgroup").unwrap_or_default();
    // Those above limit it, too; inside of a container its own group may be the root of what is seen.
    let limits = limit_files(&groups).into_iter().filter_map(|path| read(&path)?.trim().parse::<usize>().ok());
    limits.chain(total).min()
}

/// From /proc/meminfo.
fn total_of(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// Files with the limits of a process's control groups, from its /proc/self/cgroup: version 2 (`0::/path`) and 1 (`4:memory:/path`).
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (folder, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut path = path.trim_matches('/');
        loop {
            match path.is_empty() {
                true => files.push(format!("{folder}/{file}")),
                false => files.push(format!("{folder}/{path}/{file}")),
            }
            if path.is_empty() {
                break;
            }
            path = path.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: usize = 1 << 30;

    fn machine(files: &[(&str, &str)]) -> Option<usize> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        machine_bytes(root.path())
    }

    #[test]
    fn the_least_limit_above_a_process_is_what_it_has() {
        let total = ("proc/meminfo", "MemTotal:       24684096 kB\nMemFree:         9783916 kB\n");
        assert_eq!(machine(&[total]), Some(24_684_096 * 1024));
        assert_eq!(machine(&[]), None);
        let version_2 = ("proc/self/cgroup", "0::/a/b\n");
        let own = ("sys/fs/cgroup/a/b/memory.max", "4294967296\n");
        let above = ("sys/fs/cgroup/a/memory.max", "2147483648\n");
        let none = ("sys/fs/cgroup/a/memory.max", "max\n");
        assert_eq!(machine(&[total, version_2, own, above]), Some(2 * GIB));
        assert_eq!(machine(&[total, version_2, own, none]), Some(4 * GIB));
        assert_eq!(machine(&[total, version_2, none]), Some(24_684_096 * 1024));
        // What a container sees of the path outside of it is not there.
        let root = ("sys/fs/cgroup/memory.max", "1073741824\n");
        assert_eq!(machine(&[total, version_2, root]), Some(GIB));
        let version_1 = ("proc/self/cgroup", "4:memory:/docker/x\n3:cpuset:/\n0::/\n");
        let own = ("sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "3221225472\n");
        let root = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(machine(&[total, version_1, own, root]), Some(3 * GIB));
        assert_eq!(machine(&[total, version_1, root]), Some(24_684_096 * 1024));
    }

    #[test]
    fn all_parts_together_are_what_is_given() {
        for gib in [4, 16, 24, 512] {
            let given = Given::of(gib * GIB);
            for nodes in [1, 2, 3] {
                let results = given.results(&ResultsArgs::default()).unwrap();
                let leader = given.leader_bytes(None);
                let node = given.node_bytes(None, nodes, leader + results.all_bytes).unwrap();
                let sum = leader + results.all_bytes + nodes * node;
                assert!(sum <= gib * GIB / 100 * 61 && sum >= gib * GIB / 100 * 59, "{nodes} nodes on {gib} GiB: {sum}");
                assert!(query_bytes(None, node) <= node);
            }
        }
        assert_eq!(Given::of(24 * GIB).leader_bytes(None), GIB);
    }

    #[test]
    fn what_is_configured_counts_and_nonsense_is_refused() {
        let given = Given::of(GIB);
        assert_eq!(given.node_bytes(Some(5_000), 2, GIB).unwrap(), 5_000 << 20);
        assert_eq!(given.node_bytes(None, 2, GIB).unwrap(), NODE_MEMORY_MIB_DEFAULT_MIN << 20);
        assert_eq!(given.node_bytes(Some(1), 1, 0).unwrap_err().kind, ErrorKind::Config);
        let options = ResultsArgs { results_mib: Some(10), user_results_mib: None };
        assert_eq!(given.results(&options).unwrap(), LedgerLimits { owner_bytes: 5 << 20, all_bytes: 10 << 20 });
        let options = ResultsArgs { results_mib: Some(10), user_results_mib: Some(0) };
        assert_eq!(given.results(&options).unwrap_err().kind, ErrorKind::Config);
    }
}
