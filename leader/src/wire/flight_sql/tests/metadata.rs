//! Metadata calls.

use super::*;
use arrow::array::{Array, AsArray as _};
use arrow::datatypes::{DataType, Schema};
use arrow_flight::IpcMessage;
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetTables,
    CommandGetXdbcTypeInfo, SqlInfo,
};

#[tokio::test]
async fn tables_and_schemas_are_listed() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    client.execute_update("CREATE TABLE cities (name VARCHAR, area NUMERIC(10, 2))".to_owned(), None).await.unwrap();
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(fetch(client, info).await.unwrap()[0].column(0).as_string::<i32>().value(0), "dev");
    let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    assert!(table(&fetch(client, info).await.unwrap()).contains("public"));
    let command =
        CommandGetTables { table_name_filter_pattern: Some("cit%".to_owned()), include_schema: true, ..Default::default() };
    let info = client.get_tables(command).await.unwrap();
    let announced = info.clone().try_decode_schema().unwrap();
    let listed = fetch(client, info).await.unwrap();
    assert_eq!(*listed[0].schema(), announced);
    assert_eq!(listed[0].num_rows(), 1);
    assert_eq!(listed[0].column(3).as_string::<i32>().value(0), "TABLE");
    let columns = listed[0].column(4).as_binary::<i32>().value(0).to_vec();
    let columns = Schema::try_from(IpcMessage(columns.into())).unwrap();
    assert_eq!(columns.field(0).data_type(), &DataType::Utf8);
    assert_eq!(columns.field(1).metadata()["ARROW:FLIGHT:SQL:SCALE"], "2");
    let info = client.get_table_types().await.unwrap();
    assert_eq!(fetch(client, info).await.unwrap()[0].num_rows(), 3);
}

#[tokio::test]
async fn keys_are_listed() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let command = CommandGetPrimaryKeys { table: "parent".to_owned(), ..Default::default() };
    let info = client.get_primary_keys(command).await.unwrap();
    let keys = fetch(client, info).await.unwrap();
    assert_eq!(keys[0].column(3).as_string::<i32>().value(0), "id");
    assert_eq!(keys[0].column(4).as_string::<i32>().value(0), "parent_pkey");
    let command = CommandGetImportedKeys { table: "child".to_owned(), ..Default::default() };
    let info = client.get_imported_keys(command).await.unwrap();
    let imported = fetch(client, info).await.unwrap();
    assert_eq!(imported[0].column(3).as_string::<i32>().value(0), "id");
    assert_eq!(imported[0].column(7).as_string::<i32>().value(0), "parent_id");
    assert!(imported[0].column(9).is_null(0));
    let command = CommandGetExportedKeys { table: "parent".to_owned(), ..Default::default() };
    let info = client.get_exported_keys(command).await.unwrap();
    assert_eq!(fetch(client, info).await.unwrap(), imported);
    let command = CommandGetExportedKeys { table: "child".to_owned(), ..Default::default() };
    let info = client.get_exported_keys(command).await.unwrap();
    assert_eq!(fetch(client, info).await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

#[tokio::test]
async fn the_endpoint_tells_what_it_can() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerTransaction]).await.unwrap();
    let answer = fetch(client, info).await.unwrap();
    assert_eq!(answer[0].num_rows(), 2);
    assert!(table(&answer).contains("Slipher"));
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    let types = fetch(client, info).await.unwrap();
    assert_eq!(types[0].num_rows(), 14);
}
