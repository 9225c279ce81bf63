//! Authentication, statements, prepared statements, transactions, cancelling, errors.

use super::*;
use arrow::array::{AsArray as _, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow_flight::sql::{EndTransaction, ProstMessageExt as _, TicketStatementQuery};
use arrow_flight::{CancelFlightInfoRequest, CancelStatus, FlightClient, FlightDescriptor, Ticket};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use std::sync::atomic::Ordering;
use tonic::Code;

#[tokio::test]
async fn only_the_right_password_opens_a_session() {
    let server = Server::start().await;
    let mut client = server.stranger().await;
    let refused = client.handshake("admin", "wrong").await.unwrap_err().to_string();
    assert!(refused.contains("password authentication failed for user") && refused.contains("(SQLSTATE 28P01)"), "{refused}");
    assert_eq!(status(query(&mut client, "SELECT 1").await.unwrap_err()).code(), Code::Unauthenticated);
    client.set_token("made-up".to_owned());
    assert_eq!(sqlstate(query(&mut client, "SELECT 1").await.unwrap_err()), "28000");

    let mut direct = server.stranger().await;
    direct.set_header("authorization", format!("Basic {}", STANDARD.encode("admin:secret")));
    assert_eq!(query(&mut direct, "SELECT 1 AS a").await.unwrap()[0].num_rows(), 1);
    direct.set_header("database", "prod");
    assert_eq!(sqlstate(query(&mut direct, "SELECT 1").await.unwrap_err()), "3D000");
}

#[tokio::test]
async fn an_idle_session_expires() {
    let options = FlightOptions { session_idle_max: Duration::from_millis(1), ..Default::default() };
    let server = Server::start_with(options.clone()).await;
    let service = super::super::service::Service::new(server.engine.clone(), options, CancellationToken::new()).unwrap();
    let mut headers = tonic::metadata::MetadataMap::new();
    headers.insert("authorization", format!("Basic {}", STANDARD.encode("admin:secret")).parse().unwrap());
    let token = service.clients.handshake(&headers, b"").await.unwrap();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    let active = service.clients.authenticate(&headers).await.unwrap().enter();
    tokio::time::sleep(Duration::from_millis(5)).await;
    service.sweep();
    assert!(service.clients.authenticate(&headers).await.is_ok(), "a session in use stays");
    drop(active);
    tokio::time::sleep(Duration::from_millis(5)).await;
    service.sweep();
    assert_eq!(service.clients.authenticate(&headers).await.unwrap_err().sqlstate(), "28000");
}

#[tokio::test]
async fn rows_come_as_announced_and_a_ticket_is_good_once() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let sql = "SELECT arrow_cast('é', 'Utf8View') AS t, NULL AS nothing, 1 AS n";
    let info = client.execute(sql.to_owned(), None).await.unwrap();
    let announced = info.clone().try_decode_schema().unwrap();
    assert_eq!(announced.field(0).data_type(), &DataType::Utf8);
    let batches = fetch(&mut client, info.clone()).await.unwrap();
    assert_eq!(*batches[0].schema(), announced);
    assert_eq!(batches[0].column(0).as_string::<i32>().value(0), "é");
    assert_eq!(sqlstate(fetch(&mut client, info).await.unwrap_err()), "34000");
    assert_eq!(server.ran_count(sql), 1);

    let info = client.execute("SELECT 1".to_owned(), None).await.unwrap();
    let mut other = server.stranger().await;
    other.handshake("other", "secret2").await.unwrap();
    assert_eq!(sqlstate(fetch(&mut other, info).await.unwrap_err()), "34000");
}

