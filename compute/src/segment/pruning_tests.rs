//! Scans leave a segment out only where no row of it passes: random rows and conditions of every type, with the statistics that segments get.

use super::statistics::StatisticsCollector;
use crate::testing::{Numbers, batch, table};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr, TryCastExpr, in_list,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use roaring::RoaringBitmap;
use slipher_common::SqlType;
use slipher_common::catalog::{Distribution, Table};
use slipher_common::functions::{self, DATE_TRUNC, ROUND_TO_WHOLE, TIGHT, TO_REAL};
use slipher_common::ids::{SegmentId, SliceId};
use slipher_common::manifest::{DeleteVector, Details, KnownColumn, Segment, SegmentColumns};
use slipher_common::pruning::{TableSegments, may_hold};
use std::sync::Arc;
use uuid::Uuid;

type Expression = Arc<dyn PhysicalExpr>;

const TABLES: usize = 40;
const SEGMENTS: usize = 5;
const CONDITIONS: usize = 60;
const MICROSECONDS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

const TYPES: &[SqlType] = &[
    SqlType::Boolean,
    SqlType::SmallInt,
    SqlType::Integer,
    SqlType::BigInt,
    SqlType::Decimal { precision: 15, scale: 2 },
    SqlType::Decimal { precision: 38, scale: 10 },
    SqlType::Real,
    SqlType::DoublePrecision,
    SqlType::Char(10),
    SqlType::VarChar(200),
    SqlType::Date,
    SqlType::Time,
    SqlType::TimeTz,
    SqlType::Timestamp,
    SqlType::TimestampTz,
];

