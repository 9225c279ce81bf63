//! The cheapest order of joins: every order for few inputs, the cheapest next join for many.

use crate::plan::join_order::estimate::Spread;
use crate::plan::join_order::graph::{Graph, Inputs, Shape, members, newly_covered, within};
use std::collections::HashMap;
use std::sync::Arc;

/// Up to this many inputs every order is looked at (3^10 steps, a few milliseconds).
const EXHAUSTIVE_INPUTS_MAX: usize = 10;

/// Work per row: put into a hash table, looked up there, handed on, and sent to another node. Relative to one another.
const BUILD_COST: f64 = 3.0;
const PROBE_COST: f64 = 1.0;
const OUTPUT_COST: f64 = 1.0;
const MOVE_COST: f64 = 3.0;
/// Copies of a broadcast side: counted as a few, since the order should not depend on how many nodes there are.
const COPIES: f64 = 4.0;

/// Where the rows of a partial result lie: by the values of a class, everywhere, or by nothing useful.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Anywhere,
    Class(usize),
    Everywhere,
}

/// The best way to join some inputs.
#[derive(Clone, Debug)]
struct Partial {
    inputs: Inputs,
    rows: f64,
    cost: f64,
    place: Place,
    shape: Arc<Shape>,
}

/// Searches orders of one region.
pub(super) struct Search<'a> {
    graph: &'a Graph,
    /// Inputs that are equal in two columns or more: as independent conditions these would count too much.
    corrections: Vec<(Inputs, f64)>,
    rows: HashMap<Inputs, f64>,
    /// Sides of at most so many rows are copied to every node.
    broadcast_rows_max: f64,
}

impl<'a> Search<'a> {
    pub(super) fn new(graph: &'a Graph, broadcast_rows_max: usize) -> Self {
        Self { graph, corrections: corrections(graph), rows: HashMap::new(), broadcast_rows_max: broadcast_rows_max as f64 }
    }

    /// The cheapest order and its cost; None if the conditions do not connect all inputs.
    pub(super) fn best(&mut self) -> Option<(Shape, f64)> {
        let found = if self.graph.inputs.len() <= EXHAUSTIVE_INPUTS_MAX { self.exhaustive() } else { self.greedy() };
        found.map(|partial| (Arc::unwrap_or_clone(partial.shape), partial.cost))
    }

    /// What `shape` costs.
    pub(super) fn cost(&mut self, shape: &Shape) -> Option<f64> {
        self.partial_of(shape).map(|partial| partial.cost)
    }

    fn partial_of(&mut self, shape: &Shape) -> Option<Partial> {
        match shape {
            Shape::Input(index) => Some(self.single(*index)),
            Shape::Join(left, right) => {
                let (left, right) = (self.partial_of(left)?, self.partial_of(right)?);
                self.join(&left, &right)
            }
        }
    }

    fn exhaustive(&mut self) -> Option<Partial> {
        let count = self.graph.inputs.len();
        let all: Inputs = (1 << count) - 1;
        let mut best: Vec<Option<Partial>> = vec![None; 1 << count];
        for inputs in 1..=all {
            if inputs.count_ones() == 1 {
                best[inputs as usize] = Some(self.single(inputs.trailing_zeros() as usize));
                continue;
            }
            let mut cheapest: Option<Partial> = None;
            let mut left = (inputs - 1) & inputs;
            while left > 0 {
                let right = inputs & !left;
                if left > right
                    && let (Some(one), Some(other)) = (&best[left as usize], &best[right as usize])
                    && let Some(joined) = self.join(one, other)
                    && cheapest.as_ref().is_none_or(|known| joined.cost < known.cost)
                {
                    cheapest = Some(joined);
                }
                left = (left - 1) & inputs;
            }
            best[inputs as usize] = cheapest;
        }
        best[all as usize].take()
    }

    fn greedy(&mut self) -> Option<Partial> {
        let mut parts: Vec<Partial> = (0..self.graph.inputs.len()).map(|index| self.single(index)).collect();
        while parts.len() > 1 {
            let mut cheapest: Option<(usize, usize, Partial)> = None;
            for one in 0..parts.len() {
                for other in one + 1..parts.len() {
                    if let Some(joined) = self.join(&parts[one], &parts[other])
                        && cheapest
                            .as_ref()
                            .is_none_or(|(_, _, known)| joined.step(&parts, one, other) < known.step(&parts, one, other))
                    {
                        cheapest = Some((one, other, joined));
                    }
                }
            }
            let (one, other, joined) = cheapest?;
            parts.swap_remove(other);
            parts[one] = joined;
        }
        parts.pop()
    }

    fn single(&self, index: usize) -> Partial {
        let input = &self.graph.inputs[index];
        let own = self.graph.conditions.iter().filter(|condition| condition.inputs == 1 << index);
        let rows = input.relation.rows * own.map(|condition| condition.share).product::<f64>();
        let place = match (input.relation.spread, input.spread_class()) {
            (Spread::Everywhere, _) => Place::Everywhere,
            (_, Some(class)) => Place::Class(class),
            _ => Place::Anywhere,
        };
        Partial { inputs: 1 << index, rows: rows.max(1.0), cost: 0.0, place, shape: Arc::new(Shape::Input(index)) }
    }