#[tokio::test]
async fn a_query_without_rows_runs_exactly_once() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let create = "CREATE TABLE n (a BIGINT)";
    let info = client.execute(create.to_owned(), None).await.unwrap();
    assert_eq!(server.ran_count(create), 1);
    assert_eq!(info.clone().try_decode_schema().unwrap().fields().len(), 0);
    assert!(fetch(&mut client, info).await.unwrap().is_empty());
    assert_eq!(server.ran_count(create), 1);

    let info = client.execute("INSERT INTO n VALUES (1), (2)".to_owned(), None).await.unwrap();
    assert_eq!(info.total_records, 2);
    assert_eq!(info.app_metadata, r#"{"tag":"INSERT 0 2","rows":2,"notices":[]}"#);
    let info = client.execute("NOTICE".to_owned(), None).await.unwrap();
    assert_eq!(info.app_metadata, r#"{"tag":"NOTICE","rows":null,"notices":["mind the gap"]}"#);
    assert_eq!(client.execute_update("INSERT INTO n VALUES (3)".to_owned(), None).await.unwrap(), 1);
    let rows = query(&mut client, "SELECT count(*) FROM n").await.unwrap();
    assert_eq!(rows[0].column(0).as_primitive::<Int64Type>().value(0), 3);
    assert!(query(&mut client, " ").await.unwrap().is_empty());
    assert_eq!(sqlstate(query(&mut client, "SELECT 1; SELECT 2").await.unwrap_err()), "42601");
}

#[tokio::test]
async fn prepared_statements_run_once_for_each_row_of_values() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.execute_update("CREATE TABLE p (a BIGINT, t VARCHAR)".to_owned(), None).await.unwrap();

    let mut insert = client.prepare("INSERT INTO p VALUES ($1, $2)".to_owned(), None).await.unwrap();
    assert_eq!(insert.dataset_schema().unwrap().fields().len(), 0);
    let types = insert.parameter_schema().unwrap().fields().iter().map(|field| field.data_type().clone());
    assert_eq!(types.collect::<Vec<_>>(), [DataType::Int64, DataType::Utf8]);
    assert_eq!(sqlstate(insert.execute().await.unwrap_err()), "42P02");
    let schema = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("t", DataType::Utf8, true)]);
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), Some(2), None])),
        Arc::new(StringArray::from(vec![Some("x"), None, Some("z")])),
    ];
    insert.set_parameters(RecordBatch::try_new(Arc::new(schema), columns).unwrap()).unwrap();
    assert_eq!(insert.execute_update().await.unwrap(), 3);
    insert.close().await.unwrap();

    let mut select = client.prepare("SELECT t FROM p WHERE a = $1".to_owned(), None).await.unwrap();
    let one = |values: Vec<&str>| RecordBatch::try_from_iter([("v", Arc::new(StringArray::from(values)) as _)]).unwrap();
    // Text becomes what the context wants, as a quoted literal does.
    select.set_parameters(one(vec!["2", "1"])).unwrap();
    let info = select.execute().await.unwrap();
    let rows = fetch(&mut client, info).await.unwrap();
    let values: Vec<_> = rows.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter()).collect();
    assert_eq!(values, [None, Some("x")]);
    select.set_parameters(one(vec!["two"])).unwrap();
    let refused = status(select.execute().await.unwrap_err());
    assert!(refused.message().contains("binding parameter $1 as bigint"), "{}", refused.message());
    let two = RecordBatch::try_from_iter([
        ("v", Arc::new(Int64Array::from(vec![1])) as _),
        ("w", Arc::new(Int64Array::from(vec![1])) as _),
    ]);
    select.set_parameters(two.unwrap()).unwrap();
    assert_eq!(sqlstate(select.execute().await.unwrap_err()), "08P01");
}

#[tokio::test]
async fn a_closed_prepared_statement_is_unknown() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let prepared = client.prepare("SELECT 1".to_owned(), None).await.unwrap();
    let mut copy = prepared.clone();
    prepared.close().await.unwrap();
    assert_eq!(sqlstate(copy.execute().await.unwrap_err()), "26000");
}

#[tokio::test]
async fn transactions_are_known_by_their_id() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let id = client.begin_transaction().await.unwrap();
    assert_eq!(sqlstate(client.begin_transaction().await.unwrap_err()), "22023");
    assert!(client.execute("SELECT 1".to_owned(), Some(id.clone())).await.is_ok());
    let wrong = client.execute("SELECT 1".to_owned(), Some("x".into())).await.unwrap_err();
    assert_eq!(sqlstate(wrong), "22023");
    client.end_transaction(id.clone(), EndTransaction::Rollback).await.unwrap();
    assert_eq!(sqlstate(client.end_transaction(id, EndTransaction::Commit).await.unwrap_err()), "22023");
    assert_eq!(*server.engine.ran.lock(), ["BEGIN", "ROLLBACK"]);
}

