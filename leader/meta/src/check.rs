//! Reads all metadata of a leader that does not run, without changing them: they are copied, and the copy is opened.

use super::driver::open_replica;
use super::sled_store::SledStore;
use super::state::State;
use super::witness;
use slipher_common::finding::{self, Finding};
use slipher_common::{Error, ErrorKind, Result};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The copy is for the user who asked.
const COPY_MODE: u32 = 0o700;

/// What was found in a directory of metadata, and the state that comes of it if that can be made.
pub fn check(directory: &Path) -> Result<(Vec<Finding>, Option<Arc<State>>)> {
    let hint = "stop the leader, or check a copy that was made while it was stopped";
    let _held = finding::hold(directory, "db", "a leader", hint)?;
    let mut findings = vec![check_witness(directory)];
    let copy = Copy::of(directory)?;
    let read = catch_unwind(AssertUnwindSafe(|| read(&copy.path)));
    let read = read.unwrap_or_else(|_| Err(Error::new(ErrorKind::DataCorrupted, "reading it gave up; its message is above")));
    let name = format!("\"{}\": log and snapshot", directory.display());
    let state = match read {
        Ok((state, applied)) => {
            let segments: u64 = state.tables().values().map(|table| table.totals.all().segments).sum();
            let what = format!("{} tables, {segments} segments at version {}", state.tables().len(), state.version());
            let whole = format!("{name}: whole up to entry {applied}; {what}");
            findings.push(match state.check() {
                Ok(()) => Finding::sound(whole),
                Err(error) => Finding::damaged(whole, error.message),
            });
            Some(state)
        }
        Err(error) => {
            let whole = [Some(error.message), error.detail].into_iter().flatten().collect::<Vec<_>>().join("; ");
            let fault = whole.replace(&copy.path.display().to_string(), &directory.display().to_string());
            findings.push(Finding::damaged(name, fault));
            None
        }
    };
    Ok((findings, state))
}

/// Goes on without what is lost: the leader starts with what still hangs together. Says what that is.
pub fn accept_loss(directory: &Path) -> Result<String> {
    let kept = SledStore::accept_loss(directory)?;
    Ok(format!("\"{}\": the log ends at entry {} now; what was committed after it is lost", directory.display(), kept.index))
}

fn check_witness(directory: &Path) -> Finding {
    let name = format!("\"{}\"", directory.join(witness::FILE).display());
    match witness::count_sound(directory) {
        Ok((sound, all)) if sound == all => Finding::sound(format!("{name}: all {all} blocks")),
        Ok((0, _)) => Finding::damaged(name, "none of its blocks is sound"),
        Ok((sound, all)) => Finding::damaged(
            name,
            format!("{} of {all} blocks are not sound; they are written anew when the leader starts", all - sound),
        ),
        Err(error) => Finding::damaged(name, error.message),
    }
}

fn read(directory: &Path) -> Result<(Arc<State>, u64)> {
    let replica = open_replica(directory, None)?;
    Ok((Arc::clone(replica.state()), replica.applied_index()))
}

/// A copy that goes when it is dropped.
struct Copy {
    path: PathBuf,
}

impl Copy {
    fn of(directory: &Path) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("slipher-check-{}", std::process::id()));
        DirBuilder::new()
            .mode(COPY_MODE)
            .create(&path)
            .map_err(|error| Error::io(format!("making \"{}\"", path.display()), &error))?;
        let copy = Self { path };
        copy_files(directory, &copy.path)
            .map_err(|error| Error::io(format!("copying \"{}\" to \"{}\"", directory.display(), copy.path.display()), &error))?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // It is in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_files(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
