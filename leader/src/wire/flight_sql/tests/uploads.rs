//! Bulk ingest.

use super::*;
use arrow::array::{Array, AsArray as _, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use arrow_flight::sql::{CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use futures::stream;

fn batch(values: &[i64]) -> RecordBatch {
    let text: StringArray = values.iter().map(|value| Some(format!("v{value}"))).collect();
    RecordBatch::try_from_iter([
        ("a", Arc::new(Int64Array::from(values.to_vec())) as Arc<dyn Array>),
        ("t", Arc::new(text) as Arc<dyn Array>),
    ])
    .unwrap()
}

async fn ingest(
    client: &mut Client,
    table: &str,
    if_not_exist: TableNotExistOption,
    if_exists: TableExistsOption,
    batches: Vec<RecordBatch>,
) -> Result<i64, FlightError> {
    let options = TableDefinitionOptions { if_not_exist: if_not_exist.into(), if_exists: if_exists.into() };
    let command =
        CommandStatementIngest { table: table.to_owned(), table_definition_options: Some(options), ..Default::default() };
    client.execute_ingest(command, stream::iter(batches.into_iter().map(Ok))).await
}

async fn count(client: &mut Client, table: &str) -> i64 {
    let rows = query(client, &format!("SELECT count(*) FROM {table}")).await.unwrap();
    rows[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test]
async fn ingest_creates_appends_and_replaces() {
    use TableExistsOption::{Append, Fail, Replace};
    use TableNotExistOption::Create;
    let server = Server::start().await;
    let client = &mut server.client().await;
    assert_eq!(ingest(client, "i", Create, Fail, vec![batch(&[1, 2]), batch(&[3])]).await.unwrap(), 3);
    assert_eq!(ingest(client, "i", TableNotExistOption::Fail, Append, vec![batch(&[4])]).await.unwrap(), 1);
    assert_eq!(count(client, "i").await, 4);
    assert_eq!(sqlstate(ingest(client, "i", Create, Fail, vec![batch(&[5])]).await.unwrap_err()), "42P07");
    assert_eq!(ingest(client, "i", Create, Append, vec![batch(&[5])]).await.unwrap(), 1);
    assert_eq!(count(client, "i").await, 5);
    assert_eq!(ingest(client, "i", Create, Replace, vec![batch(&[6])]).await.unwrap(), 1);
    assert_eq!(count(client, "i").await, 1);
    let missing = ingest(client, "j", TableNotExistOption::Fail, Append, vec![batch(&[1])]).await.unwrap_err();
    assert_eq!(sqlstate(missing), "42P01");
    assert_eq!(ingest(client, "empty", Create, Fail, vec![batch(&[])]).await.unwrap(), 0);
    assert_eq!(count(client, "empty").await, 0);
}

#[tokio::test]
async fn a_failed_ingest_takes_its_table_back() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let failed = ingest(client, "broken", TableNotExistOption::Create, TableExistsOption::Fail, vec![batch(&[1])]).await;
    assert_eq!(sqlstate(failed.unwrap_err()), "23502");
    let ran = server.engine.ran.lock().clone();
    assert_eq!((ran[0].as_str(), ran[2].as_str(), ran.len()), ("BEGIN", "ROLLBACK", 3));

    let server = Server::start_with(FlightOptions { transactions: false, ..Default::default() }).await;
    let client = &mut server.client().await;
    let failed = ingest(client, "broken", TableNotExistOption::Create, TableExistsOption::Fail, vec![batch(&[1])]).await;
    assert_eq!(sqlstate(failed.unwrap_err()), "23502");
    assert_eq!(server.engine.ran.lock().last().unwrap(), "DROP TABLE \"broken\"");
    let again = ingest(client, "broken", TableNotExistOption::Create, TableExistsOption::Append, vec![batch(&[1])]).await;
    assert_eq!(sqlstate(again.unwrap_err()), "23502");
    let twice = ingest(client, "broken", TableNotExistOption::Create, TableExistsOption::Fail, vec![batch(&[1])]).await;
    assert_eq!(sqlstate(twice.unwrap_err()), "42P07");
    assert_eq!(server.ran_count("DROP TABLE \"broken\""), 1, "a table that was there before stays");
    assert_eq!(sqlstate(client.begin_transaction().await.unwrap_err()), "0A000");
}
