//! COPY table FROM 'path' with Redshift's options, in any order.

use super::Parsed;
use super::copy_options::Options;
use super::copy_spec::CopySpec;
use super::lex::Cursor;
use datafusion::sql::sqlparser::tokenizer::Token;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashSet;

/// Places that Redshift reads and Slipher does not, and what to use.
const OTHER_SOURCES: &[(&str, &str)] = &[
    ("s3://", "copy the files into the directory that the leader's configuration allows for COPY, and name them by path"),
    ("emr://", "write the files into the directory that the leader's configuration allows for COPY"),
    ("dynamodb://", "export the table to Parquet or CSV files"),
    ("ssh://", "copy the files into the directory that the leader's configuration allows for COPY"),
    ("http://", "download the files into the directory that the leader's configuration allows for COPY"),
    ("https://", "download the files into the directory that the leader's configuration allows for COPY"),
];

/// Parses COPY to the end of the statement.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Parsed> {
    let start = cursor.position();
    cursor.expect(&["COPY"])?;
    if cursor.looking_at(&["JOB"]) && cursor.peek_at(1).is_none_or(|lexeme| lexeme.keyword().as_deref() != Some("FROM")) {
        return Err(Error::not_supported("COPY JOB", "run COPY when there are new files").at(start));
    }
    let table = cursor.qualified_name("a table")?;
    let columns = if cursor.looking_at_token(&Token::LParen) { cursor.names_in_parentheses("a column")? } else { Vec::new() };
    let mut seen = HashSet::new();
    if let Some(twice) = columns.iter().find(|column| !seen.insert(column.value.as_str())) {
        return Err(
            Error::new(ErrorKind::DuplicateColumn, format!("column \"{twice}\" specified more than once")).at(twice.position)
        );
    }
    if cursor.looking_at(&["TO"]) {
        return Err(Error::not_supported("COPY TO", "read the rows with a query, over PostgreSQL or Flight SQL").at(start));
    }
    cursor.expect(&["FROM"])?;
    let source_position = cursor.position();
    if cursor.looking_at(&["STDIN"]) {
        return Err(Error::not_supported("COPY FROM STDIN", "send rows with Flight SQL ingest (ADBC), or COPY from a file")
            .at(source_position));
    }
    let text = cursor.string("a path in single quotes")?;
    let options = Options::parse(cursor)?;
    if let Some((scheme, instead)) = OTHER_SOURCES.iter().find(|(scheme, _)| text.to_lowercase().starts_with(scheme)) {
        return Err(Error::not_supported(format_args!("COPY from {scheme}"), *instead).at(source_position));
    }
    let source = text.strip_prefix("file://").unwrap_or(&text).to_owned();
    if source.is_empty() {
        return Err(Error::new(ErrorKind::InvalidParameter, "COPY: the path is empty").at(source_position));
    }
    let explicit_ids = options.explicit_ids();
    let (format, access, mut notices) = options.finish()?;
    if access.credentials.is_some() || access.region.is_some() {
        notices.push(format!("credentials and region are ignored: \"{source}\" is a path on the leader's side"));
    }
    Ok(Parsed::Copy(Box::new(CopySpec { table, columns, source, source_position, format, explicit_ids, access, notices })))
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse as parse_text;
    use super::*;
    use crate::copy_spec::CopyFormat;
    use slipher_proto::plan::CsvOptions;
    use std::sync::Arc;

    fn parsed(sql: &str) -> Parsed {
        Arc::into_inner(parse_text(sql).unwrap().remove(0).parsed).unwrap()
    }

    fn copy(sql: &str) -> CopySpec {
        match parsed(sql) {
            Parsed::Copy(spec) => *spec,
            other => panic!("{other:?}"),
        }
    }

    fn csv(sql: &str) -> CsvOptions {
        match copy(sql).format {
            CopyFormat::Csv(options) => options,
            CopyFormat::Parquet => panic!("parquet"),
        }
    }

    fn refused(sql: &str) -> (String, Option<usize>, &'static str) {
        match parsed(sql) {
            Parsed::Refused(error) => (error.message.clone(), error.position, error.sqlstate()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn legacy_options_come_in_any_order_and_case() {
        let spec = copy(
            "COPY raw_data.customers FROM '/d/c.csv' CREDENTIALS 'aws_iam_role=arn:x' delimiter ',' dateformat 'auto' \
             timeformat 'auto' IGNOREHEADER 1 removequotes;",
        );
        assert_eq!(spec.table.to_string(), "raw_data.customers");
        assert_eq!(spec.access.credentials.as_deref(), Some("aws_iam_role=arn:x"));
        assert!(!format!("{spec:?}").contains("arn:x"));
        assert_eq!(spec.notices.len(), 1);
        let CopyFormat::Csv(options) = spec.format else { panic!() };
        assert_eq!(
            options,
            CsvOptions {
                delimiter: ",".to_owned(),
                ignore_header: 1,
                null_as: "\\N".to_owned(),
                remove_quotes: true,
                date_format: "auto".to_owned(),
                time_format: "auto".to_owned(),
                ..CsvOptions::default()
            }
        );
    }

    #[test]
    fn csv_has_its_own_defaults() {
        let options = csv("copy t (a, b) from 'x' format as csv quote as '%' null as '' gzip maxerror 5 fillrecord");
        assert_eq!((options.delimiter.as_str(), options.quote.as_str(), options.null_as.as_str()), (",", "%", ""));
        assert!(options.csv_mode && options.fill_record);
        assert_eq!((options.compression.as_str(), options.max_error), ("gzip", 5));
        assert_eq!(csv("copy t from 'x'").delimiter, "|");
        assert_eq!(csv("copy t from 'x' csv").quote, "\"");
        for tab in ["'\\t'", "'\\\\t'", "'\\011'", "'\\\\011'", "'\\\\x09'", "E'\\t'"] {
            assert_eq!(csv(&format!("copy t from 'x' delimiter {tab}")).delimiter, "\t", "{tab}");
        }
        assert_eq!(csv("copy t from 'x' escape null '\\\\N'").null_as, "\\N");
        assert_eq!(csv("copy t from 'x' null '\\000'").null_as, "\0");
    }

    #[test]
    fn parquet_takes_no_options_of_text() {
        assert_eq!(copy("copy t from 'x' iam_role default format as parquet").format, CopyFormat::Parquet);
        assert_eq!(copy("copy t from 'file:///a/b' parquet region 'eu'").source, "/a/b");
        let (message, position, state) = refused("copy t from 'x' parquet delimiter ','");
        assert_eq!((message.as_str(), position, state), ("DELIMITER with FORMAT PARQUET is not supported", Some(25), "0A000"));
    }

    #[test]
    fn what_cannot_be_is_named_and_positioned() {
        assert_eq!(
            refused("copy t from 's3://b/k' iam_role 'r' csv"),
            ("COPY from s3:// is not supported".into(), Some(13), "0A000")
        );
        assert_eq!(refused("copy t from 'x' json 'auto'"), ("COPY option JSON is not supported".into(), Some(17), "0A000"));
        assert_eq!(refused("copy t from stdin"), ("COPY FROM STDIN is not supported".into(), Some(13), "0A000"));
        assert_eq!(refused("copy t from 'x' csv removequotes").2, "22023");
        assert_eq!(refused("copy t from 'x' delimiter ';;'").1, Some(27));
        assert_eq!(refused("copy t from 'x' ignoreheader -1").2, "22023");
        let error = parse_text("copy t from 'x' ignorheader 1").unwrap_err();
        assert_eq!((error.sqlstate(), error.position), ("42601", Some(17)));
        assert_eq!(error.hint.as_deref(), Some("did you mean \"IGNOREHEADER\"?"));
        assert_eq!(parse_text("copy t from x").unwrap_err().position, Some(13));
    }
}
