//! Opening the log: what is there is compared with what the witness says was there. What is missing is an error that says so, never a
//! shorter history.
//!
//! | found | done |
//! |---|---|
//! | nothing | a new directory: the witness is made before sled's files, so that these are never there without it |
//! | a log of format 1, no witness | taken over once: chains are added, then the witness made |
//! | a log of format 2, no witness | refused |
//! | a log that lacks something the witness says | refused |
//! | damage behind what the witness says | nobody was promised that: cut, with a line in the log |

#[cfg(test)]
mod tests;

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The name of sled's file.
const DATA_FILE: &str = "db";
/// The format before chains and witnesses.
const FORMAT_WITHOUT_WITNESS: u32 = 1;
/// So long a start waits for the lock of who used the directory before: threads of sled's let it go a little after the store is dropped.
const LOCK_PATIENCE_MS: u64 = 2_000;
/// Time between two tries.
const LOCK_RETRY_MS: u64 = 10;
/// Entries that are written at once when a log is taken over.
const TAKE_OVER_BATCH_ENTRIES: usize = 128;

/// What to do about metadata that have lost something.
const LOST_HINT: &str = "restore the whole data directory of the leader from a backup that was made while it was stopped; `slipher admin check \
DIR` says what is sound, and `slipher admin check --accept-loss DIR` goes on without what is lost";

