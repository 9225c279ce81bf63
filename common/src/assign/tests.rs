use super::*;
use crate::catalog::{Column, Distribution, SortStyle};
use crate::ids::{ColumnId, DatabaseId, TableId};
use SqlType::*;
use arrow::array::*;

const MOST_DIGITS: i128 = 10i128.pow(38) - 1;

fn table(columns: &[(&str, SqlType, bool)]) -> Arc<Table> {
    let column = |(index, (name, sql_type, not_null)): (usize, &(&str, SqlType, bool))| Column {
        id: ColumnId(index as u32 + 1),
        name: (*name).to_owned(),
        sql_type: *sql_type,
        not_null: *not_null,
        default_expression: None,
        encoding: None,
        identity: None,
        stored_name: None,
        missing_value: None,
    };
    Arc::new(Table {
        id: TableId(7),
        database: DatabaseId::default(),
        schema: "public".into(),
        name: "t".into(),
        owner: "admin".into(),
        columns: columns.iter().enumerate().map(column).collect(),
        distribution: Distribution::Even,
        distribution_auto: false,
        sort_style: SortStyle::Compound,
        sort_key: vec![],
        sort_auto: false,
        encode_auto: false,
        backup: true,
        constraints: vec![],
        next_column_id: 0,
    })
}

fn assign_with(array: ArrayRef, target: SqlType, not_null: bool, truncate_strings: bool) -> Result<ArrayRef> {
    let batch = RecordBatch::try_from_iter_with_nullable([("c", array, true)]).unwrap();
    let assigner = Assigner::new(
        table(&[("c", target, not_null)]),
        &batch.schema(),
        AssignOptions { truncate_strings, ..AssignOptions::default() },
    )?;
    let out = assigner.assign(&batch, &|row| format!("row {}", row + 1))?;
    assert_eq!(out.schema(), assigner.schema());
    Ok(Arc::clone(out.column(0)))
}

/// What each value becomes, as text; for an array with a refused value, its SQLSTATE.
fn assign(array: impl Array + 'static, target: SqlType) -> Vec<String> {
    match assign_with(Arc::new(array), target, false, false) {
        Err(error) => vec![error.sqlstate().to_owned()],
        Ok(out) => {
            let shown = |row| arrow::util::display::array_value_to_string(&out, row).unwrap();
            (0..out.len()).map(|row| if out.is_null(row) { "NULL".to_owned() } else { shown(row) }).collect()
        }
    }
}

fn texts(target: SqlType, values: &[&str]) -> Vec<String> {
    values.iter().flat_map(|value| assign(StringViewArray::from(vec![*value]), target)).collect()
}

fn decimal(values: &[i128], precision: u8, scale: i8) -> Decimal128Array {
    Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap()
}

#[test]
fn integers_keep_to_their_range() {
    let ok = assign(Int64Array::from(vec![Some(i64::from(i32::MIN)), Some(i64::from(i32::MAX)), None]), Integer);
    assert_eq!(ok, ["-2147483648", "2147483647", "NULL"]);
    assert_eq!(assign(Int64Array::from(vec![i64::from(i32::MAX) + 1]), Integer), ["22003"]);
    assert_eq!(assign(Int64Array::from(vec![i64::from(i32::MIN) - 1]), Integer), ["22003"]);
    assert_eq!(assign(Int32Array::from(vec![32_768]), SmallInt), ["22003"]);
    assert_eq!(assign(UInt64Array::from(vec![u64::MAX]), BigInt), ["22003"]);
    assert_eq!(assign(Int16Array::from(vec![i16::MIN]), BigInt), ["-32768"]);
    assert_eq!(assign(Int64Array::from(vec![2, 0]), Boolean), ["true", "false"]);
    // A value under a NULL does not count.
    let hidden = Int64Array::new(vec![i64::MAX, 1].into(), Some(vec![false, true].into()));
    assert_eq!(assign(hidden, SmallInt), ["NULL", "1"]);
}

