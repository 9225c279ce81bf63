//! MERGE: changes of the rows that match, and an INSERT of the others.

use super::Parsed;
use super::change_rows::{
    Assignments, Change, ChangeSpec, Target, assignments, given_values, matched, quoted, select_of, target,
};
use super::embedded::{position_of, with_sqlparser};
use super::lex::Cursor;
use super::made::parse_made;
use super::names::{Name, QualifiedName};
use super::rewrite;
use super::rewrite::build::{all_of, nested};
use datafusion::sql::sqlparser::ast::{Expr, SetExpr, Statement, TableWithJoins};
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, ErrorKind, Result};

/// MERGE.
#[derive(Debug)]
pub struct MergeSpec {
    /// The table whose rows change.
    pub target: QualifiedName,
    /// WHEN MATCHED, each for the pairs of rows that none before it is for.
    pub matched: Vec<ChangeSpec>,
    /// WHEN NOT MATCHED, each for the rows that none before it is for.
    pub inserts: Vec<MergeInsert>,
}

impl MergeSpec {
    /// REMOVE DUPLICATES: the rows that match make place for those of the source, without values of its own.
    pub fn removes_duplicates(&self) -> bool {
        self.inserts.iter().any(|insert| insert.given.is_none())
    }
}

/// Rows of the source that match nothing.
#[derive(Debug)]
pub struct MergeInsert {
    /// The columns given; empty: the table's first columns, in order.
    pub columns: Vec<Name>,
    /// For each of them whether a value is given; if not, DEFAULT. None: the query yields the table's columns, in order.
    pub given: Option<Vec<bool>>,
    /// Yields the values given. Rewritten.
    pub query: Box<Statement>,
}

/// Reads MERGE.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    cursor.expect(&["MERGE", "INTO"])?;
    let target = target(cursor)?;
    cursor.expect(&["USING"])?;
    let source = with_sqlparser(cursor, |parser| parser.parse_table_and_joins())?;
    cursor.expect(&["ON"])?;
    let condition = with_sqlparser(cursor, |parser| parser.parse_expr())?;
    if cursor.eat(&["REMOVE", "DUPLICATES"]) {
        cursor.expect_end()?;
        return remove_duplicates(cursor, &target, source, condition);
    }
    let spec = MergeSpec { target: target.table.clone(), matched: Vec::new(), inserts: Vec::new() };
    let mut clauses = Clauses { target, source, condition, pairs: Vec::new(), rows: Vec::new(), spec };
    while cursor.looking_at(&["WHEN"]) {
        clauses.clause(cursor)?;
    }
    cursor.expect_end()?;
    match clauses.pairs.is_empty() && clauses.rows.is_empty() {
        true => Err(cursor.error("expected WHEN MATCHED or WHEN NOT MATCHED")),
        false => Ok(Parsed::Merge(Box::new(clauses.spec))),
    }
}

/// The WHEN clauses of a MERGE as they are read.
struct Clauses {
    target: Target,
    source: TableWithJoins,
    condition: Expr,
    /// The conditions of WHEN MATCHED so far; None for one without, behind which no row is left.
    pairs: Vec<Option<Expr>>,
    /// Those of WHEN NOT MATCHED.
    rows: Vec<Option<Expr>>,
    spec: MergeSpec,
}

impl Clauses {
    /// Reads one clause.
    fn clause(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let position = cursor.position();
        cursor.expect(&["WHEN"])?;
        let is_matched = !cursor.eat(&["NOT"]);
        cursor.expect(&["MATCHED"])?;
        if !is_matched && cursor.eat(&["BY"]) {
            let what = "WHEN NOT MATCHED BY SOURCE or BY TARGET";
            return Err(Error::not_supported(
                what,
                "write WHEN NOT MATCHED; change rows without a source row with UPDATE or DELETE",
            )
            .at(position));
        }
        let condition = if cursor.eat(&["AND"]) { Some(with_sqlparser(cursor, |parser| parser.parse_expr())?) } else { None };
        cursor.expect(&["THEN"])?;
        let before = if is_matched { &self.pairs } else { &self.rows };
        if before.iter().any(Option::is_none) {
            let message = "unreachable WHEN clause specified after unconditional WHEN clause";
            return Err(Error::new(ErrorKind::Syntax, message).at(position));
        }
        let selected = selected(before, condition.as_ref());
        if is_matched { &mut self.pairs } else { &mut self.rows }.push(condition);
        if cursor.eat(&["DO", "NOTHING"]) {
            return Ok(());
        }
        match is_matched {
            true => self.spec.matched.push(change(cursor, &self.target, &self.source, &self.condition, selected)?),
            false => self.spec.inserts.push(insert(cursor, &self.target, &self.source, &self.condition, selected)?),
        }
        Ok(())
    }
}

