//! Operations on schemas, tables and their segments.

use super::apply::{Draft, LastCreated, check_name, conflict, list_objects};
use super::comments::Commented;
use super::slices::with_slice_count;
use super::{Map, SchemaState, State, TableState, Totals};
use slipher_common::catalog::{Distribution, Table};
use slipher_common::ids::{ColumnId, SegmentId, SliceId, TableId};
use slipher_common::manifest::{DeleteVector, Segment, Segments, bitmap_from_bytes};
use slipher_common::{Error, ErrorKind, Result};
use slipher_proto::meta as proto;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Draft {
    pub(super) fn create_schema(&mut self, operation: &proto::CreateSchema) -> Result<()> {
        let name = &operation.name;
        check_name("schema", name)?;
        if self.state.schemas().contains_key(name) {
            if operation.if_not_exists {
                self.notices.push(format!("schema \"{name}\" already exists, skipping"));
                return Ok(());
            }
            return Err(Error::new(ErrorKind::DuplicateSchema, format!("schema \"{name}\" already exists")));
        }
        let id = self.take_object_id(operation.schema_id, operation.allocated_id)?;
        let schema =
            SchemaState { id, name: name.clone(), owner: operation.owner.clone(), tables: Map::new(), views: Map::new() };
        let database = self.state.database;
        let Some(database) = self.state.database_mut(database) else {
            return Err(Error::internal(format!("creating schema \"{name}\": its database is not there")));
        };
        database.schemas.insert(name.clone(), Arc::new(schema));
        Ok(())
    }

    pub(super) fn drop_schema(&mut self, operation: &proto::DropSchema) -> Result<()> {
        let name = &operation.name;
        if operation.if_exists && !self.state.schemas().contains_key(name) {
            self.notices.push(format!("schema \"{name}\" does not exist, skipping"));
            return Ok(());
        }
        let schema = Arc::clone(self.state.find_schema(name)?);
        let inside = || {
            let tables = schema.tables.keys().map(|table| format!("table {name}.{table}"));
            tables.chain(schema.views.keys().map(|view| format!("view {name}.{view}")))
        };
        let count = inside().count();
        if !operation.cascade && count > 0 {
            let dependents = inside().map(|object| format!("{object} depends on schema {name}"));
            let message = format!("cannot drop schema \"{name}\" because other objects depend on it");
            return Err(Error::new(ErrorKind::DependentObjects, message)
                .with_detail(list_objects(dependents))
                .with_hint("use DROP SCHEMA ... CASCADE to drop the dependent objects too"));
        }
        match inside().next() {
            Some(object) if count == 1 => self.notices.push(format!("drop cascades to {object}")),
            Some(_) => self.notices.push(format!("drop cascades to {count} other objects")),
            None => {}
        }
        let dropped = schema.tables.values().chain(schema.views.values()).copied().collect();
        self.drop_dependents(&dropped, operation.cascade)?;
        schema.views.values().for_each(|id| self.state.remove_view(*id));
        schema.tables.values().for_each(|id| self.remove_table(*id));
        let id = self.state.database;
        if let Some(database) = self.state.database_mut(id) {
            database.schemas.remove(name);
        }
        self.state.forget_comments(|object| *object == Commented::Schema(id, schema.id));
        Ok(())
    }

    pub(super) fn create_table(&mut self, operation: &proto::CreateTable) -> Result<()> {
        let Some(definition) = &operation.table else {
            return Err(Error::internal("creating a table: the record holds no definition"));
        };
        let mut table = Table::from_proto(definition)?;
        check_name("table", &table.name)?;
        check_columns(&table)?;
        if operation.or_replace {
            self.remove_replaced(&table, operation.replaced_version)?;
        }
        if self.state.is_taken(&table.schema, &table.name)? {
            if operation.if_not_exists {
                self.notices.push(format!("relation \"{}\" already exists, skipping", table.name));
                self.last_created = LastCreated::Skipped;
                return Ok(());
            }
            return Err(self.state.taken(&table.schema, &table.name));
        }
        table.id = TableId(self.take_object_id(table.id.0, operation.allocated_id)?);
        self.last_created = LastCreated::Table(table.id);
        self.created_table = Some(table.id);
        let created = TableState {
            table: Arc::new(table),
            created_version: self.version,
            changed_version: self.version,
            defined_version: self.version,
            layout_version: self.version,
            segments: Arc::default(),
            totals: Arc::default(),
        };
        self.state.insert_table(created)
    }

    /// Takes the table away in whose place another one comes.
    fn remove_replaced(&mut self, table: &Table, expected_version: u64) -> Result<()> {
        let schema = self.state.find_schema(&table.schema)?;
        if schema.views.contains_key(&table.name) {
            return Err(Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is not a table", table.name))
                .with_hint("it is a view: use CREATE OR REPLACE VIEW, or another name"));
        }
        let Some(replaced) = self.state.table(&table.schema, &table.name).map(Arc::clone) else {
            return Ok(());
        };
        // As it was before the record: an earlier operation of it may have changed the table. What a block sees of itself is looked at
        // when it is committed.
        let before = self.before.table_by_id(replaced.table.id);
        let changed = before.is_some_and(|before| before.changed_version.0 != expected_version);
        if expected_version != 0 && changed && self.before.speculated_from.is_none() {
            return Err(conflict(format_args!(
                "table \"{}\" was changed while the one that replaces it was made",
                replaced.table
            )));
        }
        let id = replaced.table.id;
        self.drop_dependents(&BTreeSet::from([id]), false)?;
        self.remove_table(id);
        Ok(())
    }

    pub(super) fn drop_table(&mut self, operation: &proto::DropTable) -> Result<()> {
        let id = TableId(operation.table_id);
        if !self.state.tables.contains_key(&id) {
            return Err(Error::new(ErrorKind::UndefinedTable, format!("table with id {id} does not exist"))
                .with_detail("a concurrent transaction may have dropped it"));
        }
        self.drop_dependents(&BTreeSet::from([id]), operation.cascade)?;
        self.remove_table(id);
        Ok(())
    }

    /// Another definition: name, schema, owner, columns.
    pub(super) fn change_table(&mut self, operation: &proto::ChangeTable) -> Result<()> {
        let Some(definition) = &operation.table else {
            return Err(Error::internal("changing a table: the record holds no definition"));
        };
        let mut table = Table::from_proto(definition)?;
        check_name("table", &table.name)?;
        check_columns(&table)?;
        let Some(current) = self.state.tables.get(&table.id).map(Arc::clone) else {
            return Err(conflict(format_args!("table \"{table}\" was dropped")));
        };
        if operation.defined_version != 0 && operation.defined_version != current.defined_version.0 {
            return Err(conflict(format_args!("the definition of table \"{}\" was changed", current.table)));
        }
        let before = &current.table;
        table.database = before.database;
        if !current.segments.is_empty() && !fits_segments(before, &table) {
            return Err(conflict(format_args!("rows were added to table \"{before}\" while it was rewritten")));
        }
        self.check_dependents_of_columns(before, &table)?;
        // Numbers are handed out by loads, which do not wait for definitions.
        for column in &mut table.columns {
            let counted = before.columns.iter().find(|other| other.id == column.id).and_then(|other| other.identity.as_ref());
            if let (Some(identity), Some(counted)) = (&mut column.identity, counted) {
                identity.next = counted.next;
            }
        }
        if (&before.schema, &before.name) != (&table.schema, &table.name) {
            self.rename_table(before, &table)?;
        }
        let stays = |id: u32| table.columns.iter().any(|column| column.id.0 == id);
        let gone: Vec<u32> = before.columns.iter().map(|column| column.id.0).filter(|id| !stays(*id)).collect();
        self.state.forget_comments(
            |object| matches!(object, Commented::Relation(id, Some(column)) if *id == table.id && gone.contains(column)),
        );
        let layout_version = if fits_segments(before, &table) { current.layout_version } else { self.version };
        let changed = TableState {
            table: Arc::new(table),
            created_version: current.created_version,
            changed_version: self.version,
            defined_version: self.version,
            layout_version,
            segments: Arc::clone(&current.segments),
            totals: Arc::clone(&current.totals),
        };
        self.state.put_table(changed);
        Ok(())
    }

    /// Moves a table's entry to its new name and schema, which must be free.
    fn rename_table(&mut self, before: &Table, after: &Table) -> Result<()> {
        if self.state.is_taken(&after.schema, &after.name)? {
            return Err(self.state.taken(&after.schema, &after.name));
        }
        if let Some(schema) = self.state.schema_mut(before.database, &before.schema) {
            schema.tables.remove(&before.name);
        }
        if let Some(schema) = self.state.schema_mut(before.database, &after.schema) {
            schema.tables.insert(after.name.clone(), after.id);
        }
        Ok(())
    }

    pub(super) fn remove_table(&mut self, id: TableId) {
        let Some(removed) = Arc::make_mut(&mut self.state.tables).remove(&id) else {
            return;
        };
        removed.segments.keys().for_each(|segment| self.state.live_segments.remove(*segment));
        self.state.slice_counts.remove(removed.totals.slice_counts());
        if let Some(schema) = self.state.schema_mut(removed.table.database, &removed.table.schema) {
            schema.tables.remove(&removed.table.name);
        }
        self.state.forget_comments_of(id);
    }

    /// The table an operation names, 0 being the one that the record created; `None` when IF NOT EXISTS skipped that.
    fn resolve_table(&self, id: u64) -> Result<Option<TableId>> {
        match (id, &self.last_created) {
            (0, LastCreated::Table(created)) => Ok(Some(*created)),
            (0, LastCreated::Skipped) => Ok(None),
            (0, LastCreated::None) => Err(Error::internal("applying a record: table id 0 before the record creates a table")),
            _ => Ok(Some(TableId(id))),
        }
    }

    /// A copy of the table an operation names, and its id; `None` as for [`Self::resolve_table`].
    fn table_to_change(&self, id: u64) -> Result<Option<(TableId, TableState)>> {
        let Some(id) = self.resolve_table(id)? else {
            return Ok(None);
        };
        match self.state.tables.get(&id) {
            Some(current) => Ok(Some((id, TableState::clone(current)))),
            None => Err(conflict(format_args!("table with id {id} was dropped"))),
        }
    }

    /// `added` come behind those that stand in the operation.
    pub(super) fn replace_segments(&mut self, operation: &proto::ReplaceSegments, added: Vec<Segment>) -> Result<()> {
        let Some((id, mut changed)) = self.table_to_change(operation.table_id)? else {
            return Ok(());
        };
        let table = Arc::clone(&changed.table);
        let first_slice_count = self.state.require_cluster()?.first_slice_count;
        let (mut removed, mut removed_rows, mut added_rows) = (BTreeSet::new(), 0, 0);
        for (place, bytes) in operation.remove.iter().enumerate() {
            let segment = SegmentId::from_bytes(bytes)?;
            let Some(gone) = changed.remove_segment(segment) else {
                return Err(conflict(format_args!("segment {segment} of table \"{table}\" was replaced")));
            };
            let expected = operation.removed_deleted_rows.get(place);
            if expected.is_some_and(|expected| *expected != gone.deleted_rows()) {
                return Err(conflict(format_args!("rows of table \"{table}\" were deleted")));
            }
            self.state.live_segments.remove(segment);
            removed.insert(segment);
            removed_rows += gone.live_rows();
        }
        if operation.defined_version != 0 && changed.layout_version.0 > operation.defined_version {
            return Err(conflict(format_args!("table \"{table}\" got another layout while rows were written for it")));
        }
        let mut segments = Vec::with_capacity(operation.add.len() + added.len());
        for receipt in operation.add.iter().map(Segment::from_proto).chain(added.into_iter().map(Ok)) {
            let mut segment = with_slice_count(receipt?, first_slice_count);
            if operation.table_id == 0 && segment.table == TableId(0) {
                segment.table = id;
            }
            self.state.check_receipt(&table, &segment)?;
            if removed.contains(&segment.id) || !self.state.live_segments.insert(segment.id) {
                return Err(Error::internal(format!("adding segment {} to table \"{table}\": its id was used", segment.id)));
            }
            added_rows += segment.rows;
            segments.push(segment);
        }
        changed.put_segments(segments);
        if !operation.keeps_rows {
            changed.changed_version = self.version;
        } else if added_rows != removed_rows {
            let message = format!("replacing segments of table \"{table}\": {removed_rows} rows became {added_rows}");
            return Err(Error::internal(message));
        }
        self.state.put_table(changed);
        Ok(())
    }

    /// Adds rows to delete vectors. Rows that somebody else deleted in the meantime are a conflict.
    pub(super) fn delete_rows(&mut self, operation: &proto::DeleteRows) -> Result<()> {
        let Some((_, mut changed)) = self.table_to_change(operation.table_id)? else {
            return Ok(());
        };
        let table = Arc::clone(&changed.table);
        for part in &operation.segments {
            let segment = SegmentId::from_bytes(&part.segment_id)?;
            let Some(current) = changed.segments.get(&segment) else {
                return Err(conflict(format_args!("segment {segment} of table \"{table}\" was replaced")));
            };
            let mut rows = bitmap_from_bytes(&part.rows)?;
            if rows.max().is_some_and(|row| u64::from(row) >= current.rows) {
                return Err(Error::internal(format!("deleting rows of segment {segment} of table \"{table}\": it has fewer")));
            }
            if let Some(deleted) = &current.delete_vector {
                if !deleted.rows().is_disjoint(&rows) {
                    return Err(conflict(format_args!("rows of table \"{table}\" were changed")));
                }
                rows |= deleted.rows();
            }
            let worn = Segment { delete_vector: DeleteVector::new(rows), ..Segment::clone(current) };
            changed.put_segment(worn);
        }
        changed.changed_version = self.version;
        self.state.put_table(changed);
        Ok(())
    }

    pub(super) fn advance_identity(&mut self, operation: &proto::AdvanceIdentity) -> Result<()> {
        let Some((_, mut changed)) = self.table_to_change(operation.table_id)? else {
            return Ok(());
        };
        let mut table = Table::clone(&changed.table);
        let wanted = ColumnId(operation.column_id);
        let column = table.columns.iter_mut().find(|column| column.id == wanted);
        let Some(identity) = column.and_then(|column| column.identity.as_mut()) else {
            let message = format!("advancing an identity: column {wanted} of table \"{}\" has none", changed.table);
            return Err(Error::internal(message));
        };
        // Numbers that nobody takes are no matter; numbers that two take are.
        if identity.next > operation.expected_next {
            let what =
                format_args!("identity values of column {wanted} of table \"{}\" were handed out", changed.table).to_string();
            return Err(conflict(what));
        }
        identity.next = operation.expected_next.checked_add(operation.count).ok_or_else(|| {
            Error::new(ErrorKind::NumericOutOfRange, format!("table \"{}\" has no identity values left", changed.table))
        })?;
        changed.table = Arc::new(table);
        self.state.put_table(changed);
        Ok(())
    }
}

