//! What the endpoint and the dialect can do (GetSqlInfo), and the column types (GetXdbcTypeInfo).

use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity, SqlSupportedTransaction, XdbcDataType,
    XdbcDatetimeSubcode,
};
use slipher_common::sql_type::{
    CHAR_LENGTH_MAX_BYTES, DECIMAL_PRECISION_MAX_DIGITS, DECIMAL_SCALE_MAX_DIGITS, VARCHAR_LENGTH_MAX_BYTES,
};
use slipher_common::{Error, Result, VERSION};

/// Version of the Arrow format this endpoint speaks.
const ARROW_FORMAT_VERSION: &str = "1.5";

/// The answers of GetSqlInfo.
pub(super) fn sql_info(transactions: bool) -> Result<SqlInfoData> {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Slipher");
    info.append(SqlInfo::FlightSqlServerVersion, VERSION);
    info.append(SqlInfo::FlightSqlServerArrowVersion, ARROW_FORMAT_VERSION);
    info.append(SqlInfo::FlightSqlServerReadOnly, false);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    let transaction = if transactions { SqlSupportedTransaction::Transaction } else { SqlSupportedTransaction::None };
    info.append(SqlInfo::FlightSqlServerTransaction, transaction as i32);
    info.append(SqlInfo::FlightSqlServerCancel, true);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, true);
    info.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, transactions);
    info.append(SqlInfo::FlightSqlServerStatementTimeout, 0i32);
    info.append(SqlInfo::FlightSqlServerTransactionTimeout, 0i32);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, true);
    info.append(SqlInfo::SqlDdlTable, true);
    info.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(SqlInfo::SqlQuotedIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32);
    info.append(SqlInfo::SqlAllTablesAreSelectable, true);
    info.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlSupportsColumnAliasing, true);
    info.append(SqlInfo::SqlNullPlusNullIsNull, true);
    info.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    info.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    info.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    info.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    info.append(SqlInfo::SqlSupportsNonNullableColumns, true);
    info.append(SqlInfo::SqlSchemaTerm, "schema");
    info.append(SqlInfo::SqlCatalogTerm, "database");
    info.append(SqlInfo::SqlCatalogAtStart, true);
    info.build().map_err(|error| Error::internal(format!("building the answers of GetSqlInfo: {error}")))
}

/// The answers of GetXdbcTypeInfo.
pub(super) fn type_info() -> Result<XdbcTypeInfoData> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for info in numeric_types().into_iter().chain(other_types()) {
        types.append(info);
    }
    types.build().map_err(|error| Error::internal(format!("building the answers of GetXdbcTypeInfo: {error}")))
}

fn entry(name: &str, data_type: XdbcDataType, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        local_type_name: Some(name.to_owned()),
        data_type,
        sql_data_type: data_type,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        auto_increment: Some(false),
        ..Default::default()
    }
}

fn numeric_types() -> Vec<XdbcTypeInfo> {
    let number = |name: &str, data_type, digits, radix| XdbcTypeInfo {
        unsigned_attribute: Some(false),
        num_prec_radix: Some(radix),
        searchable: Searchable::Basic,
        ..entry(name, data_type, digits)
    };
    let decimal = XdbcTypeInfo {
        create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
        fixed_prec_scale: true,
        minimum_scale: Some(0),
        maximum_scale: Some(i32::from(DECIMAL_SCALE_MAX_DIGITS)),
        ..number("numeric", XdbcDataType::XdbcNumeric, i32::from(DECIMAL_PRECISION_MAX_DIGITS), 10)
    };
    vec![
        number("smallint", XdbcDataType::XdbcSmallint, 5, 10),
        number("integer", XdbcDataType::XdbcInteger, 10, 10),
        number("bigint", XdbcDataType::XdbcBigint, 19, 10),
        decimal,
        number("real", XdbcDataType::XdbcReal, 24, 2),
        number("double precision", XdbcDataType::XdbcDouble, 53, 2),
        XdbcTypeInfo { searchable: Searchable::Basic, ..entry("boolean", XdbcDataType::XdbcBit, 1) },
    ]
}

fn other_types() -> Vec<XdbcTypeInfo> {
    let quoted =
        |info: XdbcTypeInfo| XdbcTypeInfo { literal_prefix: Some("'".to_owned()), literal_suffix: Some("'".to_owned()), ..info };
    let text = |name: &str, data_type, bytes: u32| XdbcTypeInfo {
        create_params: Some(vec!["length".to_owned()]),
        case_sensitive: true,
        ..quoted(entry(name, data_type, i32::try_from(bytes).unwrap_or(i32::MAX)))
    };
    let moment = |name: &str, data_type, size, subcode| XdbcTypeInfo {
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(subcode),
        searchable: Searchable::Basic,
        ..quoted(entry(name, data_type, size))
    };
    use XdbcDatetimeSubcode as Subcode;
    vec![
        text("character", XdbcDataType::XdbcChar, CHAR_LENGTH_MAX_BYTES),
        text("character varying", XdbcDataType::XdbcVarchar, VARCHAR_LENGTH_MAX_BYTES),
        // Number 1 is DATE among the datetime subcodes and YEAR among those of intervals.
        moment("date", XdbcDataType::XdbcDate, 10, Subcode::XdbcSubcodeYear),
        moment("time without time zone", XdbcDataType::XdbcTime, 15, Subcode::XdbcSubcodeTime),
        moment("time with time zone", XdbcDataType::XdbcTime, 21, Subcode::XdbcSubcodeTimeWithTimezone),
        moment("timestamp without time zone", XdbcDataType::XdbcTimestamp, 26, Subcode::XdbcSubcodeTimestamp),
        moment("timestamp with time zone", XdbcDataType::XdbcTimestamp, 32, Subcode::XdbcSubcodeTimestampWithTimezone),
    ]
}
