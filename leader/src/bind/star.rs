//! The select list: what its wildcards stand for.

use super::Binder;
use super::columns::{Clause, Columns};
use super::outputs::{Output, select_items};
use super::scope::Unqualified;
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions,
};
use slipher_common::{Error, ErrorKind, Result};
use slipher_sql::names::folded;
use std::collections::HashSet;

impl Binder<'_> {
    /// Binds a select list. Wildcards become columns wherever those are known, so that each of them has a name of its own.
    pub(super) fn select_list(&mut self, projection: &mut Vec<SelectItem>, has_from: bool) -> Result<()> {
        let mut items = Vec::with_capacity(projection.len());
        for mut item in std::mem::take(projection) {
            let columns = match &mut item {
                SelectItem::Wildcard(options) if has_from => self.wildcard(options)?,
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    left(self.qualified_wildcard(name)?, options)?
                }
                _ => {
                    self.item(&mut item)?;
                    None
                }
            };
            match columns {
                Some(columns) => items.extend(select_items(columns)),
                None => items.push(item),
            }
            if let Some(frame) = self.frames.last_mut() {
                let known = frame.outputs.list.len();
                frame.outputs.list.extend(items.iter().skip(known).map(Output::of));
            }
        }
        *projection = items;
        Ok(())
    }

    fn item(&mut self, item: &mut SelectItem) -> Result<()> {
        if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item {
            let meaning = match self.unqualified(ident)? {
                Unqualified::Here(meaning) | Unqualified::Outside(meaning) => Some(*meaning),
                Unqualified::Unknown => self.output_named(ident, Clause::Lateral)?,
                Unqualified::Open => None,
            };
            if let Some(meaning) = meaning {
                *item = match meaning {
                    // It has the right name itself.
                    Expr::CompoundIdentifier(parts) if parts.last().map(folded) == Some(folded(ident)) => {
                        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
                    }
                    other => SelectItem::ExprWithAlias { expr: other, alias: ident.clone() },
                };
                return Ok(());
            }
        }
        let written = match item {
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().cloned(),
            _ => None,
        };
        self.expressions_in(item, Clause::Lateral)?;
        // Steps into a value have the name of the last one.
        if let (Some(alias), SelectItem::UnnamedExpr(expr)) = (written, &mut *item)
            && !matches!(expr, Expr::CompoundIdentifier(_))
        {
            let alias = Ident::with_quote('"', folded(&alias));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
        Ok(())
    }

    /// What `*` stands for; None where the engine has to say it.
    fn wildcard(&self, options: &WildcardAdditionalOptions) -> Result<Columns> {
        let Some(scope) = self.frames.last().and_then(|frame| frame.scope.as_ref()) else { return Ok(None) };
        if scope.merged.is_empty() {
            return left(scope.columns.clone(), options);
        }
        if is_strange(options) {
            return Err(Error::not_supported("this option of * over a join with USING or NATURAL", "name the columns"));
        }
        left(Some(self.known(&scope.columns)?.clone()), options)
    }
}

/// Options that change columns or find them by patterns.
fn is_strange(options: &WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some()
        || options.opt_alias.is_some()
}

/// The columns that the options of a wildcard leave.
fn left(columns: Columns, options: &WildcardAdditionalOptions) -> Result<Columns> {
    let Some(columns) = columns.filter(|_| !is_strange(options)) else { return Ok(None) };
    let excluded = excluded(options);
    if let Some(gone) = excluded.iter().find(|name| !columns.iter().any(|(known, _)| known == *name)) {
        return Err(Error::new(ErrorKind::UndefinedColumn, format!("column \"{gone}\" does not exist")));
    }
    Ok(Some(columns.into_iter().filter(|(name, _)| !excluded.contains(name)).collect()))
}

fn excluded(options: &WildcardAdditionalOptions) -> HashSet<String> {
    let names = match &options.opt_exclude {
        None => &[],
        Some(ExcludeSelectItem::Single(name)) => std::slice::from_ref(name),
        Some(ExcludeSelectItem::Multiple(names)) => names.as_slice(),
    };
    names.iter().filter_map(|name| name.0.last()?.as_ident().map(folded)).collect()
}
