//! The one table of casts: which type becomes which, and what of that Slipher does by itself.
//!
//! It is Redshift's table of implicit conversions ("Type compatibility and conversion"), read as follows:
//! - **Implicit**: in every expression. Numbers become wider numbers, whole numbers BOOLEAN, a DATE a TIMESTAMP, and numbers, dates and times
//!   become text where they meet a *column* of text: `v = 16` compares texts, and never fails because another row has no number in `v`.
//!   (Redshift's table has `INTEGER` to `VARCHAR` and not the other way round, as the PostgreSQL 8.0 that it comes from.)
//! - **Assignment**: the others of that table, which lose something; where a value is written to a column. Text becomes anything there.
//! - **Explicit**: with CAST only.
//!
//! Text in quotes and parameters have no type of their own: they take that of what they meet ([`compared`], [`together`]), and are
//! read as that, whatever the table says of VARCHAR. The engine has text in quotes as `Utf8`, everything that is VARCHAR as `Utf8View`.

use crate::numeric;
use crate::sql_type::SqlType;
use arrow::datatypes::DataType;

/// Types without their lengths and digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// SMALLINT
    SmallInt,
    /// INTEGER
    Integer,
    /// BIGINT
    BigInt,
    /// DECIMAL
    Decimal,
    /// REAL
    Real,
    /// DOUBLE PRECISION
    Double,
    /// BOOLEAN
    Boolean,
    /// CHAR, VARCHAR
    Text,
    /// DATE
    Date,
    /// TIME
    Time,
    /// TIMETZ
    TimeTz,
    /// TIMESTAMP
    Timestamp,
    /// TIMESTAMPTZ
    TimestampTz,
    /// Both kinds of INTERVAL
    Interval,
    /// SUPER
    Super,
    /// VARBYTE
    Bytes,
}

/// When a cast happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// By itself, wherever the other type is needed.
    Implicit,
    /// By itself where a value is written to a column.
    Assignment,
    /// Where CAST says so.
    Explicit,
}

use Kind::{
    BigInt, Boolean, Bytes, Date, Decimal, Double, Integer, Interval, Real, SmallInt, Super, Text, Time, TimeTz, Timestamp,
    TimestampTz,
};

