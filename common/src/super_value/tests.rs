use super::*;
use proptest::prelude::*;
use serde_json::Value as Json;

fn parsed(text: &str) -> Vec<u8> {
    parse_json(text, ParseOptions::default()).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn shown(bytes: &[u8]) -> String {
    let mut out = String::new();
    write_json(Node::new(bytes), usize::MAX, &mut out).unwrap();
    out
}

fn key(text: &str) -> Vec<u8> {
    key_of(Node::new(&parsed(text))).unwrap()
}

/// The bytes are stored: these may be added to, and never changed.
#[test]
fn golden_bytes() {
    for line in include_str!("../../../tests/golden/super_values.txt").lines().filter(|line| !line.starts_with('#')) {
        let (hex, json) = line.split_once(' ').unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        assert_eq!(shown(&bytes), json);
        assert_eq!(parsed(json).iter().map(|byte| format!("{byte:02x}")).collect::<String>(), hex, "{json}");
    }
}

#[test]
fn texts_come_back_without_blanks() {
    for (text, expected) in [
        (" [ 1 , 2.50 , -0 , 1e3, \"a\\u00e9\\n\\/\" , null,true ,{ } ] ", "[1,2.50,0,1000,\"aé\\n/\",null,true,{}]"),
        ("{\"b\":{\"c\":[]},\"a\":1}", "{\"b\":{\"c\":[]},\"a\":1}"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", "9223372036854775808"),
        ("-99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"),
        ("100000000000000000000000000000000000000", "1e38"),
        ("0.00", "0.00"),
        ("1E-7", "1e-7"),
        ("\"\\ud83d\\ude00\\u0001\"", "\"😀\\u0001\""),
    ] {
        assert_eq!(shown(&parsed(text)), expected, "{text}");
    }
}

#[test]
fn what_is_no_json_is_refused() {
    let bad = [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        ".5",
        "1e",
        "-",
        "nul",
        "[1 2]",
        "{\"a\" 1}",
        "[}",
        "{]",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a",
        "\"\n\"",
        "1 2",
        "[1]]",
        "'a'",
        "NaN",
        "\"\\ud83d\"",
        "\"\\u0000\"",
        "\"\\ud83d\\u0041\"",
        "tru",
        "]",
        ",",
    ];
    for text in bad {
        assert_eq!(parse_json(text, ParseOptions::default()).unwrap_err().kind, ErrorKind::InvalidText, "{text}");
    }
    assert_eq!(parse_json("1e400", ParseOptions::default()).unwrap_err().kind, ErrorKind::NumericOutOfRange);
    let twice = "{\"a\":1,\"b\":[{}],\"a\":{\"c\":[2]},\"b\":3}";
    assert_eq!(parse_json(twice, ParseOptions::default()).unwrap_err().kind, ErrorKind::InvalidText);
    let last = parse_json(twice, ParseOptions { dedup_attributes: true, ..ParseOptions::default() }).unwrap();
    assert_eq!(shown(&last), "{\"a\":{\"c\":[2]},\"b\":3}");
}

#[test]
fn depth_and_sizes_have_limits() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let deepest = parsed(&nested(1_000));
    assert_eq!(shown(&deepest), nested(1_000));
    assert_eq!(Node::new(&deepest).depth().unwrap(), 1_000);
    assert_eq!(parse_json(&nested(1_001), ParseOptions::default()).unwrap_err().kind, ErrorKind::TooComplex);
    let mut builder = Builder::default();
    builder.open_array().unwrap();
    assert_eq!(builder.value(Node::new(&deepest)).unwrap_err().kind, ErrorKind::TooComplex);
    let mut builder = Builder::default();
    builder.open_array().unwrap();
    builder.open_array().unwrap();
    builder.value(Node::new(&parsed(&nested(998)))).unwrap();
    builder.close().unwrap();
    builder.close().unwrap();
    assert_eq!(Node::new(&builder.finish().unwrap()).depth().unwrap(), 1_000);
    let long = format!("\"{}\"", "x".repeat(STRING_MAX_BYTES + 1));
    assert_eq!(parse_json(&long, ParseOptions::default()).unwrap_err().kind, ErrorKind::StringTooLong);
    let cut = parse_json(&long, ParseOptions { truncate_strings: true, ..ParseOptions::default() }).unwrap();
    assert_eq!(shown(&cut).len(), STRING_MAX_BYTES + 2);
    let element = format!("\"{}\",", "y".repeat(60_000));
    let large = |count: usize| format!("[{}1]", element.repeat(count));
    assert!(parse_json(&large(279), ParseOptions::default()).is_ok());
    assert_eq!(parse_json(&large(280), ParseOptions::default()).unwrap_err().kind, ErrorKind::StringTooLong);
}

#[test]
fn keys_order_values_and_are_equal_where_these_are() {
    let ascending = [
        "false",
        "true",
        "-1e300",
        "-9223372036854775809",
        "-12",
        "-1.5",
        "-1",
        "-0.5",
        "-0.01",
        "0",
        "1e-300",
        "0.001",
        "0.01",
        "0.5",
        "1",
        "1.5",
        "2",
        "9",
        "10",
        "10.5",
        "99",
        "100",
        "9223372036854775807",
        "1e300",
        "\"\"",
        "\"\\t\"",
        "\"a\"",
        "\"a\\t\"",
        "\"aa\"",
        "\"b\"",
        "[]",
        "[null]",
        "[1]",
        "[1,0]",
        "[2]",
        "[[]]",
        "{}",
        "{\"a\":1}",
        "{\"a\":1,\"b\":0}",
        "{\"a\":2}",
        "{\"b\":0}",
    ];
    for pair in ascending.windows(2) {
        assert!(key(pair[0]) < key(pair[1]), "{} {}", pair[0], pair[1]);
    }
    for (one, other) in [
        ("1", "1.0"),
        ("1", "1e0"),
        ("0.1", "1e-1"),
        ("-0", "0.000"),
        ("100", "1e2"),
        ("\"a\"", "\"a  \""),
        ("[1.0,\"x \"]", "[1,\"x\"]"),
        ("{\"a\":1,\"b\":2}", "{\"b\":2.0,\"a\":1}"),
    ] {
        assert_eq!(key(one), key(other), "{one} {other}");
    }
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1000i64..1000).prop_map(Json::from),
        "\\PC{0,20}".prop_map(Json::from),
        "[a-c\"\\\\\n\u{1}]{0,6}".prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::hash_map("[a-d]{0,3}", inner, 0..6).prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// A value by way of its parts.
fn rebuilt(node: Node<'_>) -> Json {
    match node.read().unwrap() {
        Value::Null => Json::Null,
        Value::Boolean(value) => value.into(),
        Value::Number(number) => serde_json::from_str(&number_text(number)).unwrap(),
        Value::String(text) => text.into(),
        Value::Array(array) => array.iter().map(|element| rebuilt(element.unwrap())).collect(),
        Value::Object(object) => {
            let entries = object.iter().map(Result::unwrap).map(|(name, value)| {
                assert_eq!(object.get(name).unwrap().unwrap().bytes(), value.bytes());
                (name.to_owned(), rebuilt(value))
            });
            Json::Object(entries.collect())
        }
    }
}

proptest! {
    #[test]
    fn values_are_what_serde_json_reads(value in json()) {
        let text = serde_json::to_string(&value).unwrap();
        let bytes = parsed(&text);
        prop_assert_eq!(&rebuilt(Node::new(&bytes)), &value);
        prop_assert_eq!(serde_json::from_str::<Json>(&shown(&bytes)).unwrap(), value);
        prop_assert_eq!(parsed(&shown(&bytes)), bytes);
    }

    #[test]
    fn texts_are_json_for_both_or_for_none(text in "[\\[\\]{},:\"a1.e \\\\-]{0,12}") {
        let ours = parse_json(&text, ParseOptions { dedup_attributes: true, ..ParseOptions::default() });
        let theirs = serde_json::from_str::<Json>(&text);
        let out_of_range = ours.as_ref().is_err_and(|error| error.kind == ErrorKind::NumericOutOfRange);
        prop_assert!(out_of_range || ours.is_ok() == theirs.is_ok(), "{:?} {:?} {:?}", text, ours, theirs);
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_more(value in json(), place in any::<usize>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = parsed(&serde_json::to_string(&value).unwrap());
        let place = place % bytes.len();
        if cut { bytes.truncate(place) } else { bytes[place] = byte }
        let mut out = String::new();
        let _ = write_json(Node::new(&bytes), 1 << 16, &mut out);
    }

    #[test]
    fn keys_order_numbers(one in any::<f64>(), other in any::<i32>()) {
        let both = [Number::double(one), Some(Number::Int(other.into()))];
        if let [Some(one_number), Some(other_number)] = both {
            let keys = [one_number, other_number].map(|number| {
                let mut builder = Builder::default();
                builder.number(number).unwrap();
                key_of(Node::new(&builder.finish().unwrap())).unwrap()
            });
            prop_assert_eq!(keys[0].cmp(&keys[1]), one.partial_cmp(&f64::from(other)).unwrap());
        }
    }
}