/// Random rows of one type, and conditions on them.
struct Random {
    numbers: Numbers,
    sql_type: SqlType,
    /// About where values lie.
    centre: i64,
}

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        (self.numbers.next() >> 11) % limit
    }

    fn text(&mut self) -> String {
        let letters = ["a", "b", "B", "!", "\t", " ", "é", "\u{1}", "%", "z"];
        let first = ["", "a", "b", "ba", "z "][self.centre.rem_euclid(5) as usize];
        let length = if self.below(12) == 0 { 80 } else { self.below(5) };
        let mut text = first.to_owned();
        (0..length).for_each(|_| text += letters[self.below(letters.len() as u64) as usize]);
        text + &" ".repeat(self.below(3) as usize)
    }

    fn value(&mut self) -> ScalarValue {
        let small = self.centre * 10 + self.below(12) as i64 - 3;
        let special = self.below(8) == 0;
        let far = [i64::MIN / 2, -3_000_000, 0, 3_000_000, i64::MAX / 2][self.below(5) as usize];
        let number = if special { far } else { small };
        let float = match (special, self.below(7)) {
            (true, 0) => f64::NAN,
            (true, 1) => -f64::NAN,
            (true, 2) => f64::INFINITY,
            (true, 3) => f64::NEG_INFINITY,
            (_, 4) => -0.0,
            (_, 5) => 0.0,
            _ => small as f64 / 4.0,
        };
        match self.sql_type {
            SqlType::Boolean => ScalarValue::Boolean(Some(self.below(10) as i64 > self.centre.rem_euclid(3) * 5)),
            SqlType::SmallInt => ScalarValue::Int16(Some(small as i16)),
            SqlType::Integer => ScalarValue::Int32(Some(number as i32)),
            SqlType::BigInt => ScalarValue::Int64(Some(number)),
            SqlType::Decimal { precision, scale } => {
                ScalarValue::Decimal128(Some(i128::from(small) * 25), precision, scale as i8)
            }
            SqlType::Real => ScalarValue::Float32(Some(float as f32)),
            SqlType::DoublePrecision => ScalarValue::Float64(Some(float)),
            SqlType::Char(_) => {
                ScalarValue::Utf8View(Some(self.text().chars().take(4).collect::<String>().trim_end_matches(' ').to_owned()))
            }
            SqlType::VarChar(_) => ScalarValue::Utf8View(Some(self.text())),
            // Beyond what nanoseconds can count.
            SqlType::Date => {
                ScalarValue::Date32(Some(if special { far.clamp(-2_000_000, 107_000_000) as i32 } else { small as i32 * 20 }))
            }
            SqlType::Time | SqlType::TimeTz => ScalarValue::Time64Microsecond(Some(small.rem_euclid(1000) * 1_000_000)),
            SqlType::Timestamp => {
                ScalarValue::TimestampMicrosecond(Some(if special { far } else { small * 86_400_000_000 }), None)
            }
            SqlType::TimestampTz => {
                ScalarValue::TimestampMicrosecond(Some(if special { far } else { small * 86_400_000_000 }), Some("UTC".into()))
            }
            SqlType::Super | SqlType::VarByte(_) => unreachable!("nothing is known of such columns"),
        }
    }

    fn null(&self) -> ScalarValue {
        ScalarValue::try_from(&self.sql_type.to_arrow()).unwrap()
    }

    fn column(&mut self, rows: usize) -> ArrayRef {
        let nulls = [0, 0, 4, 10][self.below(4) as usize];
        let values = (0..rows).map(|_| if self.below(10) < nulls { self.null() } else { self.value() });
        ScalarValue::iter_to_array(values.collect::<Vec<_>>()).unwrap()
    }

    /// A value to compare with: one like those of some segment, or NULL.
    fn literal(&mut self) -> ScalarValue {
        self.centre = self.below(SEGMENTS as u64 + 2) as i64 - 1;
        if self.below(12) == 0 { self.null() } else { self.value() }
    }

    /// A column, or something that keeps its order, with a way to make literals of the same type.
    fn operand(&mut self, schema: &Schema) -> (Expression, DataType) {
        let index = self.below(2) as usize;
        let column: Expression = Arc::new(Column::new(schema.field(index).name(), index));
        let data_type = self.sql_type.to_arrow();
        let call = |name: &str, arguments: Vec<Expression>| -> Expression {
            let function = functions::all().into_iter().find(|function| function.name() == name).unwrap();
            Arc::new(ScalarFunctionExpr::try_new(function, arguments, schema, Arc::new(ConfigOptions::default())).unwrap())
        };
        let month: Expression = Arc::new(Literal::new(ScalarValue::from("month")));
        let targets: &[DataType] = match self.sql_type {
            SqlType::Boolean => &[DataType::Int32],
            SqlType::SmallInt => &[DataType::Int64, DataType::Decimal128(10, 2), DataType::Float64],
            SqlType::Integer => &[DataType::Int16, DataType::Float32, DataType::Int64],
            SqlType::BigInt => &[DataType::Float64, DataType::Int32],
            SqlType::Decimal { .. } => &[DataType::Decimal128(20, 1), DataType::Int64, DataType::Float64],
            SqlType::Real => &[DataType::Float64, DataType::Int32],
            SqlType::DoublePrecision => &[DataType::Int32, DataType::Float32],
            SqlType::Char(_) | SqlType::VarChar(_) => &[DataType::Utf8],
            SqlType::Date => &[MICROSECONDS],
            SqlType::Timestamp => &[DataType::Date32],
            SqlType::Time | SqlType::TimeTz | SqlType::TimestampTz | SqlType::Super | SqlType::VarByte(_) => &[],
        };
        match (self.below(4), self.sql_type) {
            (0, SqlType::VarChar(_)) => (call(TIGHT, vec![column]), data_type),
            (0, SqlType::Date | SqlType::Timestamp) => {
                let cut = call(DATE_TRUNC, vec![month, column]);
                let cut_type = cut.data_type(schema).unwrap();
                (cut, cut_type)
            }
            (0, SqlType::DoublePrecision) => (call(TO_REAL, vec![column]), DataType::Float32),
            (0, SqlType::Decimal { .. }) => {
                let rounded = call(ROUND_TO_WHOLE, vec![column]);
                let rounded_type = rounded.data_type(schema).unwrap();
                (rounded, rounded_type)
            }
            (1, _) if !targets.is_empty() => {
                let target = targets[self.below(targets.len() as u64) as usize].clone();
                match self.below(2) {
                    0 => (Arc::new(CastExpr::new(column, target.clone(), None)), target),
                    _ => (Arc::new(TryCastExpr::new(column, target.clone())), target),
                }
            }
            _ => (column, data_type),
        }
    }

    fn literal_of(&mut self, data_type: &DataType) -> Expression {
        let value = self.literal();
        let value = value.cast_to(data_type).unwrap_or_else(|_| ScalarValue::try_from(data_type).unwrap());
        Arc::new(Literal::new(value))
    }

    fn condition(&mut self, schema: &Schema, depth: u64) -> Expression {
        use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
        const OPERATORS: [Operator; 8] = [Eq, NotEq, Lt, LtEq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom];
        if depth > 0 {
            match self.below(8) {
                0..=2 => {
                    let op = if self.below(2) == 0 { Operator::And } else { Operator::Or };
                    return Arc::new(BinaryExpr::new(self.condition(schema, depth - 1), op, self.condition(schema, depth - 1)));
                }
                3 => return Arc::new(NotExpr::new(self.condition(schema, depth - 1))),
                4 if self.below(2) == 0 => return Arc::new(IsNullExpr::new(self.condition(schema, depth - 1))),
                _ => {}
            }
        }
        let (operand, data_type) = self.operand(schema);
        let negated = self.below(2) == 0;
        match self.below(8) {
            0 => Arc::new(IsNullExpr::new(operand)),
            1 => Arc::new(IsNotNullExpr::new(operand)),
            2 => {
                let values = (0..=self.below(4)).map(|_| self.literal_of(&data_type)).collect();
                in_list(operand, values, &negated, schema).unwrap()
            }
            3 | 4 if data_type.is_string() => {
                let text = self.literal().try_as_str().flatten().unwrap_or("b").chars().take(3).collect::<String>();
                let pattern = ScalarValue::Utf8(Some(format!("{text}{}", ["%", "", "_", "%a"][self.below(4) as usize])));
                let pattern = pattern.cast_to(&data_type).unwrap();
                Arc::new(LikeExpr::new(negated, false, operand, Arc::new(Literal::new(pattern))))
            }
            3 if data_type == self.sql_type.to_arrow() => {
                let other: Expression = Arc::new(Column::new(schema.field(1).name(), 1));
                Arc::new(BinaryExpr::new(operand, OPERATORS[self.below(8) as usize], other))
            }
            4 if data_type == DataType::Boolean => operand,
            5 => Arc::new(BinaryExpr::new(self.literal_of(&data_type), OPERATORS[self.below(8) as usize], operand)),
            _ => Arc::new(BinaryExpr::new(operand, OPERATORS[self.below(8) as usize], self.literal_of(&data_type))),
        }
    }

    /// A segment's rows with its receipt. It may have no second column, whose rows are then all the same, and rows that are deleted.
    fn segment(&mut self, table: &Table, number: usize) -> (RecordBatch, Segment) {
        self.centre = number as i64;
        let rows = 1 + self.below(6) as usize;
        let (first, mut second) = (self.column(rows), self.column(rows));
        let has_second = self.below(4) > 0;
        if !has_second {
            let value = if self.below(2) == 0 { self.null() } else { self.value() };
            second = value.to_array_of_size(rows).unwrap();
        }
        let rows = batch(table, vec![first, second]);
        let mut collector = StatisticsCollector::new(table).unwrap();
        collector.update(&rows).unwrap();
        let (mut columns, _) = collector.finish().unwrap();
        columns.truncate(if has_second { 2 } else { 1 });
        let deletes = self.below(3) == 0;
        let deleted = (0..rows.num_rows() as u32).filter(|_| deletes && self.below(2) == 0).collect::<RoaringBitmap>();
        let segment = Segment {
            id: SegmentId(Uuid::from_u128(number as u128)),
            table: table.id,
            slice: SliceId(0),
            slice_count: 8,
            rows: rows.num_rows() as u64,
            bytes: 1,
            checksum: 0,
            nodes: Vec::new(),
            columns: SegmentColumns::new(columns.iter().map(KnownColumn::from)),
            details: Details::of(&columns),
            placement_epoch: 0,
            sorted_by: Vec::new(),
            delete_vector: DeleteVector::new(deleted),
        };
        (rows, segment)
    }
}