#[tokio::test]
async fn cancelling_ends_a_running_query_and_dropping_stops_it() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut flight = FlightClient::new_from_inner(client.inner().clone());
    flight.add_header("authorization", &format!("Bearer {}", client.token().unwrap())).unwrap();

    let info = client.execute("SHOW ENDLESS".to_owned(), None).await.unwrap();
    let mut rows = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    rows.try_next().await.unwrap().unwrap();
    let answer = flight.cancel_flight_info(CancelFlightInfoRequest::new(info.clone())).await.unwrap();
    assert_eq!(answer.status(), CancelStatus::Cancelling);
    let error = loop {
        match rows.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended as if it were complete"),
            Err(error) => break error,
        }
    };
    assert_eq!(sqlstate(error), "57014");
    soon("the query's stream is dropped", || server.engine.dropped_count.load(Ordering::SeqCst) == 1).await;
    let answer = flight.cancel_flight_info(CancelFlightInfoRequest::new(info)).await.unwrap();
    assert_eq!(answer.status(), CancelStatus::NotCancellable);

    let info = client.execute("SHOW ENDLESS".to_owned(), None).await.unwrap();
    let mut rows = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    rows.try_next().await.unwrap().unwrap();
    drop(rows);
    soon("the second stream is dropped", || server.engine.dropped_count.load(Ordering::SeqCst) == 2).await;

    let info = client.execute("SELECT 1".to_owned(), None).await.unwrap();
    let answer = flight.cancel_flight_info(CancelFlightInfoRequest::new(info.clone())).await.unwrap();
    assert_eq!(answer.status(), CancelStatus::Cancelled);
    assert_eq!(sqlstate(fetch(&mut client, info).await.unwrap_err()), "34000");
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_its_statement() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let slow = tokio::time::timeout(Duration::from_millis(300), client.execute("SLOW".to_owned(), None)).await;
    assert!(slow.is_err(), "it runs until it is cancelled");
    // The next statement is another call's.
    let slow = tokio::time::timeout(Duration::from_secs(1), client.execute("SLOW".to_owned(), None)).await;
    assert!(slow.is_err(), "it runs until its own call goes away");
    soon("both have ended", || server.engine.cancelled_count.load(Ordering::SeqCst) == 2).await;
}

#[tokio::test]
async fn errors_carry_their_parts() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let error = status(query(&mut client, "SELECT * FROM nn").await.unwrap_err());
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().ends_with("does not exist (SQLSTATE 42P01)"), "{}", error.message());
    assert_eq!(error.metadata().get("hint").unwrap(), "did you mean \"n\"?");
    assert_eq!(error.metadata().get("position").unwrap(), "15");
    // An error after the first rows.
    let late = query(&mut client, "SELECT 1 / (3 - v) FROM (VALUES (1), (2), (3)) AS t(v)").await.unwrap_err();
    assert_eq!(sqlstate(late), "22012");
}

#[tokio::test]
async fn malformed_commands_are_refused() {
    let server = Server::start().await;
    let client = server.client().await;
    let mut flight = FlightClient::new_from_inner(client.inner().clone());
    flight.add_header("authorization", &format!("Bearer {}", client.token().unwrap())).unwrap();
    for bytes in [&b"\xff\xff\xff\xff"[..], b"", b"hello", &[0x0a, 0x7f]] {
        let error = flight.get_flight_info(FlightDescriptor::new_cmd(bytes.to_vec())).await.unwrap_err();
        assert!(matches!(status(error).code(), Code::InvalidArgument | Code::Unimplemented));
        let error = flight.do_get(Ticket::new(bytes.to_vec())).await.err().unwrap();
        assert!(matches!(status(error).code(), Code::InvalidArgument | Code::Unimplemented));
        for action in ["CreatePreparedStatement", "CancelFlightInfo", "EndTransaction", "Nonsense"] {
            // A body that happens to be an empty message is no error of cancelling.
            let result = flight.do_action(arrow_flight::Action::new(action, bytes.to_vec())).await;
            assert!(result.is_err() || action == "CancelFlightInfo");
        }
    }
    let stale = TicketStatementQuery { statement_handle: vec![0xff, 0xfe].into() };
    let error = flight.do_get(Ticket::new(stale.as_any().encode_to_vec())).await.err().unwrap();
    assert_eq!(sqlstate(error), "34000");
}

#[tokio::test]
async fn a_shutdown_ends_running_queries() {
    let engine = FakeEngine::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, engine.clone(), FlightOptions::default(), shutdown.clone()));
    let server = Server { engine, url, _shutdown: shutdown.clone().drop_guard() };
    let mut client = server.client().await;
    let info = client.execute("SHOW ENDLESS".to_owned(), None).await.unwrap();
    let mut rows = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    rows.try_next().await.unwrap().unwrap();
    shutdown.cancel();
    let error = loop {
        if let Err(error) = rows.try_next().await.map(|batch| batch.expect("an error comes before the end")) {
            break error;
        }
    };
    assert_eq!(sqlstate(error), "57P01");
    drop((rows, client));
    tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn polling_answers_with_all_endpoints_at_once() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let command = arrow_flight::sql::CommandStatementQuery { query: "SELECT 1 AS a".to_owned(), transaction_id: None };
    let mut request = tonic::Request::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
    let header = format!("Bearer {}", client.token().unwrap());
    request.metadata_mut().insert("authorization", header.parse().unwrap());
    let poll = client.inner_mut().poll_flight_info(request).await.unwrap().into_inner();
    assert_eq!((poll.flight_descriptor, poll.progress), (None, Some(1.0)));
    assert_eq!(fetch(&mut client, poll.info.unwrap()).await.unwrap()[0].num_rows(), 1);
}