impl SledStore {
    /// Opens the store in `directory`, which is made if it is not there.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let opened = Self::open_unnamed(directory).and_then(|mut store| {
            store.begin_boot()?;
            Ok(store)
        });
        opened.map_err(|error| name_damage(directory, error))
    }

    /// Makes what is left the whole: a new witness for it, without what does not hang together. Answers what that is.
    pub(crate) fn accept_loss(directory: &Path) -> Result<Link> {
        let accept = || {
            let former = Witness::open(directory).ok().flatten();
            let former = former.map(|witness| witness.latest().clone()).unwrap_or_default();
            let mut store = Self::attach(directory)?;
            if store.format()? != Some(FORMAT_VERSION) {
                return Err(Error::new(ErrorKind::DataCorrupted, "nothing in it can be read: it holds no format version"));
            }
            store.read_places()?;
            store.read_snapshot(&mut |_| {})?;
            store.last = store.walk(store.before_first.index, None)?;
            let mut hard_state = StoredHardState { vote: 0, ..store.hard_state };
            hard_state.term = hard_state.term.max(store.last.term).max(former.hard_state().term);
            hard_state.commit = hard_state.commit.clamp(store.before_first.index, store.last.index);
            store.append(&[], Some(&hard_state))?;
            store.sync_log()?;
            store.boot = former.boot;
            Witness::remove(directory)?;
            Witness::create(directory, Testimony { sequence: 1, ..store.testimony(store.last) })?;
            Ok(store.last)
        };
        accept().map_err(|error| name_damage(directory, error))
    }

    fn open_unnamed(directory: &Path) -> Result<Self> {
        let doing = || format!("opening \"{}\"", directory.display());
        std::fs::create_dir_all(directory).map_err(|error| Error::io(doing(), &error))?;
        let has_data = directory.join(DATA_FILE).exists();
        if !has_data && Witness::open(directory)?.is_none() {
            Witness::create(directory, Testimony { sequence: 1, ..Testimony::default() })?;
        }
        if !has_data && Witness::open(directory)?.is_some_and(|witness| !witness.latest().is_of_nothing()) {
            return Err(lost(format!("its file \"{DATA_FILE}\" is missing"), "the witness says that there was a log"));
        }
        let mut store = Self::attach(directory)?;
        match (store.format()?, Witness::open(directory)?) {
            (Some(FORMAT_VERSION), Some(witness)) => store.witness = Some(witness),
            (Some(FORMAT_VERSION), None) => {
                return Err(lost("its file \"witness\" is missing".to_owned(), "without it nobody knows how far the log went"));
            }
            (None, Some(witness)) if witness.latest().is_of_nothing() && store.tree.is_empty() => {
                store.witness = Some(witness);
                store.write_format(FORMAT_VERSION)?;
            }
            (Some(FORMAT_WITHOUT_WITNESS), None) => store.take_over(None)?,
            (Some(FORMAT_WITHOUT_WITNESS), Some(witness)) if witness.latest().takes_over => store.take_over(Some(&witness))?,
            (None | Some(FORMAT_WITHOUT_WITNESS), _) => {
                let what = format!("its file \"{DATA_FILE}\" does not hold the log that was in it");
                return Err(lost(what, "it says nothing of its format, or of the one before the witness"));
            }
            (Some(found), _) => return Err(unknown_format(found)),
        }
        store.read_places()?;
        store.judge()?;
        Ok(store)
    }

    /// sled's part, of which nothing is known yet.
    fn attach(directory: &Path) -> Result<Self> {
        let doing = || format!("opening \"{}\"", directory.join(DATA_FILE).display());
        let config = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            // Nothing is written behind our back: `flush` says when.
            .flush_every_ms(None);
        // sled checks much with assertions.
        let open = || -> Result<(sled::Db, sled::Tree)> {
            let database = locked(|| config.open().map_err(|error| open_error(&doing(), &error)))?;
            let tree = database.open_tree(TREE).map_err(|error| store_error(&doing(), &error))?;
            Ok((database, tree))
        };
        let opened = catch_unwind(AssertUnwindSafe(open));
        let (database, tree) = opened.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::DataCorrupted, format!("its file \"{DATA_FILE}\" is damaged"))
                .with_detail("the storage engine gave up; its message is in the log")
                .with_hint(LOST_HINT))
        })?;
        let data = File::open(directory.join(DATA_FILE)).map_err(|error| Error::io(doing(), &error))?;
        Ok(Self {
            directory: directory.to_owned(),
            tree,
            database,
            data,
            witness: None,
            boot: 0,
            hard_state: StoredHardState::default(),
            checkpoint: Link::default(),
            before_first: Link::default(),
            last: Link::default(),
            opened: Vec::new(),
        })
    }

    fn format(&self) -> Result<Option<u32>> {
        let stored = self.read(KEY_FORMAT)?;
        let number = |bytes: Vec<u8>| <[u8; 4]>::try_from(&bytes[..]).map(u32::from_le_bytes);
        stored.map(|bytes| number(bytes).map_err(|_| damaged(KEY_FORMAT, "it is no number"))).transpose()
    }

    fn write_format(&mut self, format: u32) -> Result<()> {
        self.write(vec![(KEY_FORMAT.to_vec(), Some(format.to_le_bytes().to_vec()))])?;
        self.sync_log()?;
        // The files themselves must survive too.
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| Error::io(format!("syncing \"{}\"", self.directory.display()), &error))
    }

    /// What the log says of itself, but for its entries.
    fn read_places(&mut self) -> Result<()> {
        let stored = self.read(KEY_HARD_STATE)?;
        self.hard_state = stored.map_or(Ok(StoredHardState::default()), |bytes| decode(KEY_HARD_STATE, &bytes))?;
        if let Some(header) = self.header()? {
            (self.before_first, self.checkpoint) = (header.link()?, header.checkpoint()?);
        }
        self.last = self.before_first;
        Ok(())
    }

    /// Follows the chain to the end of the log, keeps its entries, and answers the place of the last one. What does not follow is an error up to `promised`, and
    /// behind that is cut.
    fn walk(&mut self, promised: u64, mut look: Option<&mut dyn FnMut(Link) -> Result<()>>) -> Result<Link> {
        let mut link = self.before_first;
        let end = self.find_last_index()?.max(link.index);
        self.opened.clear();
        while link.index < end {
            match self.read_chained(link) {
                Ok((entry, next)) => {
                    self.opened.push(entry);
                    link = next;
                }
                Err(error) if link.index >= promised && error.kind == ErrorKind::DataCorrupted => {
                    self.cut_behind(link, end, &error)?;
                    break;
                }
                Err(error) => return Err(error),
            }
            if let Some(look) = &mut look {
                look(link)?;
            }
        }
        Ok(link)
    }

    fn cut_behind(&mut self, link: Link, end: u64, why: &Error) -> Result<()> {
        if self.hard_state.commit > link.index && self.witness.is_some() {
            return Err(Error::new(why.kind, format!("{}, and entry {} was committed", why.message, self.hard_state.commit)));
        }
        tracing::warn!(
            directory = %self.directory.display(),
            entries = end - link.index,
            last = link.index,
            error = %why,
            "the end of the metadata log was torn: entries that nobody was promised are cut"
        );
        let removals = self.removals(PREFIX_LOG, link.index + 1..=u64::MAX)?;
        self.write(removals)
    }

    /// Compares the log with the witness.
    fn judge(&mut self) -> Result<()> {
        let Some(testimony) = self.witness.as_ref().map(|witness| witness.latest().clone()) else {
            return Err(Error::internal("comparing the metadata log with its witness: there is none"));
        };
        let (voted, checkpoint, last) = (testimony.hard_state(), testimony.checkpoint()?, testimony.last()?);
        if self.checkpoint.index < checkpoint.index || self.checkpoint.index == checkpoint.index && self.checkpoint != checkpoint
        {
            let what = format!("its file \"{DATA_FILE}\" holds the snapshot at entry {}", self.checkpoint.index);
            let said =
                format!("the witness says that the one at entry {} is there, of term {}", checkpoint.index, checkpoint.term);
            return Err(lost(what, &said));
        }
        let differs = |link: Link| {
            let what = format!("entry {} of term {} in its file \"{DATA_FILE}\" is another one", link.index, link.term);
            lost(what, &format!("the witness knows entry {} of term {}", last.index, last.term))
        };
        if self.before_first.index == last.index && self.before_first != last {
            return Err(differs(self.before_first));
        }
        let mut look = |link: Link| if link.index == last.index && link != last { Err(differs(link)) } else { Ok(()) };
        self.last = self.walk(last.index, Some(&mut look))?;
        if self.last.index < last.index {
            let what = format!("its file \"{DATA_FILE}\" has lost entries {} to {}", self.last.index + 1, last.index);
            return Err(lost(format!("{what} of the log"), &format!("the witness says that entry {} was durable", last.index)));
        }
        let own = self.hard_state;
        let forgets = own.term < voted.term
            || own.commit < voted.commit
            || own.term == voted.term && voted.vote != 0 && own.vote != voted.vote;
        if forgets {
            let what = format!("the log knows term {}, vote {}, commit index {}", own.term, own.vote, own.commit);
            let said = format!("the witness says term {}, vote {}, commit index {}", voted.term, voted.vote, voted.commit);
            return Err(lost(format!("its file \"{DATA_FILE}\" has lost something: {what}"), &said));
        }
        self.boot = testimony.boot;
        Ok(())
    }

    /// Counts this opening, in both slots: whoever has lost the newer one counts on from the same number.
    fn begin_boot(&mut self) -> Result<()> {
        self.boot += 1;
        // What was read may be in memory only.
        self.sync_log()?;
        for _ in 0..2 {
            let testimony = self.testimony(self.last);
            self.witness_mut()?.write(testimony)?;
        }
        fail_point::synced_directory(&self.directory).map_err(|error| Error::io("syncing the metadata", &error))
    }

    /// Adds chains to a log of the format before, and makes the witness of it. A crash at any moment lets it begin again.
    fn take_over(&mut self, begun: Option<&Witness>) -> Result<()> {
        tracing::info!(directory = %self.directory.display(), "the metadata are taken over: they get chains and a witness");
        self.read_places()?;
        if let Some(header) = self.header()? {
            let body = self.read_chunks(PREFIX_SNAPSHOT, header.index)?;
            let header = SnapshotHeader { digest: Chain::digest_of(&body).to_bytes(), chain: Bytes::new(), ..header };
            self.write(vec![(KEY_SNAPSHOT.to_vec(), Some(header.encode_to_vec()))])?;
        }
        self.read_places()?;
        let mut link = self.before_first;
        let (end, mut changes) = (self.find_last_index()?.max(link.index), Vec::new());
        while link.index < end {
            let mut entry = self.read_entry(link.index + 1)?;
            link = link.to(&entry);
            entry.chain = link.chain.to_bytes();
            let chunks = chunks_of(PREFIX_LOG, entry.index, &entry.encode_to_vec());
            changes.extend(chunks.into_iter().map(|(key, value)| (key, Some(value))));
            if link.index == end || link.index.is_multiple_of(TAKE_OVER_BATCH_ENTRIES as u64) {
                self.write(std::mem::take(&mut changes))?;
            }
        }
        self.last = link;
        self.sync_log()?;
        let testimony = Testimony { sequence: 1, takes_over: true, ..self.testimony(link) };
        match begun {
            Some(begun) if !begun.latest().says_the_same_as(&testimony) => {
                let what = format!("its file \"{DATA_FILE}\" has lost something while it was taken over: it ends at entry {end}");
                return Err(lost(what, &format!("the witness says that entry {} was durable", begun.latest().last()?.index)));
            }
            Some(_) => {}
            None => Witness::create(&self.directory, testimony)?,
        }
        self.write_format(FORMAT_VERSION)?;
        self.witness = Witness::open(&self.directory)?;
        Ok(())
    }
}

/// Something that was there is not.
fn lost(what: String, witness: &str) -> Error {
    Error::new(ErrorKind::DataCorrupted, what).with_detail(witness).with_hint(LOST_HINT)
}

fn unknown_format(found: u32) -> Error {
    Error::new(ErrorKind::Config, format!("it is of format {found}, this release reads {FORMAT_VERSION}"))
        .with_hint("start the release that wrote it")
}

/// Says whose damage it is, and what to do about it.
pub(crate) fn name_damage(directory: &Path, mut error: Error) -> Error {
    let named = directory.display().to_string();
    if !error.message.contains(&named) {
        error.message = format!("opening the metadata in \"{named}\": {}", error.message);
    }
    if error.kind == ErrorKind::DataCorrupted {
        error.hint = Some(LOST_HINT.to_owned());
    }
    error
}

/// What `open` says, which is tried again while another holds the lock.
fn locked(open: impl Fn() -> Result<sled::Db>) -> Result<sled::Db> {
    let end = Instant::now() + Duration::from_millis(LOCK_PATIENCE_MS);
    loop {
        match open() {
            Err(error) if error.kind == ErrorKind::CannotConnectNow && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(LOCK_RETRY_MS));
            }
            opened => return opened,
        }
    }
}
