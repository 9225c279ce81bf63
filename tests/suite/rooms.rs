//! The order of the house: which file uses which, read from the text of all crates. No file uses one that uses it, directly or through
//! others, no room (a folder or file at the top of a crate) does, and the leader's rooms stand on floors.
//!
//! A name counts for the file that defines it: handing it on with `pub use` is no use. The file of a folder (`mod.rs`) holds what the
//! files inside share, and hands work out to them: to those it is no other file. Tests may use everything.

mod source;
mod tokens;

use source::{Crate, OwnCrate, Use};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

const CRATES: &[&str] = &["common/src", "compute/src", LEADER, "leader/meta/src", "leader/sql/src", "proto/src", "src"];

const LEADER: &str = "leader/src";

/// Rooms of the leader that are crates of their own: what paths call them, and where they are.
const LEADER_CRATES: &[(&str, &str, &str)] =
    &[("sql", "slipher_sql", "leader/sql/src"), ("meta", "slipher_meta", "leader/meta/src")];

/// The leader's rooms by floors, the lowest first. A room uses those on floors below its own only.
const LEADER_FLOORS: &[&[&str]] = &[
    // Text, passwords and the state of everything: each for itself.
    &["sql", "users", "meta"],
    // What the state says of segments, in files beside it.
    &["side_files"],
    // What names in queries are, where the nodes are, what endpoints see.
    &["bind", "cluster", "frontend"],
    &["plan"],
    &["telemetry", "transaction"],
    &["catalog"],
    &["run"],
    &["load"],
    &["upkeep"],
    &["context"],
    &["statement"],
    &["session", "wire"],
    &["server"],
];

/// Uses that close a circle and shall go: the crate, who, and whom. One that is gone must be taken out of here.
const KNOWN: &[(&str, &str, &str)] = &[
    // The list of all functions stands in the room of some.
    ("common/src", "functions/mod.rs", "list_agg.rs"),
    ("common/src", "functions/mod.rs", "part/first.rs"),
    ("common/src", "functions/mod.rs", "part/mod.rs"),
    // The register of running queries stands in the room of the service.
    ("compute/src", "service/mod.rs", "runtime.rs"),
    ("compute/src", "service/rows.rs", "runtime.rs"),
];

#[test]
fn no_file_and_no_room_uses_one_that_uses_it() {
    let mut report = String::new();
    for folder in CRATES {
        let uses = read(folder).uses;
        let by_file = |one: &Use| (one.from.clone(), one.to.clone());
        let by_room = |one: &Use| (one.from_room.clone(), one.to_room.clone());
        report += &circles(folder, "files", &uses, by_file);
        report += &circles(folder, "rooms", &uses, by_room);
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn every_crate_is_read() {
    let manifest = std::fs::read_to_string(place("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let members = manifest["workspace"]["default-members"].as_array().unwrap();
    let sources = members.iter().map(|member| match member.as_str().unwrap() {
        "." => "src".to_owned(),
        folder => format!("{folder}/src"),
    });
    let listed: BTreeSet<String> = CRATES.iter().map(|folder| (*folder).to_owned()).collect();
    assert_eq!(listed, sources.collect::<BTreeSet<_>>(), "the crates, as they are listed here and as they are");
    let own = LEADER_CRATES.iter().map(|(_, _, folder)| *folder);
    let of_leader = CRATES.iter().copied().filter(|folder| folder.starts_with("leader/") && *folder != LEADER);
    assert_eq!(own.collect::<BTreeSet<_>>(), of_leader.collect::<BTreeSet<_>>(), "the leader's crates");
}

#[test]
fn rooms_of_the_leader_use_floors_below_theirs() {
    let leader = read(LEADER);
    let floors: BTreeMap<&str, usize> =
        LEADER_FLOORS.iter().enumerate().flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor))).collect();
    let listed: BTreeSet<&str> = floors.keys().copied().collect();
    let there: BTreeSet<&str> = leader.rooms.iter().map(String::as_str).collect();
    assert_eq!(listed, there, "the rooms, as they are listed here and as they are");
    // The root stands above all: it hands on what other crates see.
    let floor_of = |room: &str| floors.get(room).copied().unwrap_or(usize::MAX);
    let up = |one: &&Use| one.from_room != one.to_room && floor_of(&one.from_room) <= floor_of(&one.to_room);
    let wrong: Vec<String> = leader.uses.iter().filter(up).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "uses of rooms that are not below:\n{}", wrong.join("\n"));
}