/// From a type to others: implicitly, by assignment, explicitly.
type Row = (Kind, &'static [Kind], &'static [Kind], &'static [Kind]);

const TABLE: &[Row] = &[
    (SmallInt, &[Integer, BigInt, Decimal, Real, Double, Boolean, Text, Super], &[], &[Bytes]),
    (Integer, &[BigInt, Decimal, Real, Double, Boolean, Text, Super], &[SmallInt], &[Bytes]),
    (BigInt, &[Decimal, Real, Double, Boolean, Text, Super], &[SmallInt, Integer], &[Bytes]),
    (Decimal, &[Real, Double, Text, Super], &[SmallInt, Integer, BigInt], &[Boolean]),
    (Real, &[Double, Text, Super], &[SmallInt, Integer, BigInt, Decimal], &[Boolean]),
    (Double, &[Text, Super], &[SmallInt, Integer, BigInt, Decimal, Real], &[Boolean]),
    (Boolean, &[Super], &[], &[SmallInt, Integer, BigInt, Text]),
    (
        Text,
        &[Super],
        &[SmallInt, Integer, BigInt, Decimal, Real, Double, Boolean, Date, Time, TimeTz, Timestamp, TimestampTz, Bytes],
        &[Interval],
    ),
    (Date, &[Timestamp, TimestampTz, Text], &[], &[]),
    (Time, &[TimeTz, Text], &[], &[Interval]),
    (TimeTz, &[Text], &[Time], &[]),
    (Timestamp, &[TimestampTz, Text], &[Date, Time], &[TimeTz]),
    (TimestampTz, &[Text], &[Date, TimeTz, Timestamp], &[Time]),
    (Interval, &[Text], &[], &[Time]),
    (Bytes, &[], &[Text], &[]),
    // What a SUPER value is nobody knows before it is there: it must be cast, but for conditions.
    (
        Super,
        &[],
        &[],
        &[SmallInt, Integer, BigInt, Decimal, Real, Double, Boolean, Text, Date, Time, TimeTz, Timestamp, TimestampTz],
    ),
];

/// When values of `from` become values of `to`; None: never.
pub fn cast(from: Kind, to: Kind) -> Option<When> {
    if from == to {
        return Some(When::Implicit);
    }
    let (_, implicit, assignment, explicit) = TABLE.iter().find(|(kind, ..)| *kind == from)?;
    [(implicit, When::Implicit), (assignment, When::Assignment), (explicit, When::Explicit)]
        .into_iter()
        .find_map(|(targets, when)| targets.contains(&to).then_some(when))
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 16] = [
        SmallInt,
        Integer,
        BigInt,
        Decimal,
        Real,
        Double,
        Boolean,
        Text,
        Date,
        Time,
        TimeTz,
        Timestamp,
        TimestampTz,
        Interval,
        Super,
        Bytes,
    ];

    /// The kind of a type.
    pub fn of(sql_type: SqlType) -> Self {
        match sql_type {
            SqlType::SmallInt => SmallInt,
            SqlType::Integer => Integer,
            SqlType::BigInt => BigInt,
            SqlType::Decimal { .. } => Decimal,
            SqlType::Real => Real,
            SqlType::DoublePrecision => Double,
            SqlType::Boolean => Boolean,
            SqlType::Char(_) | SqlType::VarChar(_) => Text,
            SqlType::Date => Date,
            SqlType::Time => Time,
            SqlType::TimeTz => TimeTz,
            SqlType::Timestamp => Timestamp,
            SqlType::TimestampTz => TimestampTz,
            SqlType::Super => Super,
            SqlType::VarByte(_) => Bytes,
        }
    }

    /// The kind of an expression's type; None: one that the table does not have.
    pub fn of_arrow(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Null => None,
            DataType::Interval(_) | DataType::Duration(_) => Some(Interval),
            other => SqlType::from_arrow(other).ok().map(Self::of),
        }
    }

    /// Whether it is a number.
    pub fn is_number(self) -> bool {
        matches!(self, SmallInt | Integer | BigInt | Decimal | Real | Double)
    }

    /// Whether it is a number without digits behind the point.
    pub fn is_whole(self) -> bool {
        matches!(self, SmallInt | Integer | BigInt)
    }

    /// Whether it has a day.
    pub fn is_moment(self) -> bool {
        matches!(self, Date | Timestamp | TimestampTz)
    }

    /// The name that messages use.
    pub fn name(self) -> &'static str {
        match self {
            SmallInt => "smallint",
            Integer => "integer",
            BigInt => "bigint",
            Decimal => "numeric",
            Real => "real",
            Double => "double precision",
            Boolean => "boolean",
            Text => "character varying",
            Date => "date",
            Time => "time without time zone",
            TimeTz => "time with time zone",
            Timestamp => "timestamp without time zone",
            TimestampTz => "timestamp with time zone",
            Interval => "interval",
            Super => "super",
            Bytes => "binary varying",
        }
    }
}

/// The name of an expression's type in messages.
pub fn type_name(data_type: &DataType) -> String {
    match (data_type, Kind::of_arrow(data_type)) {
        (DataType::Null, _) => "unknown".to_owned(),
        (_, Some(kind)) => kind.name().to_owned(),
        (DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..), None) => "array".to_owned(),
        (DataType::Struct(_), None) => "record".to_owned(),
        (_, None) => "unknown".to_owned(),
    }
}

/// What two types make of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// Both become this.
    In(DataType),
    /// Nothing has to be done, or nothing is known of one of them.
    AsTheyAre,
    /// They have nothing in common.
    Never,
}