impl TableState {
    /// The table as if it had these segments only.
    pub fn with_segments(&self, segments: Segments) -> Self {
        let totals = Arc::new(Totals::of(segments.values().map(Arc::as_ref)));
        Self { segments: Arc::new(segments), totals, ..self.clone() }
    }

    /// Puts a segment in, in place of the one of its id.
    pub(super) fn put_segment(&mut self, segment: Segment) {
        self.put_segments(vec![segment]);
    }

    /// Puts segments in, in place of those of their ids: the only way in, so that the totals are right.
    pub(super) fn put_segments(&mut self, segments: Vec<Segment>) {
        let totals = Arc::make_mut(&mut self.totals);
        totals.add_all(&segments);
        let all = Arc::make_mut(&mut self.segments);
        for segment in segments {
            if let Some(replaced) = all.insert(segment.id, Arc::new(segment)) {
                totals.remove(&replaced);
            }
        }
    }

    /// Takes a segment out.
    pub(super) fn remove_segment(&mut self, id: SegmentId) -> Option<Arc<Segment>> {
        let removed = Arc::make_mut(&mut self.segments).remove(&id)?;
        Arc::make_mut(&mut self.totals).remove(&removed);
        Some(removed)
    }
}

/// Whether segments of `before` are segments of `after`: their rows lie where they belong, and their values are of its types.
fn fits_segments(before: &Table, after: &Table) -> bool {
    use slipher_common::SqlType::VarChar;
    let column_fits = |column: &slipher_common::catalog::Column| {
        let old = before.columns.iter().find(|old| old.id == column.id);
        old.is_none_or(|old| {
            let same_type = old.sql_type == column.sql_type
                || matches!((old.sql_type, column.sql_type), (VarChar(old), VarChar(new)) if old <= new);
            // Under another name in files, or with another value where files have none, it would not be found.
            same_type && old.name_in_files() == column.name_in_files() && old.missing_value == column.missing_value
        })
    };
    before.distribution == after.distribution && before.sort_key == after.sort_key && after.columns.iter().all(column_fits)
}