#[test]
fn known_circles_are_there() {
    for (folder, from, to) in KNOWN {
        let crate_ = read_all(folder);
        let is_there = crate_.uses.iter().any(|one| one.from == *from && one.to == *to);
        assert!(is_there, "{folder}: {from} does not use {to} any more: take it out of the list of known circles");
    }
}

/// A crate without its known circles.
fn read(folder: &str) -> Crate {
    let mut source = read_all(folder);
    let is_known = |one: &Use| KNOWN.contains(&(folder, one.from.as_str(), one.to.as_str()));
    source.uses.retain(|one| !is_known(one));
    assert!(!source.files.is_empty(), "{folder} has no files");
    source
}

/// The leader with the rooms that are crates of their own, so that a use is seen whichever border it crosses.
fn read_all(folder: &str) -> Crate {
    let own: &[(&str, &str, &str)] = if folder == LEADER { LEADER_CRATES } else { &[] };
    let own: Vec<_> = own.iter().map(|(room, name, folder)| (room, name, place(folder))).collect();
    let own: Vec<_> = own.iter().map(|(room, name, folder)| OwnCrate { room, name, folder }).collect();
    Crate::read(&place(folder), &own).unwrap_or_else(|error| panic!("reading {folder}: {error}"))
}

fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Says who uses each other: files, or rooms.
fn circles(folder: &str, what: &str, uses: &[Use], ends: impl Fn(&Use) -> (String, String)) -> String {
    let mut next: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in uses.iter().map(&ends).filter(|(from, to)| from != to && !from.is_empty()) {
        next.entry(from).or_default().insert(to);
    }
    let reached: BTreeMap<&String, BTreeSet<&String>> = next.keys().map(|one| (one, reached_from(one, &next))).collect();
    let is_in_circle = |one: &String, other: &String| {
        let reaches = |from: &String, to: &String| reached.get(from).is_some_and(|reached| reached.contains(to));
        reaches(one, other) && reaches(other, one)
    };
    let mut report = String::new();
    let mut seen: BTreeSet<&String> = BTreeSet::new();
    for one in next.keys().filter(|one| is_in_circle(one, one)) {
        if seen.contains(one) {
            continue;
        }
        let circle: BTreeSet<&String> = next.keys().filter(|other| is_in_circle(one, other)).collect();
        let _ = writeln!(report, "\n{folder}: {} {what} use each other:", circle.len());
        for inside in uses {
            let (from, to) = ends(inside);
            if from != to && circle.contains(&from) && circle.contains(&to) {
                let _ = writeln!(report, "  {inside}");
            }
        }
        seen.extend(circle);
    }
    report
}

fn reached_from<'a>(start: &str, next: &'a BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&String> = next.get(start).into_iter().flatten().collect();
    while let Some(one) = open.pop() {
        if reached.insert(one) {
            open.extend(next.get(one).into_iter().flatten());
        }
    }
    reached
}

/// What is read of a source text.
mod reading {
    use super::*;

    fn folder_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn crate_of(files: &[(&str, &str)]) -> (tempfile::TempDir, Crate) {
        let folder = folder_of(files);
        let source = Crate::read(folder.path(), &[]).unwrap();
        (folder, source)
    }

    fn edges(source: &Crate) -> Vec<(&str, &str)> {
        source.uses.iter().map(|one| (one.from.as_str(), one.to.as_str())).collect()
    }