#[test]
fn floats_round_half_even_to_integers_and_by_their_digits_to_decimals() {
    assert_eq!(assign(Float64Array::from(vec![0.5, 1.5, 2.5, -0.5, -1.5]), Integer), ["0", "2", "2", "0", "-2"]);
    assert_eq!(assign(Float64Array::from(vec![32_767.4, -32_768.5]), SmallInt), ["32767", "-32768"]);
    for bad in [32_767.5, f64::NAN, f64::INFINITY] {
        assert_eq!(assign(Float64Array::from(vec![bad]), SmallInt), ["22003"], "{bad}");
    }
    assert_eq!(assign(Float64Array::from(vec![9_223_372_036_854_775_808.0]), BigInt), ["22003"]);
    assert_eq!(assign(Float64Array::from(vec![-9_223_372_036_854_775_808.0]), BigInt), ["-9223372036854775808"]);
    let money = Decimal { precision: 5, scale: 2 };
    assert_eq!(assign(Float64Array::from(vec![0.1, 1.005, -2.675]), money), ["0.10", "1.01", "-2.68"]);
    assert_eq!(assign(Float32Array::from(vec![0.1]), Decimal { precision: 20, scale: 10 }), ["0.1000000000"]);
    assert_eq!(assign(Float64Array::from(vec![999.995]), money), ["22003"]);
    assert_eq!(assign(Float64Array::from(vec![f64::NAN]), money), ["22003"]);
    assert_eq!(assign(Float64Array::from(vec![1e39]), Real), ["22003"]);
    assert_eq!(assign(Float64Array::from(vec![1e-60]), Real), ["22003"]);
    assert_eq!(assign(Float64Array::from(vec![f64::INFINITY]), Real), ["inf"]);
}

#[test]
fn decimals_round_half_away_from_zero_and_keep_to_their_digits() {
    let to = |precision, scale| Decimal { precision, scale };
    assert_eq!(assign(decimal(&[125, -125, 124, 5], 10, 2), to(10, 1)), ["1.3", "-1.3", "1.2", "0.1"]);
    assert_eq!(assign(decimal(&[150, 250, -50, 49], 10, 2), Integer), ["2", "3", "-1", "0"]);
    assert_eq!(assign(decimal(&[99_995], 10, 2), to(4, 1)), ["22003"]);
    assert_eq!(assign(decimal(&[MOST_DIGITS], 38, 0), to(38, 0)), [MOST_DIGITS.to_string()]);
    assert_eq!(assign(decimal(&[MOST_DIGITS], 38, 0), to(38, 1)), ["22003"]);
    assert_eq!(assign(decimal(&[MOST_DIGITS], 38, 37), to(38, 0)), ["10"]);
    assert_eq!(assign(decimal(&[MOST_DIGITS], 38, 0), BigInt), ["22003"]);
    assert_eq!(assign(decimal(&[i128::from(i64::MIN)], 38, 0), BigInt), [i64::MIN.to_string()]);
    assert_eq!(assign(Int64Array::from(vec![i64::MIN]), to(38, 19)), [format!("{}.{}", i64::MIN, "0".repeat(19))]);
    assert_eq!(assign(Int64Array::from(vec![1000]), to(5, 2)), ["22003"]);
    assert_eq!(assign(Int16Array::from(vec![-999]), to(5, 2)), ["-999.00"]);
    assert_eq!(assign(decimal(&[MOST_DIGITS], 38, 0), DoublePrecision), ["1e38"]);
    assert_eq!(assign(decimal(&[10], 10, 2), DoublePrecision), ["0.1"]);
    assert_eq!(assign(decimal(&[1], 5, -3), to(10, 1)), ["1000.0"]);
    let wide = |value| Decimal256Array::from(vec![value]).with_precision_and_scale(76, 40).unwrap();
    let one = i256::from_i128(10i128.pow(20)).wrapping_mul(i256::from_i128(10i128.pow(20)));
    assert_eq!(assign(wide(one.wrapping_mul(i256::from_i128(15)) / i256::from_i128(10)), to(10, 0)), ["2"]);
    assert_eq!(assign(wide(i256::from_i128(-15).wrapping_mul(one) / i256::from_i128(10)), Integer), ["-2"]);
    assert_eq!(assign(wide(i256::from_i128(i128::from(i32::MAX) + 1).wrapping_mul(one)), Integer), ["22003"]);
}

#[test]
fn rescaling_agrees_with_long_division_on_text() {
    // The reference: shift the decimal point in the text and round on its digits.
    let reference = |value: i128, from: usize, to: usize| {
        let text = format!("{:0>width$}", value.unsigned_abs(), width = from + 1);
        let kept: i128 = text[..text.len() - (from - to)].parse().unwrap();
        let up = text.as_bytes()[text.len() - (from - to)] >= b'5';
        (kept + i128::from(up)) * value.signum()
    };
    let mut state = 88_172_645_463_325_252u64;
    for _ in 0..2000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let value = (i128::from(state as i64) * 1_000_003) >> (state % 90);
        let (from, to) = (1 + (state % 20) as usize, (state % 20) as usize * ((state >> 32) % 2) as usize);
        let out = assign(decimal(&[value], 38, from as i8), Decimal { precision: 37, scale: to as u8 });
        let mut expected = String::new();
        if to < from {
            write_decimal(&mut expected, reference(value, from, to), to as i8).unwrap();
        } else {
            write_decimal(&mut expected, value * 10i128.pow((to - from) as u32), to as i8).unwrap();
        }
        assert_eq!(out, [expected], "{value} from {from} to {to}");
    }
}

