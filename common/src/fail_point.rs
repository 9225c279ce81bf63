//! Named steps at which tests let a process die, or its disk fill up; and copies of what was synced, so that tests can take away what
//! was not. All of it is there in builds with debug assertions only.
//!
//! `SLIPHER_FAIL_AT=segment.sync#2=abort` kills the process at the second pass of a step. `=disk_full` lets this pass and all later ones
//! fail as a full disk does, `=disk_full*3` only three of them. `SLIPHER_KEEP_SYNCED=1` keeps, beside what is synced, what a machine that
//! loses its power would keep.

use crate::{Error, Result};
use std::io;
use std::path::Path;

/// Every step of every load, in the order in which a load passes them.
pub const STEPS: &[&str] = &[
    "segment.create",
    "segment.write",
    "segment.sync",
    "segment.rename",
    "segment.publish",
    "segment.copied",
    "receipt.send",
    "commit.propose",
    "log.append",
    "log.flush",
    "witness.write",
    "log.flushed",
    "commit.apply",
    "commit.answer",
];

/// Steps that loads do not pass.
pub const OTHER_STEPS: &[&str] = &["witness.lowered"];

/// The process comes to a step. An error is what the step's own work would have failed with.
#[inline]
pub fn reach(step: &'static str) -> io::Result<()> {
    #[cfg(debug_assertions)]
    return armed::reach(step);
    #[cfg(not(debug_assertions))]
    {
        let _ = step;
        Ok(())
    }
}

/// The same for callers that do no IO themselves.
pub fn pass(step: &'static str) -> Result<()> {
    reach(step).map_err(|error| Error::io(step, &error))
}

/// All files of a directory are on the disk now.
#[inline]
pub fn synced_directory(directory: &Path) -> io::Result<()> {
    #[cfg(debug_assertions)]
    return armed::synced_directory(directory);
    #[cfg(not(debug_assertions))]
    {
        let _ = directory;
        Ok(())
    }
}

/// One file is on the disk now under its name; `root` is the directory that is told apart by tests.
#[inline]
pub fn synced_file(root: &Path, file: &Path) -> io::Result<()> {
    #[cfg(debug_assertions)]
    return armed::synced_file(root, file);
    #[cfg(not(debug_assertions))]
    {
        let _ = (root, file);
        Ok(())
    }
}

#[cfg(debug_assertions)]
mod armed {
    use std::fs;
    use std::io::{self, Write};
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Plan {
        step: String,
        pass: u64,
        /// Passes that fail as on a full disk; none: the process dies.
        failing: u64,
        passed: AtomicU64,
    }

    fn plan() -> Option<&'static Plan> {
        static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
        PLAN.get_or_init(|| read(&std::env::var("SLIPHER_FAIL_AT").ok()?)).as_ref()
    }

    fn read(text: &str) -> Option<Plan> {
        let (place, action) = text.split_once('=')?;
        let (step, pass) = place.split_once('#')?;
        assert!(super::STEPS.contains(&step) || super::OTHER_STEPS.contains(&step), "SLIPHER_FAIL_AT names no step: {step}");
        let failing = match action.split_once('*') {
            Some(("disk_full", times)) => times.parse().ok()?,
            None if action == "disk_full" => u64::MAX,
            _ => 0,
        };
        assert!(failing > 0 || action == "abort", "SLIPHER_FAIL_AT names no action: {action}");
        Some(Plan { step: step.to_owned(), pass: pass.parse().ok()?, failing, passed: AtomicU64::new(0) })
    }

    pub(super) fn reach(step: &'static str) -> io::Result<()> {
        let Some(plan) = plan().filter(|plan| plan.step == step) else { return Ok(()) };
        let pass = plan.passed.fetch_add(1, Ordering::SeqCst) + 1;
        if pass >= plan.pass && pass - plan.pass < plan.failing {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if plan.failing == 0 && pass == plan.pass {
            // Like kill -9: nobody tidies up.
            std::process::abort();
        }
        Ok(())
    }

    fn keeps() -> bool {
        static KEEPS: OnceLock<bool> = OnceLock::new();
        *KEEPS.get_or_init(|| std::env::var_os("SLIPHER_KEEP_SYNCED").is_some())
    }

    fn beside(directory: &Path, suffix: &str) -> PathBuf {
        let mut name = directory.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        directory.with_file_name(name)
    }

    /// A copy beside the directory, which is always whole: the new one takes the place of the old one at once.
    pub(super) fn synced_directory(directory: &Path) -> io::Result<()> {
        if !keeps() {
            return Ok(());
        }
        let (new, kept, old) = (beside(directory, ".copying"), beside(directory, ".synced"), beside(directory, ".outdated"));
        let _ = fs::remove_dir_all(&new);
        let _ = fs::remove_dir_all(&old);
        copy(directory, &new)?;
        if kept.exists() {
            fs::rename(&kept, &old)?;
        }
        fs::rename(&new, &kept)?;
        let _ = fs::remove_dir_all(&old);
        Ok(())
    }

    fn copy(from: &Path, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => copy(&entry.path(), &target)?,
                false => match fs::copy(entry.path(), &target) {
                    // Files that come and go are not what is kept.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    copied => copied.map(|_| ())?,
                },
            }
        }
        Ok(())
    }

    /// One line per file in a list beside the root.
    pub(super) fn synced_file(root: &Path, file: &Path) -> io::Result<()> {
        if !keeps() {
            return Ok(());
        }
        let mut list = fs::OpenOptions::new().create(true).append(true).open(beside(root, ".synced"))?;
        // In one write: lines of several threads would run into each other, and their files would count as lost.
        list.write_all(format!("{}\n", file.display()).as_bytes())
    }
}