/// What values of two types are compared as. Days and moments are as they are: the engine compares them.
pub fn compared(one: &DataType, other: &DataType) -> Meeting {
    let is_moment = |data_type: &DataType| Kind::of_arrow(data_type).is_some_and(Kind::is_moment);
    if is_moment(one) && is_moment(other) { Meeting::AsTheyAre } else { meet(one, other, numeric::compared_as) }
}

/// What values of two types are in one column: of CASE, COALESCE, VALUES, UNION.
pub fn together(one: &DataType, other: &DataType) -> Meeting {
    let is_text = |data_type: &DataType| Kind::of_arrow(data_type) == Some(Text);
    if one != other && is_text(one) && is_text(other) {
        return Meeting::In(DataType::Utf8View);
    }
    meet(one, other, numeric::common_type)
}

fn meet(one: &DataType, other: &DataType, numbers: fn(&DataType, &DataType) -> Option<DataType>) -> Meeting {
    if one == other {
        return Meeting::AsTheyAre;
    }
    let (Some(a), Some(b)) = (Kind::of_arrow(one), Kind::of_arrow(other)) else { return Meeting::AsTheyAre };
    if a.is_number() && b.is_number() {
        return numbers(one, other).map_or(Meeting::AsTheyAre, Meeting::In);
    }
    let implicit = |from: Kind, to: Kind| cast(from, to) == Some(When::Implicit);
    match (implicit(a, b), implicit(b, a)) {
        _ if a.is_moment() && b.is_moment() => {
            let zoned = [a, b].contains(&TimestampTz);
            Meeting::In(if zoned { SqlType::TimestampTz } else { SqlType::Timestamp }.to_arrow())
        }
        _ if a == b || matches!((a, b), (Time | TimeTz, Time | TimeTz)) => Meeting::AsTheyAre,
        (true, _) => Meeting::In(form(b, other)),
        (_, true) => Meeting::In(form(a, one)),
        _ => Meeting::Never,
    }
}

/// A type as plans have it.
fn form(kind: Kind, data_type: &DataType) -> DataType {
    if kind == Text { DataType::Utf8View } else { data_type.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_row_and_no_cast_stands_twice() {
        for kind in Kind::ALL {
            let rows: Vec<&Row> = TABLE.iter().filter(|(from, ..)| *from == kind).collect();
            let [(_, implicit, assignment, explicit)] = rows.as_slice() else { panic!("{kind:?} has {} rows", rows.len()) };
            for to in Kind::ALL {
                let times = [implicit, assignment, explicit].into_iter().filter(|targets| targets.contains(&to)).count();
                assert!(times <= 1 && (times == 0 || to != kind), "{kind:?} to {to:?}");
            }
        }
    }

    #[test]
    fn no_two_types_become_each_other_by_themselves() {
        for one in Kind::ALL {
            for other in Kind::ALL.into_iter().filter(|other| *other != one) {
                let implicit = |a, b| cast(a, b) == Some(When::Implicit);
                assert!(!(implicit(one, other) && implicit(other, one)), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn text_is_what_others_become() {
        let decimal = DataType::Decimal128(8, 2);
        assert_eq!(compared(&DataType::Utf8View, &DataType::Int32), Meeting::In(DataType::Utf8View));
        assert_eq!(compared(&DataType::Boolean, &DataType::Int64), Meeting::In(DataType::Boolean));
        assert_eq!(compared(&DataType::Boolean, &decimal), Meeting::Never);
        assert_eq!(compared(&DataType::Date32, &DataType::Int32), Meeting::Never);
        assert_eq!(together(&DataType::Date32, &SqlType::Timestamp.to_arrow()), Meeting::In(SqlType::Timestamp.to_arrow()));
        assert_eq!(together(&DataType::Int32, &decimal), Meeting::In(DataType::Decimal128(12, 2)));
        assert_eq!(together(&DataType::Utf8, &DataType::Boolean), Meeting::Never);
    }
}
