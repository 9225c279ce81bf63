//! What holds of `apply` whatever comes: records that clients make, and such that nobody makes. `State::apply` itself looks at the whole
//! state after each record in tests ([`State::check`]).

use super::super::state::{ReadRecord, State};
use super::client::Client;
use proptest::prelude::*;
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slipher_proto::meta as proto;
use slipher_proto::meta::operation::Kind;

/// Makes a record that no client makes.
fn spoil(random: &mut StdRng, record: &mut proto::Record, index: u64) {
    let count = record.operations.len();
    match random.random_range(0..6) {
        0 => record.base_version = index + random.random_range(0..2),
        1 => record.transaction_id.truncate(random.random_range(0..16)),
        2 if count > 0 => record.operations.push(record.operations[random.random_range(0..count)].clone()),
        3 if count > 1 => record.operations.rotate_left(1),
        4 if count > 0 => record.operations[random.random_range(0..count)].kind = None,
        _ => {
            record.operations.iter_mut().filter_map(|operation| operation.kind.as_mut()).for_each(|kind| spoil_kind(random, kind))
        }
    }
}

fn spoil_kind(random: &mut StdRng, kind: &mut Kind) {
    let mut some_id = || vec![random.random_range(0..3u8); 16];
    match kind {
        Kind::ReplaceSegments(replace) => {
            replace.remove.push(some_id());
            replace.add.extend(replace.add.first().cloned());
            match random.random_bool(0.5) {
                true => replace.add.iter_mut().for_each(|segment| segment.placement_epoch += 1),
                false => replace.add.iter_mut().for_each(|segment| segment.slice_count += 1),
            }
        }
        Kind::DeleteRows(delete) => delete.segments.iter_mut().for_each(|part| part.rows.truncate(part.rows.len() / 2)),
        Kind::ChangeSliceCount(change) => change.to += 1,
        Kind::MoveSlice(moved) => moved.replicas.push(moved.owner.clone()),
        Kind::SetPlacement(placement) => placement.slices.iter_mut().for_each(|slice| slice.owner = some_id()),
        Kind::CreateTable(create) => {
            if let Some(table) = &mut create.table {
                table.columns.extend(table.columns.first().cloned());
            }
        }
        Kind::DropTable(drop) => drop.table_id += 1,
        Kind::AdvanceIdentity(advance) => advance.count = u64::MAX,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// All of a record applies or none of it; the same record again changes nothing; the frozen form is the whole state; and whoever applies
    /// the same records, from the start or from a snapshot, has the same state.
    #[test]
    fn apply_is_all_or_nothing_and_the_same_everywhere(seed in any::<u64>(), records in 1..160u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut client, mut state, mut follower) = (Client::default(), State::default(), State::default());
        for index in 1..=records {
            let (mut record, _) = client.record(&mut random, &state);
            if random.random_bool(0.25) {
                spoil(&mut random, &mut record, index);
            }
            let before = state.clone();
            let applied = state.apply(index, &record);
            // As the log has it.
            let read = ReadRecord::decode(&record.encode_to_vec()).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(&follower.apply_read(index, read), &applied);
            match applied {
                Err(_) => prop_assert_eq!(&state, &before, "a refused record left something"),
                Ok(applied) if applied.version.0 < index => prop_assert_eq!(&state, &before, "a repeated record did something"),
                Ok(applied) => {
                    prop_assert_eq!(applied.version.0, index);
                    let (mut again, repeated) = (state.clone(), state.clone().apply(index + 1, &record));
                    prop_assert_eq!(repeated.map(|applied| applied.version), Ok(applied.version));
                    prop_assert!(again.apply(index, &proto::Record::default()).is_err());
                    prop_assert_eq!(&again, &state);
                }
            }
            state.check().map_err(|error| TestCaseError::fail(error.message))?;
            if random.random_bool(0.1) {
                let joined: Vec<u8> = state.encoded_parts().flatten().collect();
                let stored = proto::State::decode(&joined[..]).map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(&stored, &state.to_proto());
                follower = State::decode(&joined).map_err(|error| TestCaseError::fail(error.message))?;
                // In pieces, whole and torn, and as earlier releases wrote it.
                let cut = random.random_range(0..joined.len());
                for encoded in [&joined[..], &joined[..cut], &state.to_proto().encode_to_vec()] {
                    let length = random.random_range(1..5_000);
                    let read = State::decode_pieces(|take| {
                        encoded.chunks(length).for_each(take);
                        Ok(())
                    });
                    prop_assert_eq!(read.map(|((), state)| state).ok(), State::decode(encoded).ok());
                }
            }
            prop_assert_eq!(&follower, &state);
        }
    }
}
