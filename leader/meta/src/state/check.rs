//! What must always hold in a state, whatever was applied.

use super::State;
use super::totals::{SliceCounts, Totals};
use slipher_common::ids::{DatabaseId, SegmentId, SliceId};
use slipher_common::{Error, Result};
use std::collections::BTreeSet;

impl State {
    /// Looks at everything: references in both directions, totals, the index of segments. An error is a defect of `apply`. It reads the
    /// whole state, so only tests and tools ask.
    pub fn check(&self) -> Result<()> {
        self.check_names()?;
        self.check_views()?;
        let of_nothing = self.comments.keys().find(|object| !self.is_there(**object));
        is_so(of_nothing.is_none(), || format!("a comment is about {of_nothing:?}, which is not there"))?;
        self.check_segments()?;
        self.check_placement()?;
        let newest = self.recent.in_order().into_iter().map(|(_, version)| version).max();
        is_so(newest.is_none_or(|newest| newest <= self.version), || {
            format!("a transaction is newer than version {}", self.version)
        })
    }

    /// Every name means something that says it has this name, and everything has one name.
    fn check_names(&self) -> Result<()> {
        let (mut tables, mut views) = (0, 0);
        for (id, database) in self.databases.iter() {
            is_so(*id == database.id, || format!("database {} stands under {id}", database.id))?;
            for (name, schema) in &database.schemas {
                is_so(*name == schema.name, || format!("schema \"{}\" stands under \"{name}\"", schema.name))?;
                for (name, id) in &schema.tables {
                    let table = self.tables.get(id).map(|table| &table.table);
                    let says = table.map(|table| (table.database, table.schema.as_str(), table.name.as_str(), table.id));
                    let wanted = Some((database.id, schema.name.as_str(), name.as_str(), *id));
                    is_so(says == wanted, || format!("table \"{name}\" of schema \"{}\" is {says:?}", schema.name))?;
                    is_so(!schema.views.contains_key(name), || format!("\"{name}\" is a table and a view"))?;
                    tables += 1;
                }
                for (name, id) in &schema.views {
                    let view = self.views.get(id).map(|view| &view.view);
                    let says = view.map(|view| (view.database, view.schema.as_str(), view.name.as_str(), view.id));
                    let wanted = Some((database.id, schema.name.as_str(), name.as_str(), *id));
                    is_so(says == wanted, || format!("view \"{name}\" of schema \"{}\" is {says:?}", schema.name))?;
                    views += 1;
                }
            }
        }
        is_so(tables == self.tables.len(), || format!("{tables} names of {} tables", self.tables.len()))?;
        is_so(views == self.views.len(), || format!("{views} names of {} views", self.views.len()))?;
        let relations = self.tables.keys().chain(self.views.keys()).map(|id| id.0);
        let others = self.databases.keys().filter(|id| **id != DatabaseId::default()).map(|id| id.0);
        let highest = relations.chain(others).max().unwrap_or_default();
        is_so(highest < self.next_object_id, || format!("id {highest} is used, and the next one is {}", self.next_object_id))
    }

    fn check_views(&self) -> Result<()> {
        for view in self.views.values() {
            for reference in view.view.references.iter().filter(|_| !view.view.late_binding) {
                let is_there = self.relation_by_id(reference.relation).is_some();
                is_so(is_there, || format!("view \"{}\" reads \"{}\", which is not there", view.view, reference.name))?;
            }
        }
        Ok(())
    }

    fn check_segments(&self) -> Result<()> {
        let slice_count = self.cluster.map_or(0, |cluster| cluster.slice_count);
        let (mut live, mut slice_counts): (BTreeSet<SegmentId>, _) = (BTreeSet::new(), SliceCounts::default());
        for (id, table) in self.tables.iter() {
            is_so(table.created_version <= table.changed_version, || format!("table {id} was changed before it was made"))?;
            is_so(table.changed_version <= self.version, || format!("table {id} was changed after version {}", self.version))?;
            for (segment_id, segment) in table.segments.iter() {
                is_so(*segment_id == segment.id, || format!("segment {} stands under {segment_id}", segment.id))?;
                is_so(live.insert(segment.id), || format!("segment {} is in two tables", segment.id))?;
                is_so(segment.table == *id, || format!("segment {} of table {id} says {}", segment.id, segment.table))?;
                let (slice, of) = (segment.slice, segment.slice_count);
                let is_sliced = of > 0 && slice.0 < of && slice_count.is_multiple_of(of);
                is_so(if slice == SliceId::ALL { of == 0 } else { is_sliced }, || {
                    format!("segment {} is in slice {slice} of {of}, and there are {slice_count}", segment.id)
                })?;
                is_so(segment.deleted_rows() <= segment.rows, || {
                    format!("segment {} has fewer rows than are deleted", segment.id)
                })?;
            }
            let totals = Totals::of(table.segments.values().map(std::convert::AsRef::as_ref));
            slice_counts.add(totals.slice_counts());
            is_so(*table.totals == totals, || format!("table {id} has totals {:?} instead of {totals:?}", table.totals))?;
        }
        is_so(self.slice_counts == slice_counts, || {
            format!("segments are counted by slices as {:?} instead of {slice_counts:?}", self.slice_counts)
        })?;
        is_so(self.live_segments.is(&live), || format!("the index of segments has other ids than the {} live ones", live.len()))
    }

    fn check_placement(&self) -> Result<()> {
        let slices = self.placement.slices.len();
        let slice_count = self.cluster.map_or(0, |cluster| cluster.slice_count as usize);
        is_so(slices == 0 || slices == slice_count, || format!("{slices} of {slice_count} slices are placed"))?;
        let classes = self.slice_classes();
        is_so(self.placement.keeps_classes(classes), || format!("slices of one of {classes} classes are on different nodes"))?;
        for (slice, placed) in self.placement.slices.iter().enumerate() {
            let unknown = std::iter::once(&placed.owner).chain(&placed.replicas).find(|node| !self.nodes.contains_key(node));
            is_so(unknown.is_none(), || format!("slice {slice} is on an unknown node"))?;
        }
        Ok(())
    }
}

fn is_so(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::internal(format!("the metadata contradict themselves: {}", what()))) }
}