impl State {
    /// Puts a table under its id and its name; both must be free and the schema there.
    pub(super) fn insert_table(&mut self, table: TableState) -> Result<()> {
        let (schema, name, id) = (&table.table.schema, &table.table.name, table.table.id);
        let Some(schema) = self.schema_mut(table.table.database, schema) else {
            return Err(Error::internal(format!("adding table \"{}\": its schema is not there", table.table)));
        };
        let named_before = schema.tables.insert(name.clone(), id);
        let known_before = self.put_table(table);
        if named_before.is_some() || known_before.is_some() {
            return Err(Error::internal(format!("adding table {id}: its id or its name is there already")));
        }
        Ok(())
    }

    /// Whether a receipt is for this table and from the present owner of its slice.
    fn check_receipt(&self, table: &Table, segment: &Segment) -> Result<()> {
        let adding = || format!("adding segment {} to table \"{table}\"", segment.id);
        if segment.table != table.id {
            return Err(Error::internal(format!("{}: its receipt is for table {}", adding(), segment.table)));
        }
        // A copy of an ALL table in one slice, or a slice's rows on every node, would give wrong rows.
        if (segment.slice == SliceId::ALL) != (table.distribution == Distribution::All) {
            return Err(Error::internal(format!("{}: slice {} does not fit its distribution", adding(), segment.slice)));
        }
        if segment.slice == SliceId::ALL {
            return Ok(());
        }
        let Some(placed) = self.placement.slices.get(segment.slice.0 as usize) else {
            return Err(Error::internal(format!("{}: slice {} has no placement", adding(), segment.slice)));
        };
        let (slice_count, written_under) = (self.require_cluster()?.slice_count, segment.slice_count);
        if written_under == 0 || !slice_count.is_multiple_of(written_under) || segment.slice.0 >= written_under {
            let slices = format!("slice {} of {written_under} slices, the cluster has {slice_count}", segment.slice);
            return Err(Error::internal(format!("{}: {slices}", adding())));
        }
        if placed.epoch != segment.placement_epoch {
            return Err(conflict(format_args!("slice {} moved while table \"{table}\" was written", segment.slice))
                .with_detail(format!("placement epoch is {}, the receipt's {}", placed.epoch, segment.placement_epoch)));
        }
        if !self.placement.keeps_classes(written_under) {
            let what = format_args!("the slices of the cluster were split and moved while table \"{table}\" was written");
            return Err(conflict(what));
        }
        Ok(())
    }
}

/// What a definition says of its columns must hang together.
fn check_columns(table: &Table) -> Result<()> {
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for column in &table.columns {
        check_name("column", &column.name)?;
        if !names.insert(column.name.as_str()) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(Error::new(ErrorKind::DuplicateColumn, message));
        }
        if !ids.insert(column.id) {
            return Err(Error::internal(format!("creating table \"{table}\": column id {} stands twice", column.id)));
        }
    }
    let dist_key = match table.distribution {
        Distribution::Key(id) => Some(id),
        Distribution::Even | Distribution::All => None,
    };
    let constrained = table.constraints.iter().flat_map(|constraint| &constraint.columns);
    match dist_key.iter().chain(&table.sort_key).chain(constrained).find(|id| !ids.contains(id)) {
        Some(id) => Err(Error::internal(format!("creating table \"{table}\": a key names column id {id}, which it has not"))),
        None => Ok(()),
    }
}