    /// Joins two partial results; None if no condition connects them.
    fn join(&mut self, one: &Partial, other: &Partial) -> Option<Partial> {
        let (build, probe) = if one.rows <= other.rows { (one, other) } else { (other, one) };
        let (left, right) = (build.inputs, probe.inputs);
        let keys: Vec<usize> = self.shared_classes(left, right);
        if keys.is_empty() && !self.graph.edges.iter().any(|edge| connects(edge.left_inputs, edge.right_inputs, left, right)) {
            return None;
        }
        let rows = self.rows_of(left | right);
        let (moved, place) = self.movement(build, probe, &keys);
        let own = BUILD_COST * build.rows + PROBE_COST * probe.rows + OUTPUT_COST * rows + MOVE_COST * moved;
        let shape = Arc::new(Shape::Join(Arc::clone(&build.shape), Arc::clone(&probe.shape)));
        Some(Partial { inputs: left | right, rows, cost: build.cost + probe.cost + own, place, shape })
    }

    fn shared_classes(&self, left: Inputs, right: Inputs) -> Vec<usize> {
        let has = |class: &[(usize, usize)], inputs: Inputs| class.iter().any(|(input, _)| within(1 << input, inputs));
        let classes = self.graph.classes.iter().enumerate();
        classes.filter(|(_, class)| has(class, left) && has(class, right)).map(|(index, _)| index).collect()
    }

    /// Rows of the join of `inputs`, the same for every order.
    fn rows_of(&mut self, inputs: Inputs) -> f64 {
        if let Some(rows) = self.rows.get(&inputs) {
            return *rows;
        }
        let mut rows: f64 = members(inputs).map(|index| self.single(index).rows).product();
        for class in &self.graph.classes {
            let mut distinct: Vec<f64> = class
                .iter()
                .filter(|(input, _)| within(1 << input, inputs))
                .map(|(input, column)| {
                    self.graph.inputs[*input].relation.columns.get(*column).map_or(1.0, |known| known.distinct)
                })
                .collect();
            distinct.sort_by(f64::total_cmp);
            rows /= distinct.iter().skip(1).product::<f64>();
        }
        for edge in self.graph.edges.iter().filter(|edge| within(edge.left_inputs | edge.right_inputs, inputs)) {
            rows /= edge.distinct;
        }
        let conditions = self.graph.conditions.iter();
        for condition in conditions.filter(|condition| within(condition.inputs, inputs) && condition.inputs.count_ones() > 1) {
            rows *= condition.share;
        }
        for (_, factor) in self.corrections.iter().filter(|(both, _)| within(*both, inputs)) {
            rows *= factor;
        }
        let rows = rows.max(1.0);
        self.rows.insert(inputs, rows);
        rows
    }

    /// Rows that a join sends to other nodes, and where its result lies: as `align` will do it.
    fn movement(&self, build: &Partial, probe: &Partial, keys: &[usize]) -> (f64, Place) {
        // Rows that lie by one of several keys have to move like any others.
        let lies_by_key = |place: Place| matches!(place, Place::Class(class) if keys == [class]);
        match (build.place, probe.place) {
            (Place::Everywhere, other) | (other, Place::Everywhere) => (0.0, other),
            (one, other) if one == other && lies_by_key(one) => (0.0, one),
            (_, other) if build.rows <= self.broadcast_rows_max => (build.rows * COPIES, other),
            (one, _) if lies_by_key(one) => (probe.rows, one),
            (_, other) if lies_by_key(other) => (build.rows, other),
            _ => {
                let place = if let [class] = keys { Place::Class(*class) } else { Place::Anywhere };
                (build.rows + probe.rows, place)
            }
        }
    }
}

impl Partial {
    /// What this join of two of `parts` adds, for a choice that does not look ahead: few rows first.
    fn step(&self, parts: &[Partial], one: usize, other: usize) -> f64 {
        self.rows + self.cost - parts[one].cost - parts[other].cost
    }
}

fn connects(one: Inputs, other: Inputs, left: Inputs, right: Inputs) -> bool {
    newly_covered(one | other, left, right)
        && ((within(one, left) && within(other, right)) || (within(other, left) && within(one, right)))
}

fn corrections(graph: &Graph) -> Vec<(Inputs, f64)> {
    let mut found = Vec::new();
    for one in 0..graph.inputs.len() {
        for other in one + 1..graph.inputs.len() {
            let pairs = graph.classes.iter().filter_map(|class| {
                let distinct = |input: usize| {
                    let (_, column) = class.iter().find(|(known, _)| *known == input)?;
                    graph.inputs[input].relation.columns.get(*column).map(|known| known.distinct)
                };
                Some((distinct(one)?, distinct(other)?))
            });
            let pairs: Vec<(f64, f64)> = pairs.collect();
            if pairs.len() < 2 {
                continue;
            }
            let rows = |input: usize| graph.inputs[input].relation.rows;
            let independent: f64 = pairs.iter().map(|(one, other)| one.max(*other)).product();
            let largest = pairs.iter().map(|(one, other)| one.max(*other)).fold(1.0, f64::max);
            let combined = |all: f64, rows: f64| all.min(rows);
            let one_side = combined(pairs.iter().map(|(one, _)| one).product(), rows(one));
            let other_side = combined(pairs.iter().map(|(_, other)| other).product(), rows(other));
            let together = one_side.min(other_side).max(largest).min(independent);
            found.push(((1 << one) | (1 << other), independent / together));
        }
    }
    found
}
