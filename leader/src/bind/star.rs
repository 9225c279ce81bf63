//! The select list: what its wildcards stand for, and the names of what it yields.

use super::Binder;
use super::scope::Unqualified;
use crate::sql::names::folded;
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions,
};
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashSet;

/// The names of some columns; None where nobody knows them.
type Names = Option<Vec<String>>;

impl Binder<'_> {
    /// Binds a select list; answers the names of its columns where they are known.
    pub(super) fn select_list(&mut self, projection: &mut Vec<SelectItem>) -> Result<Names> {
        let mut names = Some(Vec::new());
        let mut items = Vec::with_capacity(projection.len());
        for mut item in std::mem::take(projection) {
            let yields = match &mut item {
                SelectItem::Wildcard(options) => match self.wildcard(options)? {
                    (Some(expanded), yields) => {
                        items.extend(expanded);
                        join(&mut names, yields);
                        continue;
                    }
                    (None, yields) => yields,
                },
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    without(self.qualified_wildcard(name)?, options)
                }
                _ => self.item(&mut item)?,
            };
            join(&mut names, yields);
            items.push(item);
        }
        *projection = items;
        Ok(names)
    }

    fn item(&mut self, item: &mut SelectItem) -> Result<Names> {
        let name = output_name(item);
        if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
            && let Unqualified::Means(meaning) = self.unqualified(ident)?
        {
            *item = match *meaning {
                // It has the right name itself.
                column @ Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(column),
                other => SelectItem::ExprWithAlias { expr: other, alias: ident.clone() },
            };
        } else {
            self.expressions(item)?;
        }
        Ok(name.map(|name| vec![name]))
    }

    /// What `*` stands for, where the engine would expand it to other columns or in another order: where columns are merged.
    fn wildcard(&self, options: &WildcardAdditionalOptions) -> Result<(Option<Vec<SelectItem>>, Names)> {
        let Some(scope) = self.frames.last().and_then(|frame| frame.scope.as_ref()) else { return Ok((None, None)) };
        if scope.merged.is_empty() {
            let names = scope.columns.as_ref().map(|columns| columns.iter().map(|(name, _)| name.clone()).collect());
            return Ok((None, without(names, options)));
        }
        let strange = options.opt_ilike.is_some()
            || options.opt_except.is_some()
            || options.opt_replace.is_some()
            || options.opt_rename.is_some();
        if strange {
            return Err(Error::not_supported("this option of * over a join with USING or NATURAL", "name the columns"));
        }
        let excluded = excluded(options);
        let columns = self.known(&scope.columns)?;
        if let Some(gone) = excluded.iter().find(|name| !columns.iter().any(|(known, _)| known == *name)) {
            return Err(Error::new(ErrorKind::UndefinedColumn, format!("column \"{gone}\" does not exist")));
        }
        let left: Vec<_> = columns.iter().filter(|(name, _)| !excluded.contains(name)).collect();
        let names = left.iter().map(|(name, _)| name.clone()).collect();
        let items = left.into_iter().map(|(name, meaning)| match meaning {
            column @ Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(column.clone()),
            other => SelectItem::ExprWithAlias {
                expr: other.clone(),
                alias: datafusion::sql::sqlparser::ast::Ident::with_quote('"', name.clone()),
            },
        });
        Ok((Some(items.collect()), Some(names)))
    }
}

fn join(names: &mut Names, more: Names) {
    *names = match (names.take(), more) {
        (Some(mut names), Some(more)) => {
            names.extend(more);
            Some(names)
        }
        _ => None,
    };
}

/// The names that are left; nobody knows what options that rename columns leave.
fn without(names: Names, options: &WildcardAdditionalOptions) -> Names {
    if options.opt_rename.is_some() || options.opt_ilike.is_some() || options.opt_except.is_some() {
        return None;
    }
    let excluded = excluded(options);
    names.map(|names| names.into_iter().filter(|name| !excluded.contains(name)).collect())
}

fn excluded(options: &WildcardAdditionalOptions) -> HashSet<String> {
    let names = match &options.opt_exclude {
        None => &[],
        Some(ExcludeSelectItem::Single(name)) => std::slice::from_ref(name),
        Some(ExcludeSelectItem::Multiple(names)) => names.as_slice(),
    };
    names.iter().filter_map(|name| name.0.last()?.as_ident().map(folded)).collect()
}

/// The name of an item in the result; None where only the engine gives it one.
pub(super) fn output_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(folded(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(folded),
        _ => None,
    }
}