/// Whether the condition is true for some row that is not deleted; None when it cannot be evaluated.
fn is_wanted(condition: &Expression, rows: &RecordBatch, segment: &Segment) -> Option<bool> {
    let truth = condition.evaluate(rows).ok()?.into_array(rows.num_rows()).ok()?;
    let truth = truth.as_boolean();
    let deleted = |row: usize| segment.delete_vector.as_ref().is_some_and(|deleted| deleted.rows().contains(row as u32));
    Some((0..truth.len()).any(|row| truth.is_valid(row) && truth.value(row) && !deleted(row)))
}

/// What is known of the segments of a table that had fewer, and of these other deleted rows, when somebody asked first.
fn grown(table: &Table, segments: &[Arc<Segment>], asked: &[Expression]) -> TableSegments {
    let (third, half) = (SEGMENTS / 3, SEGMENTS / 2);
    let before = segments[..third].iter().map(|segment| Arc::new(Segment { delete_vector: None, ..Segment::clone(segment) }));
    let before: Vec<_> = before.collect();
    let mut known = TableSegments::new(table, &before);
    for end in [third, half, SEGMENTS] {
        may_hold(&known, asked);
        known = known.advanced(&segments[..end]).expect("the same segments and further ones");
    }
    assert!(known.advanced(&segments[..half]).is_none() && known.advanced(&segments[1..]).is_none());
    known
}

