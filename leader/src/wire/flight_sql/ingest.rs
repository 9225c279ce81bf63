//! Bulk ingest: creates or replaces the table where the client asks for it, and appends the uploaded rows.

use super::client::Client;
use super::input::{Upload, UploadStream, session_type};
use super::prepared::single_statement;
use super::query::detached;
use crate::frontend::Outcome;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt as _, stream};
use slipher_common::flight::cast;
use slipher_common::sql_type::VARCHAR_LENGTH_MAX_BYTES;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::sync::Arc;

/// Statements that come before the rows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Preparation {
    drop: Option<String>,
    create: Option<String>,
    /// The table is this ingest's own once it is created, so it goes when the rows fail.
    is_own: bool,
}

/// Ingests an upload; answers how many rows. With `transactions`, making the table and filling it is one transaction.
pub(super) async fn ingest(
    client: &Arc<Client>,
    command: CommandStatementIngest,
    stream: UploadStream,
    transactions: bool,
) -> Result<u64> {
    check(client, &command)?;
    let upload = Upload::open(stream, "ingesting rows").await?;
    let mut upload =
        upload.ok_or_else(|| Error::new(ErrorKind::ProtocolViolation, "ingesting rows: no rows and no schema came"))?;
    let first = upload.next().await.transpose()?;
    let Some(schema) = upload.schema().filter(|schema| !schema.fields().is_empty()) else {
        return Err(Error::new(ErrorKind::ProtocolViolation, "ingesting rows: the upload has no columns"));
    };
    let preparation = prepare(&command, &schema)?;
    let rows = rows(upload, first, &schema)?;
    let owner = client.clone();
    detached(client, async move { fill(&owner, &command, &preparation, rows, transactions).await }).await
}

async fn fill(
    client: &Arc<Client>,
    command: &CommandStatementIngest,
    preparation: &Preparation,
    rows: SendableRecordBatchStream,
    transactions: bool,
) -> Result<u64> {
    let changes_catalog = preparation.create.is_some();
    let own_transaction = changes_catalog && transactions && client.session.transaction_status() == b'I';
    if own_transaction {
        execute(client, "BEGIN").await?;
    }
    let mut created = false;
    let filled = prepare_and_append(client, command, preparation, rows, &mut created).await;
    match &filled {
        Ok(_) if own_transaction => execute(client, "COMMIT").await?,
        Ok(_) => {}
        Err(_) if own_transaction => undo(client, "ROLLBACK").await,
        // Only a table that was created here: another's of the same name must stay.
        Err(_) if preparation.is_own && created && client.session.transaction_status() == b'I' => {
            undo(client, &format!("DROP TABLE {}", table_name(command))).await;
        }
        Err(_) => {}
    }
    filled
}

async fn prepare_and_append(
    client: &Arc<Client>,
    command: &CommandStatementIngest,
    preparation: &Preparation,
    rows: SendableRecordBatchStream,
    created: &mut bool,
) -> Result<u64> {
    for sql in preparation.drop.iter().chain(&preparation.create) {
        execute(client, sql).await?;
    }
    *created = preparation.create.is_some();
    client.session.ingest(command.schema.as_deref().filter(|name| !name.is_empty()), &command.table, rows).await
}

/// The failure is being reported already; what stands in the way of cleaning up goes to the log.
async fn undo(client: &Arc<Client>, sql: &str) {
    if let Err(error) = execute(client, sql).await {
        tracing::warn!(%error, sql, "cleaning up after a failed ingest");
    }
}

/// Runs one statement that yields no rows.
pub(super) async fn execute(client: &Arc<Client>, sql: &str) -> Result<()> {
    let Some(statement) = single_statement(client, sql)? else { return Ok(()) };
    if let Outcome::Rows { mut stream, .. } = client.session.execute(&statement, Vec::new()).await? {
        while let Some(batch) = stream.next().await {
            batch?;
        }
    }
    Ok(())
}

fn check(client: &Client, command: &CommandStatementIngest) -> Result<()> {
    client.check_transaction(command.transaction_id.as_deref())?;
    if command.table.is_empty() {
        return Err(Error::new(ErrorKind::InvalidName, "ingesting rows: no table is named"));
    }
    if command.temporary {
        return Err(Error::not_supported("ingest into a temporary table", "ingest into a permanent table and drop it later"));
    }
    let own = client.session.database();
    if let Some(catalog) = command.catalog.as_deref().filter(|catalog| !catalog.is_empty() && *catalog != own) {
        let what = format!("ingest into database \"{catalog}\" from database \"{own}\"");
        return Err(Error::not_supported(what, "connect to that database"));
    }
    if let Some(option) = command.options.keys().min() {
        return Err(Error::not_supported(format_args!("the ingest option \"{option}\""), "leave the option out"));
    }
    Ok(())
}

