//! Results that Flight clients fetch from the compute nodes: tickets, their owners, errors and ends.

use crate::crash::{all_counted, eventually_idle, prepare};
use crate::harness::{Cluster, PASSWORD};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{CancelFlightInfoRequest, FlightClient, FlightEndpoint, FlightInfo, Ticket};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use std::collections::BTreeSet;
use tonic::transport::Channel;
use tonic::{Code, Status};

const SAME_CONNECTION: &str = "arrow-flight-reuse-connection:";

/// A client with a session.
struct Client {
    leader: FlightSqlServiceClient<Channel>,
    address: String,
}

impl Client {
    async fn connect(cluster: &Cluster) -> Self {
        let address = format!("http://127.0.0.1:{}", cluster.flight_port);
        let channel = Channel::from_shared(address.clone()).unwrap().connect().await.expect("connecting");
        let mut leader = FlightSqlServiceClient::new(channel);
        leader.handshake("admin", PASSWORD).await.expect("the handshake");
        Self { leader, address }
    }

    async fn info(&mut self, sql: &str) -> FlightInfo {
        self.leader.execute(sql.to_owned(), None).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.leader.token().expect("a token"))
    }

    /// DoGet at `address` with these credentials.
    async fn get(&self, address: &str, ticket: Ticket, authorization: Option<&str>) -> Result<FlightRecordBatchStream, Status> {
        let channel = Channel::from_shared(address.replacen("grpc", "http", 1)).unwrap().connect().await.expect("the node");
        let mut request = tonic::Request::new(ticket);
        if let Some(authorization) = authorization {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        let messages = FlightServiceClient::new(channel).do_get(request).await?.into_inner();
        Ok(FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from)))
    }

    async fn own(&self, endpoint: &FlightEndpoint) -> Result<FlightRecordBatchStream, Status> {
        self.get(node_of(endpoint), ticket_of(endpoint), Some(&self.authorization())).await
    }

    /// The first column of all endpoints, sorted; or the first error.
    async fn numbers(&self, info: &FlightInfo) -> Result<Vec<i64>, FlightError> {
        let mut streams = Vec::new();
        for endpoint in &info.endpoint {
            streams.push(self.own(endpoint).await.map_err(FlightError::from)?);
        }
        let batches: Vec<_> = futures::stream::select_all(streams).try_collect().await?;
        let mut numbers: Vec<i64> =
            batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

fn node_of(endpoint: &FlightEndpoint) -> &str {
    &endpoint.location.first().expect("a location").uri
}

fn ticket_of(endpoint: &FlightEndpoint) -> Ticket {
    endpoint.ticket.clone().expect("a ticket")
}

fn sqlstate(status: &Status) -> &str {
    status.metadata().get("sqlstate").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Everything goes directly, but for what cannot.
async fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::start_with(3, &["--direct-rows-min", "1"]);
    prepare(&cluster.connect().await).await;
    let client = Client::connect(&cluster).await;
    (cluster, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_from_every_node_and_not_through_the_leader() {
    let (_cluster, mut client) = cluster().await;
    let info = client.info("SELECT n FROM src").await;
    let nodes: BTreeSet<&str> = info.endpoint.iter().map(node_of).collect();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    assert!(!nodes.contains(client.address.as_str()));
    assert!(info.endpoint.iter().all(|endpoint| endpoint.location[1].uri.starts_with(SAME_CONNECTION)));
    assert_eq!(client.numbers(&info).await.expect("the rows"), (0..20_000).collect::<Vec<i64>>());
    // A join and an aggregate by key, too.
    let grouped = "SELECT a.n, count(*) FROM src a JOIN src b ON a.n = b.n WHERE a.n < 500 GROUP BY a.n";
    let info = client.info(grouped).await;
    assert!(info.endpoint.len() > 1);
    assert_eq!(client.numbers(&info).await.expect("the groups"), (0..500).collect::<Vec<i64>>());
    // What is put together in one place comes from the leader.
    for sql in ["SELECT n FROM src ORDER BY n", "SELECT n FROM src LIMIT 5", "SELECT count(*) FROM src", "SELECT n FROM digits"] {
        let info = client.info(sql).await;
        assert!(info.endpoint.len() == 1 && info.endpoint[0].location.is_empty(), "{sql}: {:?}", info.endpoint);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_for_its_owner_and_once() {
    let (cluster, mut client) = cluster().await;
    let info = client.info("SELECT n FROM src").await;
    let (endpoint, own) = (&info.endpoint[0], client.authorization());
    let refused = |result: Result<FlightRecordBatchStream, Status>| match result {
        Ok(_) => panic!("a foreign call got rows"),
        Err(status) => (sqlstate(&status).to_owned(), status.code()),
    };
    let no_credentials = client.get(node_of(endpoint), ticket_of(endpoint), None).await;
    assert_eq!(refused(no_credentials), ("28000".to_owned(), Code::Unauthenticated));
    let other = Client::connect(&cluster).await;
    let foreign = client.get(node_of(endpoint), ticket_of(endpoint), Some(&other.authorization())).await;
    assert_eq!(refused(foreign), ("34000".to_owned(), Code::NotFound));
    for handle in ["direct:x:0:0", "direct:::", "nothing", ""] {
        let query = TicketStatementQuery { statement_handle: handle.to_owned().into() };
        let forged = Ticket::new(query.as_any().encode_to_vec());
        assert_eq!(refused(client.get(node_of(endpoint), forged, Some(&own)).await).0, "34000", "{handle}");
    }
    let malformed = client.get(node_of(endpoint), Ticket::new("no protobuf"), Some(&own)).await;
    assert_eq!(refused(malformed).0, "08P01");
    // None of that used the ticket up. One part comes through the leader, as for a client that cannot reach the nodes.
    let relayed = client.get(&client.address, ticket_of(&info.endpoint[1]), Some(&own)).await.expect("through the leader");
    let mut rows = 0;
    let mut streams = vec![relayed.boxed()];
    for (index, endpoint) in info.endpoint.iter().enumerate().filter(|(index, _)| *index != 1) {
        streams.push(client.own(endpoint).await.unwrap_or_else(|status| panic!("part {index}: {status}")).boxed());
    }
    let mut all = futures::stream::select_all(streams);
    while let Some(batch) = all.try_next().await.expect("rows") {
        rows += batch.num_rows();
    }
    assert_eq!(rows, 20_000);
    assert_eq!(refused(client.own(endpoint).await).0, "34000");
}

/// The SQLSTATEs with which the call, or parts of its result, failed.
async fn failed_parts(client: &mut Client, sql: &str) -> Vec<String> {
    let info = match client.leader.execute(sql.to_owned(), None).await {
        Ok(info) => info,
        Err(FlightError::Tonic(status)) => return vec![sqlstate(&status).to_owned()],
        Err(other) => panic!("{sql}: {other}"),
    };
    let mut streams = Vec::new();
    let mut states = Vec::new();
    for endpoint in &info.endpoint {
        match client.own(endpoint).await {
            Ok(rows) => streams.push(rows),
            Err(status) => states.push(sqlstate(&status).to_owned()),
        }
    }
    let ends = streams.into_iter().map(|rows| rows.try_collect::<Vec<_>>());
    for end in futures::future::join_all(ends).await {
        match end {
            Ok(_) => {}
            Err(FlightError::Tonic(status)) => states.push(sqlstate(&status).to_owned()),
            Err(other) => panic!("{sql}: {other}"),
        }
    }
    states
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_or_cancelled_result_does_not_look_complete() {
    let (cluster, mut client) = cluster().await;
    // At once, perhaps in the call itself; and some rows of one node after many others. No part may end as if all was well.
    let late = "SELECT a.n, 1 / (a.n * 10 + b.n - 199999) FROM src a CROSS JOIN digits b CROSS JOIN digits c";
    for sql in ["SELECT n, 1 / (n - n) FROM src", late] {
        let states = failed_parts(&mut client, sql).await;
        assert!(states.contains(&"22012".to_owned()), "{sql}: {states:?}");
    }
    // Cancelled in the middle.
    let info = client.info("SELECT a.n FROM src a CROSS JOIN src b").await;
    let mut first = client.own(&info.endpoint[0]).await.expect("a part");
    first.next().await.expect("a batch").expect("rows");
    let mut flight = FlightClient::new_from_inner(client.leader.inner().clone());
    flight.add_header("authorization", &client.authorization()).unwrap();
    flight.cancel_flight_info(CancelFlightInfoRequest::new(info)).await.expect("cancelling");
    match first.try_collect::<Vec<_>>().await {
        Err(FlightError::Tonic(status)) => assert_eq!(sqlstate(&status), "57014", "{status}"),
        other => panic!("{:?}", other.map(|batches| batches.len())),
    }
    eventually_idle(&cluster).await;
    // A client that goes away in the middle.
    let info = client.info("SELECT a.n FROM src a CROSS JOIN src b").await;
    let mut first = client.own(&info.endpoint[0]).await.expect("a part");
    first.next().await.expect("a batch").expect("rows");
    drop(first);
    drop(client);
    eventually_idle(&cluster).await;
    let counted = crate::harness::rows(&cluster.connect().await, crate::crash::COUNT).await.expect("the cluster works on");
    assert_eq!(counted, all_counted());
}