/// The condition of a clause, which is for no row that one before it is for.
fn selected(before: &[Option<Expr>], own: Option<&Expr>) -> Option<Expr> {
    let is_not = |condition: &Expr| Expr::IsNotTrue(Box::new(nested(condition.clone())));
    let all = before.iter().flatten().map(is_not).chain(own.map(|own| nested(own.clone())));
    all_of(all)
}

/// `UPDATE SET ...` or `DELETE` of the pairs of rows that match.
fn change(
    cursor: &mut Cursor<'_>,
    target: &Target,
    source: &TableWithJoins,
    condition: &Expr,
    selected: Option<Expr>,
) -> Result<ChangeSpec> {
    let (change, values) = if cursor.eat(&["DELETE"]) {
        (Change::Delete, Vec::new())
    } else {
        cursor.expect(&["UPDATE", "SET"])?;
        let Assignments { columns, values } = assignments(cursor)?;
        (Change::Update(columns), values)
    };
    let pairs = all_of(std::iter::once(nested(condition.clone())).chain(selected));
    matched(cursor, target, (change, values), vec![source.clone()], pairs)
}

/// `INSERT [(columns)] VALUES (...)` of the rows of the source that match nothing.
fn insert(
    cursor: &mut Cursor<'_>,
    target: &Target,
    source: &TableWithJoins,
    condition: &Expr,
    selected: Option<Expr>,
) -> Result<MergeInsert> {
    cursor.expect(&["INSERT"])?;
    let columns = if cursor.looking_at_token(&Token::LParen) { cursor.names_in_parentheses("a column")? } else { Vec::new() };
    cursor.expect(&["VALUES"])?;
    let (given, values) = values_in_parentheses(cursor)?;
    if !columns.is_empty() && columns.len() != given.len() {
        let message = format!("INSERT of MERGE names {} columns and gives {} values", columns.len(), given.len());
        return Err(Error::new(ErrorKind::Syntax, message).at(columns[0].position));
    }
    let query = unmatched(cursor, target, values, source.clone(), (condition.clone(), selected))?;
    Ok(MergeInsert { columns, given: Some(given), query })
}

/// Rows of the target that match go, all rows of the source come: so one row is left where several matched.
fn remove_duplicates(cursor: &Cursor<'_>, target: &Target, source: TableWithJoins, condition: Expr) -> Result<Parsed> {
    let matched = matched(cursor, target, (Change::Delete, Vec::new()), vec![source.clone()], Some(condition))?;
    let mut query = Box::new(Statement::Query(parse_made("SELECT *")?));
    let Some(select) = select_of(&mut query) else {
        return Err(Error::internal("the query of MERGE is no SELECT"));
    };
    select.from = vec![source];
    rewrite::rewrite_statement(&mut query, &|span| position_of(cursor.lexed, span))?;
    let inserts = vec![MergeInsert { columns: Vec::new(), given: None, query }];
    let spec = MergeSpec { target: target.table.clone(), matched: vec![matched], inserts };
    Ok(Parsed::Merge(Box::new(spec)))
}

/// `(value, ...)`, each an expression or DEFAULT.
fn values_in_parentheses(cursor: &mut Cursor<'_>) -> Result<(Vec<bool>, Vec<Expr>)> {
    cursor.expect_token(&Token::LParen)?;
    let (mut given, mut values) = (Vec::new(), Vec::new());
    loop {
        let is_given = !cursor.eat(&["DEFAULT"]);
        given.push(is_given);
        if is_given {
            values.push(with_sqlparser(cursor, |parser| parser.parse_expr())?);
        }
        if !cursor.eat_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    Ok((given, values))
}

/// `SELECT values FROM source WHERE NOT EXISTS (SELECT 1 FROM target WHERE condition) AND selected`.
fn unmatched(
    cursor: &Cursor<'_>,
    target: &Target,
    values: Vec<Expr>,
    source: TableWithJoins,
    (condition, selected): (Expr, Option<Expr>),
) -> Result<Box<Statement>> {
    let table = &target.table;
    let schema = table.schema.as_ref().map(|schema| format!("{}.", quoted(schema))).unwrap_or_default();
    let text = format!("SELECT 1 FROM {schema}{}{}", quoted(&table.name), target.alias_clause());
    let mut subquery = parse_made(&text)?;
    if let SetExpr::Select(select) = subquery.body.as_mut() {
        select.selection = Some(condition);
    }
    let mut statement = Box::new(Statement::Query(parse_made("SELECT 1")?));
    let Some(select) = select_of(&mut statement) else {
        return Err(Error::internal("the query of MERGE is no SELECT"));
    };
    // Without values the `1` stays, for a row of defaults only.
    if !values.is_empty() {
        select.projection = given_values(values).collect();
    }
    select.from = vec![source];
    let missing = Expr::Exists { subquery, negated: true };
    select.selection = all_of(std::iter::once(missing).chain(selected));
    rewrite::rewrite_statement(&mut statement, &|span| position_of(cursor.lexed, span))?;
    Ok(statement)
}