    #[test]
    fn names_are_followed_to_the_file_that_defines_them() {
        let (_folder, source) = crate_of(&[
            ("lib.rs", "mod a;\nmod b;\npub use a::inner::Thing;"),
            ("a/mod.rs", "pub mod inner;\npub use inner::{Thing, other as renamed};\npub fn own() {}"),
            ("a/inner.rs", "pub struct Thing;\npub fn other() { super::own(); }"),
            ("b.rs", "use crate::a::{self, Thing};\nfn f() { a::renamed(); crate::a::own(); let _ = std::mem::drop(1); }"),
        ]);
        let to_inner = source.uses.iter().filter(|one| one.from == "b.rs" && one.to == "a/inner.rs").count();
        assert_eq!(to_inner, 2);
        assert!(edges(&source).contains(&("b.rs", "a/mod.rs")));
        // Handed on by the root and by the folder; shared by the folder with its own file.
        assert!(source.uses.iter().all(|one| one.from == "b.rs"), "{:?}", edges(&source));
    }

    #[test]
    fn circles_are_found_through_others_and_tests_may_use_everything() {
        let (_folder, source) = crate_of(&[
            ("main.rs", "mod a;\nmod b;\nmod c;"),
            ("a.rs", "use crate::b::B;\npub struct A;\n#[cfg(test)]\nmod tests { use crate::c::C; }"),
            ("b.rs", "pub struct B; // crate::a::A\nconst T: &str = \"crate::c::C\"; fn f<'a>(x: &'a str) -> char { '\"' }"),
            ("c.rs", "use super::a::A;\npub struct C;\nimpl C { fn x() { super::b::B; } }"),
        ]);
        assert_eq!(edges(&source), [("a.rs", "b.rs"), ("c.rs", "a.rs"), ("c.rs", "b.rs")]);
        let ends = |one: &Use| (one.from.clone(), one.to.clone());
        assert!(circles("x", "files", &source.uses, ends).is_empty());
        let (_folder, source) = crate_of(&[
            ("main.rs", "mod a;\nmod b;\nmod c;"),
            ("a.rs", "use crate::b::B;\npub struct A;"),
            ("b.rs", "pub struct B;\nfn f() { crate::c::f(); }"),
            ("c.rs", "pub fn f() { let _ = super::a::A; }"),
        ]);
        assert!(circles("x", "files", &source.uses, ends).contains("x: 3 files use each other"));
    }

    #[test]
    fn a_room_that_is_a_crate_of_its_own_is_a_room_still() {
        let folder = folder_of(&[
            ("src/lib.rs", "mod a;\nmod b;"),
            ("src/a.rs", "use house_low::Thing;\npub struct A;\nfn f() { house_low::deep::g(); }"),
            ("src/b.rs", "pub use house_low as low;\nfn f() { low::root(); other::low::root(); }"),
            ("low/src/lib.rs", "mod deep;\nmod things;\npub use things::Thing;\npub fn root() {}"),
            ("low/src/things.rs", "pub struct Thing;\nfn f() { crate::deep::g(); crate::a::A; }"),
            ("low/src/deep.rs", "pub fn g() { super::root(); house_high::h(); }"),
            ("high/src/lib.rs", "pub fn h() { house_low::root(); }"),
        ]);
        let (low, high) = (folder.path().join("low/src"), folder.path().join("high/src"));
        let own = [
            OwnCrate { room: "low", name: "house_low", folder: &low },
            OwnCrate { room: "high", name: "house_high", folder: &high },
        ];
        let source = Crate::read(&folder.path().join("src"), &own).unwrap();
        assert_eq!(source.rooms, ["a", "b", "high", "low"].map(str::to_owned).into());
        let (things, deep, low, high) = ("low/src/things.rs", "low/src/deep.rs", "low/src/lib.rs", "high/src/lib.rs");
        let expected = [("a.rs", things), ("a.rs", deep), ("b.rs", low), (high, low), (deep, high), (things, deep)];
        assert_eq!(edges(&source), expected);
        let by_room = |one: &Use| (one.from_room.clone(), one.to_room.clone());
        assert!(circles("x", "rooms", &source.uses, by_room).contains("x: 2 rooms use each other"));
    }
}