#[test]
fn strings_are_measured_in_bytes() {
    assert_eq!(texts(VarChar(4), &["", "abcd", "ab    ", "éé", "ééé", "abcde"]), ["", "abcd", "ab  ", "éé", "22001", "22001"]);
    assert_eq!(texts(Char(4), &["ab  ", "ab      ", "    ", "abcde"]), ["ab", "ab", "", "22001"]);
    let long = "a string that does not fit into a view of twelve bytes";
    let array: ArrayRef = Arc::new(StringViewArray::from(vec![Some(long), None, Some("éééé"), Some("x")]));
    let cut = assign_with(Arc::clone(&array), VarChar(5), false, true).unwrap();
    assert_eq!(cut.as_string_view().iter().collect::<Vec<_>>(), [Some("a str"), None, Some("éé"), Some("x")]);
    let longer = assign_with(array, VarChar(20), false, true).unwrap();
    assert_eq!(longer.as_string_view().value(0), &long[..20]);
    assert_eq!(assign(LargeStringArray::from(vec![Some(long), None]), VarChar(256)), [long, "NULL"]);
    assert_eq!(assign(Int64Array::from(vec![-123, 45_678]), VarChar(5)), ["-123", "45678"]);
    assert_eq!(assign(Int64Array::from(vec![123_456]), Char(5)), ["22001"]);
    assert_eq!(assign(decimal(&[-5], 5, 2), VarChar(10)), ["-0.05"]);
    assert_eq!(assign(Float64Array::from(vec![1e20, 0.5]), VarChar(10)), ["1e+20", "0.5"]);
}

#[test]
fn what_fits_is_not_copied() {
    let strings: ArrayRef = Arc::new(StringViewArray::from(vec!["a string of more than twelve bytes"; 3]));
    let out = assign_with(Arc::clone(&strings), VarChar(100), true, false).unwrap();
    assert_eq!(out.as_string_view().views().as_ptr(), strings.as_string_view().views().as_ptr());
    let numbers: ArrayRef = Arc::new(decimal(&[1, 2], 10, 2));
    let wider = assign_with(Arc::clone(&numbers), Decimal { precision: 12, scale: 2 }, true, false).unwrap();
    let values = |array: &ArrayRef| array.as_primitive::<Decimal128Type>().values().as_ptr();
    assert_eq!(values(&wider), values(&numbers));
}

#[test]
fn texts_become_anything() {
    assert_eq!(texts(SmallInt, &[" 32767 ", "32768", "", "1.5"]), ["32767", "22003", "22P02", "22P02"]);
    assert_eq!(
        texts(Decimal { precision: 4, scale: 2 }, &["99.994", "99.995", "-.005", "NaN"]),
        ["99.99", "22003", "-0.01", "22P02"]
    );
    assert_eq!(texts(Boolean, &["yes", "F", "maybe"]), ["true", "false", "22P02"]);
    assert_eq!(texts(DoublePrecision, &["NaN", "-infinity", "1e400"]), ["NaN", "-inf", "22003"]);
    assert_eq!(texts(Date, &["2024-02-29", "2023-02-29", "soon"]), ["2024-02-29", "22008", "22007"]);
    assert_eq!(texts(Timestamp, &["2024-01-31 10:11:12.5+02"]), ["2024-01-31T10:11:12.500"]);
    assert_eq!(texts(TimestampTz, &["2024-01-31 10:11:12.5+02"]), ["2024-01-31T08:11:12.500Z"]);
    assert_eq!(texts(Time, &["23:59:59.999999", "24:00:01", "x"]), ["23:59:59.999999", "22008", "22007"]);
    assert_eq!(texts(TimeTz, &["01:00:00+02"]), ["23:00:00"]);
}

