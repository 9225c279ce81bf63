use super::*;
use arrow::array::Int32Array;

fn lists(distinct: bool, ordered: bool) -> Lists {
    let options = SortLetter::parse('d').unwrap();
    let field = SortField::new_with_options(DataType::Int32, options);
    let mut lists = Lists { delimiter: ",".to_owned(), ..Lists::empty(distinct) };
    lists.sorted_by.extend(ordered.then_some(field));
    lists.keys_of = lists.converter().unwrap();
    lists
}

fn rows(texts: &[Option<&str>], keys: &[Option<i32>]) -> Vec<ArrayRef> {
    let texts = Arc::new(StringViewArray::from(texts.to_vec())) as ArrayRef;
    let unread = Arc::clone(&texts);
    vec![texts, Arc::clone(&unread), unread, Arc::new(Int32Array::from(keys.to_vec()))]
}

fn strings(array: &ArrayRef) -> Vec<Option<&str>> {
    array.as_string_view().iter().collect()
}

#[test]
fn groups_are_sorted_each_for_itself_whatever_order_rows_come_in() {
    let mut all = lists(false, true);
    all.update_batch(
        &rows(&[Some("a"), Some("b"), None, Some("c")], &[Some(1), Some(2), Some(3), Some(4)]),
        &[0, 1, 0, 0],
        None,
        3,
    )
    .unwrap();
    all.update_batch(&rows(&[Some("d"), Some("e"), Some("")], &[None, Some(5), Some(9)]), &[1, 1, 2], None, 4).unwrap();
    let mut merged = lists(false, true);
    merged.update_batch(&rows(&[Some("z")], &[Some(3)]), &[0], None, 1).unwrap();
    // The states of the groups 0 to 3 go to 1, 0, 2 and 3.
    let states = all.states(4).unwrap();
    merged.merge_batch(&states, &[1, 0, 2, 3], 4).unwrap();
    assert_eq!(strings(&all.evaluate(EmitTo::First(1)).unwrap()), [Some("c,a")]);
    assert_eq!(strings(&all.evaluate(EmitTo::All).unwrap()), [Some("d,e,b"), None, None]);
    assert_eq!(strings(&merged.evaluate(EmitTo::All).unwrap()), [Some("d,e,z,b"), Some("c,a"), None, None]);
    // Rows that go on without being gathered.
    let states = all.convert_to_state(&rows(&[Some("a"), None, Some("b")], &[Some(1), None, Some(2)]), None).unwrap();
    merged.merge_batch(&states, &[0, 0, 0], 1).unwrap();
    assert_eq!(strings(&merged.evaluate(EmitTo::All).unwrap()), [Some("b,a")]);
}

#[test]
fn filters_and_distinct() {
    let filter = BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(true)]);
    let mut all = lists(true, false);
    let texts = rows(&[Some("a"), Some("b"), Some("c"), Some("a "), Some("d")], &[None; 5]);
    all.update_batch(&texts, &[0; 5], Some(&filter), 1).unwrap();
    assert_eq!(strings(&all.evaluate(EmitTo::All).unwrap()), [Some("a,d")]);
}

#[test]
fn a_list_has_at_most_as_many_bytes_as_a_string_may_have() {
    let text = "x".repeat(40_000);
    let mut all = lists(false, false);
    all.update_batch(&rows(&[Some(&text)], &[None]), &[0], None, 1).unwrap();
    let error = all.update_batch(&rows(&[Some(&text)], &[None]), &[0], None, 1).unwrap_err();
    assert_eq!(Error::from(error).sqlstate(), "22001");
    // Of equal ones only one counts.
    let mut all = lists(true, false);
    all.update_batch(&rows(&[Some(&text), Some(&text)], &[None, None]), &[0, 0], None, 1).unwrap();
    assert_eq!(all.evaluate(EmitTo::All).unwrap().as_string_view().value(0).len(), 40_000);
}
