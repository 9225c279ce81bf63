//! What a leader that starts has to read, by all cores: one would need ten seconds and more for a million segments.

use slipher_common::{Error, Result};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

/// Things that wait for each thread that works on them: as long as that many do, whoever gives them waits.
const WAITING_PER_THREAD: usize = 2;

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn panicked() -> Error {
    Error::internal("a thread that reads the metadata panicked; its message is in the log")
}

/// Works on what `give` gives, one after the other, on as many threads as there are cores. Answers what `give` does, and what came of
/// each thing, in the order in which they were given.
pub(crate) fn spread<T: Send, R: Send, A>(
    give: impl FnOnce(&mut dyn FnMut(T)) -> Result<A>,
    work: impl Fn(T) -> R + Sync,
) -> Result<(A, Vec<R>)> {
    let threads = cores();
    let (sender, receiver) = mpsc::sync_channel::<(usize, T)>(threads * WAITING_PER_THREAD);
    let receiver = Mutex::new(receiver);
    let next = || receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
    let run = || std::iter::from_fn(next).map(|(place, thing)| (place, work(thing))).collect::<Vec<_>>();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let mut place = 0;
        let given = give(&mut |thing| {
            // Nobody takes it when the threads have panicked, which is found below.
            let _ = sender.send((place, thing));
            place += 1;
        });
        drop(sender);
        let mut done = Vec::new();
        for worker in workers {
            done.extend(worker.join().map_err(|_| panicked())?);
        }
        done.sort_unstable_by_key(|(place, _)| *place);
        Ok((given?, done.into_iter().map(|(_, result)| result).collect()))
    })
}

/// Works on all things on the other cores, while this one takes what comes of them, in their order. An error of `take` ends it.
pub(crate) fn ahead<T: Sync, R: Send>(
    things: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let threads = cores().saturating_sub(1).clamp(1, things.len().max(1));
    let (sender, receiver) = mpsc::sync_channel::<(usize, R)>(threads * WAITING_PER_THREAD);
    let next = AtomicUsize::new(0);
    let run = |sender: mpsc::SyncSender<(usize, R)>| {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            // What nobody waits for any more is not done.
            let goes_on = things.get(place).is_some_and(|thing| sender.send((place, work(thing))).is_ok());
            if !goes_on {
                return;
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| (sender.clone(), &run)).map(|(sender, run)| scope.spawn(|| run(sender))).collect();
        drop(sender);
        let taken = take_in_order(receiver, things.len(), &mut take);
        let joined: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        if joined.iter().any(Result::is_err) { Err(panicked()) } else { taken }
    })
}

fn take_in_order<R>(results: mpsc::Receiver<(usize, R)>, count: usize, take: &mut impl FnMut(R) -> Result<()>) -> Result<()> {
    let mut early = BTreeMap::new();
    for place in 0..count {
        let result = loop {
            if let Some(result) = early.remove(&place) {
                break result;
            }
            let (done, result) = results.recv().map_err(|_| panicked())?;
            early.insert(done, result);
        };
        take(result)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_what_they_are_of() {
        let given = |give: &mut dyn FnMut(u64)| {
            (0..1_000).for_each(give);
            Ok("all")
        };
        let (answer, squares) = spread(given, |number| number * number).unwrap();
        assert_eq!((answer, squares), ("all", (0..1_000).map(|number| number * number).collect::<Vec<u64>>()));
        let failed = spread(|_: &mut dyn FnMut(u64)| Err::<(), _>(Error::internal("no")), |number| number);
        assert!(failed.unwrap_err().message.contains("no"));

        let things: Vec<u64> = (0..1_000).collect();
        let mut taken = Vec::new();
        let mut keep = |number| {
            taken.push(number);
            if number == 700 { Err(Error::internal("enough")) } else { Ok(()) }
        };
        assert!(ahead(&things, |number| *number, &mut keep).unwrap_err().message.contains("enough"));
        assert_eq!(taken, things[..=700]);
        ahead(&[], |number: &u64| *number, |_| Err(Error::internal("there is none"))).unwrap();
    }

    #[test]
    fn a_thread_that_panics_is_an_error() {
        let panics = |number: &u64| if *number == 7 { panic!("on purpose") } else { *number };
        assert!(ahead(&(0..100).collect::<Vec<_>>(), panics, |_| Ok(())).is_err());
        assert!(
            spread(
                |give| {
                    (0..100).for_each(give);
                    Ok(())
                },
                |number| panics(&number)
            )
            .is_err()
        );
    }
}
