//! The WINDOW clause: what a name means is written where the name stands, so that the engine, which forgets what a window
//! inherits from another, never sees one.

use super::PositionOf;
use crate::names::folded;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, NamedWindowExpr, Select, Value, ValueWithSpan, WindowFrameBound, WindowSpec, WindowType,
};
use slipher_common::{Error, ErrorKind, Result};

/// The windows that a SELECT names, each with what it inherits, in the order they are written.
#[derive(Debug, Default)]
pub(super) struct Windows(Vec<(String, WindowSpec)>);

impl Windows {
    /// What the WINDOW clause of `select` names.
    pub(super) fn of(select: &Select, position_of: PositionOf<'_>) -> Result<Self> {
        let mut windows = Self::default();
        for definition in &select.named_window {
            let (ident, meaning) = (&definition.0, &definition.1);
            if windows.0.iter().any(|(name, _)| *name == folded(ident)) {
                let message = format!("window \"{}\" is already defined", folded(ident));
                return Err(Error::new(ErrorKind::Windowing, message).at(position_of(ident.span)));
            }
            let spec = match meaning {
                NamedWindowExpr::WindowSpec(spec) => windows.complete(spec.clone(), true, position_of)?,
                NamedWindowExpr::NamedWindow(other) => windows.find(other, position_of)?.clone(),
            };
            windows.0.push((folded(ident), spec));
        }
        Ok(windows)
    }

    /// Writes what the window of a function means where it is a name, or refines one.
    pub(super) fn rewrite(&self, expression: &mut Expr, position_of: PositionOf<'_>) -> Result<()> {
        let Expr::Function(function) = expression else { return Ok(()) };
        let spec = match &function.over {
            Some(WindowType::NamedWindow(name)) => self.find(name, position_of)?.clone(),
            Some(WindowType::WindowSpec(spec)) if spec.window_name.is_some() => {
                self.complete(spec.clone(), false, position_of)?
            }
            _ => return Ok(()),
        };
        function.over = Some(WindowType::WindowSpec(spec));
        Ok(())
    }

    fn find(&self, name: &Ident, position_of: PositionOf<'_>) -> Result<&WindowSpec> {
        let wanted = folded(name);
        let found = self.0.iter().find(|(known, _)| *known == wanted).map(|(_, spec)| spec);
        found.ok_or_else(|| {
            let message = format!("window \"{wanted}\" does not exist");
            Error::new(ErrorKind::UndefinedObject, message).at(position_of(name.span))
        })
    }

    /// `spec` with what it inherits: PARTITION BY always, ORDER BY unless it has its own.
    fn complete(&self, mut spec: WindowSpec, in_clause: bool, position_of: PositionOf<'_>) -> Result<WindowSpec> {
        let Some(ident) = spec.window_name.take() else { return Ok(spec) };
        let base = self.find(&ident, position_of)?;
        let name = folded(&ident);
        let refused = |message: String| Error::new(ErrorKind::Windowing, message).at(position_of(ident.span));
        if !spec.partition_by.is_empty() {
            return Err(refused(format!("cannot override PARTITION BY clause of window \"{name}\"")));
        }
        if !spec.order_by.is_empty() && !base.order_by.is_empty() {
            return Err(refused(format!("cannot override ORDER BY clause of window \"{name}\"")));
        }
        if base.window_frame.is_some() {
            let error = refused(format!("cannot copy window \"{name}\" because it has a frame clause"));
            let bare = !in_clause && spec.order_by.is_empty() && spec.window_frame.is_none();
            return Err(if bare { error.with_hint("omit the parentheses in this OVER clause") } else { error });
        }
        spec.partition_by.clone_from(&base.partition_by);
        if spec.order_by.is_empty() {
            spec.order_by.clone_from(&base.order_by);
        }
        Ok(spec)
    }
}

/// The engine reads bounds of frames itself. Of RANGE it takes the text of a number, whatever it says, for the column's type to read:
/// so an interval goes through as one, where it would else become a call.
pub(super) fn keep_bounds(expression: &mut Expr) {
    let Expr::Function(function) = expression else { return };
    let Some(WindowType::WindowSpec(WindowSpec { window_frame: Some(frame), .. })) = &mut function.over else { return };
    for bound in std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
        if let WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset)) = bound
            && let Expr::Interval(interval) = offset.as_ref()
            && let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = interval.value.as_ref()
        {
            let unit = interval.leading_field.as_ref().map(|field| format!(" {field}")).unwrap_or_default();
            **offset = Expr::value(Value::Number(format!("{text}{unit}"), false));
        }
    }
}
