//! A deterministic simulation of three voters: the replica's own step logic over a network that loses, doubles and reorders
//! messages, with partitions, crashes that lose unsynced writes, and restarts. One number, the seed, decides everything.

mod client;
mod properties;
mod world;

use self::world::World;
use super::memory_store::Fault;
use std::panic::{AssertUnwindSafe, catch_unwind};

const SEEDS: u64 = 40;
const STEPS: u64 = 5_000;
/// Seeds within which a broken promise must show.
const FAULT_SEEDS: u64 = 400;

fn run(seed: u64, fault: Fault) -> Result<world::Summary, String> {
    let mut world = World::new(seed, fault);
    for _ in 0..STEPS {
        world.step()?;
    }
    world.settle()?;
    Ok(world.summary())
}

#[test]
fn three_voters_agree_whatever_happens() {
    let mut total = world::Summary::default();
    for seed in 0..SEEDS {
        let summary = run(seed, Fault::None).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        total.add(&summary);
    }
    // A simulation in which nothing happens proves nothing.
    assert!(total.acknowledged > SEEDS * 50, "{total:?}");
    assert!(total.refused > SEEDS && total.repeated > SEEDS, "{total:?}");
    assert!(total.terms > SEEDS * 3 && total.crashes > SEEDS * 5 && total.lost_writes > SEEDS, "{total:?}");
    assert!(total.installed_snapshots > SEEDS, "{total:?}");
}

#[test]
fn a_seed_repeats_itself() {
    let first = run(7, Fault::None).unwrap();
    assert_eq!(run(7, Fault::None).unwrap(), first);
    assert_ne!(run(8, Fault::None).unwrap(), first);
}

/// Runs seeds until the checks of the simulation see a fault as `wanted`; raft's own assertions may see it first.
fn assert_seen(fault: Fault, wanted: &str) {
    let mut others = Vec::new();
    for seed in 0..FAULT_SEEDS {
        match catch_unwind(AssertUnwindSafe(|| run(seed, fault))) {
            Ok(Ok(_)) => {}
            Ok(Err(violation)) if violation.contains(wanted) => return,
            Ok(Err(violation)) => others.push(violation),
            Err(_) => others.push("raft panicked".to_owned()),
        }
    }
    panic!("no seed shows {wanted:?}: {others:?}");
}

#[test]
fn it_sees_messages_that_go_out_before_the_flush() {
    assert_seen(Fault::SkipFlush, "was applied as two different ones");
}

#[test]
fn it_sees_a_voter_that_forgets_its_vote() {
    assert_seen(Fault::ForgetVote, "leads term");
}