fn prepare(command: &CommandStatementIngest, schema: &Schema) -> Result<Preparation> {
    let Some(options) = &command.table_definition_options else { return Ok(Preparation::default()) };
    use TableExistsOption as Exists;
    use TableNotExistOption as Missing;
    let table = table_name(command);
    let columns = || column_definitions(schema);
    let (drop, create, is_own) = match (options.if_not_exist(), options.if_exists()) {
        (Missing::Fail, Exists::Append) => (None, None, false),
        (Missing::Create, Exists::Fail) => (None, Some(format!("CREATE TABLE {table} ({})", columns()?)), true),
        (Missing::Create, Exists::Append) => (None, Some(format!("CREATE TABLE IF NOT EXISTS {table} ({})", columns()?)), false),
        (Missing::Create, Exists::Replace) => {
            (Some(format!("DROP TABLE IF EXISTS {table}")), Some(format!("CREATE TABLE {table} ({})", columns()?)), false)
        }
        (Missing::Fail, Exists::Replace) => {
            (Some(format!("DROP TABLE {table}")), Some(format!("CREATE TABLE {table} ({})", columns()?)), false)
        }
        (Missing::Fail, Exists::Fail) | (Missing::Unspecified, _) | (_, Exists::Unspecified) => {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                format!("ingesting into {table}: the options leave no way to reach a table"),
            )
            .with_hint("create the table if it is missing, or append to it or replace it if it exists"));
        }
    };
    Ok(Preparation { drop, create, is_own })
}

fn table_name(command: &CommandStatementIngest) -> String {
    match command.schema.as_deref().filter(|name| !name.is_empty()) {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(&command.table)),
        None => quoted(&command.table),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn column_definitions(schema: &Schema) -> Result<String> {
    let columns = schema.fields().iter().map(|field| {
        let sql_type = match SqlType::of_field(field)? {
            // Arrow text has no length: the column takes whatever comes.
            SqlType::VarChar(_) => SqlType::VarChar(VARCHAR_LENGTH_MAX_BYTES),
            sql_type => sql_type,
        };
        let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
        Ok(format!("{} {sql_type}{not_null}", quoted(field.name())))
    });
    Ok(columns.collect::<Result<Vec<_>>>()?.join(", "))
}

/// The upload in the types that plans have.
fn rows(upload: Upload, first: Option<RecordBatch>, schema: &SchemaRef) -> Result<SendableRecordBatchStream> {
    let fields = schema.fields().iter().map(|field| {
        let data_type = session_type(field.data_type()).map_err(|mut error| {
            error.message = format!("ingesting column \"{}\": {}", field.name(), error.message);
            error
        })?;
        Ok(field.as_ref().clone().with_data_type(data_type))
    });
    let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
    let target = schema.clone();
    let batches = stream::unfold((upload, first), |(mut upload, first)| async move {
        let batch = match first {
            Some(batch) => Ok(batch),
            None => upload.next().await?,
        };
        Some((batch, (upload, None)))
    });
    let batches = batches.map(move |batch| {
        let batch = batch?;
        let columns = batch.columns().iter().zip(target.fields()).map(|(column, field)| {
            cast(column, field.data_type()).map_err(|mut error| {
                error.message = format!("ingesting column \"{}\": {}", field.name(), error.message);
                error
            })
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new_with_options(target.clone(), columns, &options).map_err(Error::from)
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches.map(|batch| batch.map_err(DataFusionError::from)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field};
    use arrow_flight::sql::TableDefinitionOptions;

    #[test]
    fn the_options_decide_the_statements() {
        let schema = Schema::new(vec![Field::new("a\"b", DataType::Int64, false), Field::new("t", DataType::LargeUtf8, true)]);
        let with = |if_not_exist: TableNotExistOption, if_exists: TableExistsOption| {
            let options = TableDefinitionOptions { if_not_exist: if_not_exist.into(), if_exists: if_exists.into() };
            let command = CommandStatementIngest {
                table: "t".to_owned(),
                schema: Some("s".to_owned()),
                table_definition_options: Some(options),
                ..Default::default()
            };
            prepare(&command, &schema)
        };
        let create = "CREATE TABLE \"s\".\"t\" (\"a\"\"b\" bigint NOT NULL, \"t\" character varying(65535))";
        let made = with(TableNotExistOption::Create, TableExistsOption::Fail).unwrap();
        assert_eq!(made, Preparation { drop: None, create: Some(create.to_owned()), is_own: true });
        let replaced = with(TableNotExistOption::Create, TableExistsOption::Replace).unwrap();
        assert_eq!(replaced.drop.as_deref(), Some("DROP TABLE IF EXISTS \"s\".\"t\""));
        assert_eq!(with(TableNotExistOption::Fail, TableExistsOption::Append), Ok(Preparation::default()));
        assert!(with(TableNotExistOption::Fail, TableExistsOption::Fail).is_err());
    }
}