#[test]
fn times_convert_among_each_other() {
    let micros =
        |text: &str| TimestampMicrosecondArray::from(vec![datetime_text::parse_moment(text, true).unwrap().timestamp().unwrap()]);
    assert_eq!(assign(micros("1969-12-31 23:59:59"), Date), ["1969-12-31"]);
    assert_eq!(assign(micros("1969-12-31 23:59:59"), Time), ["23:59:59"]);
    assert_eq!(assign(micros("2024-01-31 10:00:00"), TimestampTz), ["2024-01-31T10:00:00Z"]);
    assert_eq!(assign(micros("2024-01-31 10:00:00"), VarChar(30)), ["2024-01-31 10:00:00"]);
    assert_eq!(assign(micros("2024-01-31 10:00:00").with_timezone("UTC"), VarChar(30)), ["2024-01-31 10:00:00+00"]);
    assert_eq!(assign(micros("2024-01-31 10:00:00").with_timezone("Europe/Berlin"), Timestamp), ["2024-01-31T10:00:00"]);
    assert_eq!(assign(Date32Array::from(vec![Some(-1), None]), Timestamp), ["1969-12-31T00:00:00", "NULL"]);
    assert_eq!(assign(Date32Array::from(vec![i32::MAX]), Timestamp), ["22008"]);
    assert_eq!(assign(Date32Array::from(vec![19_753]), Char(10)), ["2024-01-31"]);
    assert_eq!(assign(Time64MicrosecondArray::from(vec![1_500_000]), VarChar(20)), ["00:00:01.5"]);
}

#[test]
fn errors_name_the_column_the_value_and_the_row() {
    let error = assign_with(Arc::new(Int64Array::from(vec![1, 99_999])), SmallInt, false, false).unwrap_err();
    assert_eq!(error.message, "value out of range for smallint");
    assert_eq!(error.detail.as_deref(), Some("column \"c\" of table \"public.t\", row 2: value \"99999\""));
    let error = assign_with(Arc::new(StringArray::from(vec!["x".repeat(500)])), VarChar(10), false, false).unwrap_err();
    assert_eq!((error.sqlstate(), error.message.as_str()), ("22001", "value too long for type character varying(10)"));
    assert!(error.detail.is_some_and(|detail| detail.len() < 200 && detail.contains("(500 bytes)")));
    let error = assign_with(Arc::new(Int32Array::from(vec![Some(1), None])), Integer, true, false).unwrap_err();
    assert_eq!(error.message, "null value in column \"c\" violates not-null constraint");
    assert_eq!(error.sqlstate(), "23502");
    assert_eq!(error.detail.as_deref(), Some("column \"c\" of table \"public.t\", row 2"));
    let nulls = assign_with(Arc::new(NullArray::new(2)), Date, true, false).unwrap_err();
    assert_eq!(nulls.sqlstate(), "23502");
    assert_eq!(assign(NullArray::new(2), Date), ["NULL", "NULL"]);
}

#[test]
fn what_redshift_does_not_assign_is_refused_before_any_row() {
    let error = assign_with(Arc::new(BooleanArray::from(vec![true])), Date, false, false).unwrap_err();
    assert_eq!(error.sqlstate(), "42804");
    assert_eq!(error.message, "column \"c\" is of type date but expression is of type boolean");
    for (array, target) in [
        (Arc::new(Date32Array::from(vec![1])) as ArrayRef, Integer),
        (Arc::new(Int64Array::from(vec![1])), Timestamp),
        (Arc::new(Float64Array::from(vec![1.0])), Boolean),
        (Arc::new(BooleanArray::from(vec![true])), VarChar(5)),
        (Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(1, 1)])), VarChar(5)),
    ] {
        assert_eq!(assign_with(array, target, false, false).unwrap_err().sqlstate(), "42804", "{target}");
    }
    let two = Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Int32, true)]);
    let error = Assigner::new(table(&[("c", Integer, false)]), &two, AssignOptions::default()).unwrap_err();
    assert!(error.message.contains("more expressions than target columns"), "{error}");
}

#[test]
fn every_pair_that_is_assignable_has_a_conversion() {
    let kinds = [
        SmallInt,
        Integer,
        BigInt,
        Decimal { precision: 10, scale: 2 },
        Real,
        DoublePrecision,
        Boolean,
        Char(40),
        VarChar(40),
        Date,
        Time,
        TimeTz,
        Timestamp,
        TimestampTz,
    ];
    for source in kinds {
        for target in kinds {
            let field = source.to_field("c", true);
            let batch =
                RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![new_null_array(&source.to_arrow(), 3)]).unwrap();
            let assigner = Assigner::new(table(&[("c", target, false)]), &batch.schema(), AssignOptions::default());
            assert_eq!(assigner.is_ok(), is_assignable(source, target), "{source} to {target}");
            if let Ok(assigner) = assigner {
                let out = assigner.assign(&batch, &|row| row.to_string()).unwrap();
                assert_eq!(out.column(0).null_count(), 3, "{source} to {target}");
            }
        }
    }
}
