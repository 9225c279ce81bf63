//! Views.

use super::*;

pub(super) fn create_view(name: &str, or_replace: bool, column: &str, references: &[(u64, &str, bool)]) -> Kind {
    let reference = |(relation_id, name, used): &(u64, &str, bool)| proto::ViewReference {
        schema: String::new(),
        name: (*name).to_owned(),
        relation_id: *relation_id,
        columns: vec![proto::ReferencedColumn { column_id: 1, name: "k".into(), used: *used }],
    };
    let view = proto::View {
        schema: "public".into(),
        name: name.into(),
        owner: "admin".into(),
        query: "SELECT k FROM t".into(),
        columns: vec![proto::ViewColumn { name: column.into(), r#type: Some(slipher_common::SqlType::BigInt.to_proto()) }],
        references: references.iter().map(reference).collect(),
        ..Default::default()
    };
    Kind::CreateView(proto::CreateView { view: Some(view), or_replace, ..Default::default() })
}

fn drop_views(view_ids: &[TableId], cascade: bool) -> Kind {
    Kind::DropViews(proto::DropViews { view_ids: view_ids.iter().map(|id| id.0).collect(), cascade })
}

#[test]
fn views_keep_what_they_read_and_survive_a_snapshot() {
    let mut machine = Machine::new();
    let table = TableId(machine.table("t"));
    machine.run([create_view("v", false, "k", &[(table.0, "t", true)])]).unwrap();
    let v = machine.state.view("public", "v").unwrap().view.id;
    machine.run([create_view("w", false, "k", &[(v.0, "v", true)])]).unwrap();
    let w = machine.state.view("public", "w").unwrap().view.id;

    assert_eq!(State::from_proto(&machine.state.to_proto()).unwrap().views(), machine.state.views());
    machine.fails(ErrorKind::DuplicateTable, "relation \"v\" already exists", [create_table("public", "v", false)]);
    machine.fails(ErrorKind::DuplicateTable, "relation \"t\" already exists", [create_view("t", false, "k", &[])]);

    let dropped = Kind::DropTable(proto::DropTable { table_id: table.0, cascade: false });
    let error = machine.fails(ErrorKind::DependentObjects, "cannot drop table public.t", [dropped]);
    let listed = "view public.v depends on table public.t\nview public.w depends on view public.v";
    assert_eq!(error.detail.as_deref(), Some(listed));
    machine.fails(ErrorKind::DependentObjects, "cannot drop view public.v", [drop_views(&[v], false)]);

    // Columns that are read stay as they are; others need not.
    let mut without = Table::clone(&machine.state.tables()[&table].table);
    without.columns.remove(0);
    without.distribution = slipher_common::catalog::Distribution::Even;
    let change = |table: &Table| Kind::ChangeTable(proto::ChangeTable { table: Some(table.to_proto()), defined_version: 0 });
    machine.fails(ErrorKind::DependentObjects, "cannot drop column \"k\"", [change(&without)]);
    let mut without = Table::clone(&machine.state.tables()[&table].table);
    without.columns.remove(1);
    machine.run([change(&without)]).unwrap();

    // A view that others read keeps its columns, and never reads itself.
    machine.fails(ErrorKind::InvalidTableDefinition, "cannot change name of view column", [create_view("v", true, "other", &[])]);
    machine.fails(ErrorKind::InvalidObjectDefinition, "would read itself", [create_view("v", true, "k", &[(w.0, "w", true)])]);
    machine.run([create_view("w", true, "other", &[(v.0, "v", true)])]).unwrap();
    assert_eq!(machine.state.view("public", "w").unwrap().view.id, w);

    // Both at once, in any order; and everything with CASCADE.
    let mut both = Machine { state: machine.state.clone(), next: machine.next };
    both.run([drop_views(&[v, w], false)]).unwrap();
    assert!(both.state.views().is_empty());
    let dropped = Kind::DropTable(proto::DropTable { table_id: table.0, cascade: true });
    assert_eq!(machine.run([dropped]).unwrap().notices, ["drop cascades to 2 other objects"]);
    assert!(machine.state.views().is_empty() && machine.state.schemas()["public"].views.is_empty());
}

#[test]
fn a_view_of_what_changed_meanwhile_is_a_conflict() {
    let mut machine = Machine::new();
    let table = TableId(machine.table("t"));
    let defined = machine.state.tables()[&table].defined_version.0;
    let with_versions = |version: u64, relation: u64| match create_view("v", false, "k", &[(relation, "t", true)]) {
        Kind::CreateView(operation) => Kind::CreateView(proto::CreateView { defined_versions: vec![version], ..operation }),
        other => other,
    };
    machine.fails(ErrorKind::SerializationFailure, "was changed", [with_versions(defined - 1, table.0)]);
    machine.fails(ErrorKind::SerializationFailure, "was dropped", [with_versions(defined, 4711)]);
    machine.run([with_versions(defined, table.0)]).unwrap();
}