#[test]
fn what_is_known_of_a_table_grows_with_it() {
    for (place, sql_type) in TYPES.iter().enumerate() {
        let table = table(&[(*sql_type, false), (*sql_type, false)], Distribution::Even, &[]);
        let mut random = Random { numbers: Numbers(0x96 + place as u64), sql_type: *sql_type, centre: 0 };
        for _ in 0..TABLES {
            let segments: Vec<_> = (0..SEGMENTS).map(|number| Arc::new(random.segment(&table, number).1)).collect();
            let schema = table.arrow_schema();
            let conditions: Vec<_> = (0..CONDITIONS).map(|_| random.condition(&schema, 2)).collect();
            let (asked, others) = conditions.split_at(CONDITIONS / 4);
            let (known, all) = (grown(&table, &segments, asked), TableSegments::new(&table, &segments));
            for condition in asked.iter().chain(others) {
                let condition = std::slice::from_ref(condition);
                assert_eq!(may_hold(&known, condition), may_hold(&all, condition), "{sql_type}: {condition:?}");
            }
        }
    }
}

#[test]
fn no_segment_with_a_row_that_passes_is_left_out() {
    for (place, sql_type) in TYPES.iter().enumerate() {
        let table = table(&[(*sql_type, false), (*sql_type, false)], Distribution::Even, &[]);
        let mut random = Random { numbers: Numbers(0x5eed + place as u64), sql_type: *sql_type, centre: 0 };
        let (mut left_out, mut could_be) = (0, 0);
        for _ in 0..TABLES {
            let (rows, segments): (Vec<_>, Vec<_>) = (0..SEGMENTS).map(|number| random.segment(&table, number)).unzip();
            let segments: Vec<Arc<Segment>> = segments.into_iter().map(Arc::new).collect();
            let known = TableSegments::new(&table, &segments);
            for _ in 0..CONDITIONS {
                let condition = random.condition(&table.arrow_schema(), 2);
                let kept = may_hold(&known, std::slice::from_ref(&condition));
                for (number, (rows, segment)) in rows.iter().zip(&segments).enumerate() {
                    let Some(wanted) = is_wanted(&condition, rows, segment) else { continue };
                    assert!(kept.value(number) || !wanted, "{sql_type}: {condition} over {rows:?}, {segment:?}");
                    could_be += usize::from(!wanted);
                    left_out += usize::from(!kept.value(number));
                }
            }
        }
        assert!(left_out * 4 > could_be, "{sql_type}: {left_out} of {could_be} segments without such rows are left out");
    }
}
