//! Traces and metrics of a cluster at work.

use crate::harness::{Cluster, free_ports, rows};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::{Request, Response, Status};

/// Spans with the service they come from.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let service = attributes.iter().find(|attribute| attribute.key == "service.name");
            let service = service.and_then(|attribute| attribute.value.clone()).and_then(|value| value.value);
            let Some(Value::StringValue(service)) = service else { panic!("a span without a service: {attributes:?}") };
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens on a port of its own; answers its address.
    async fn serve(&self) -> String {
        let port = free_ports(1)[0];
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        tokio::spawn(server.serve(([127, 0, 0, 1], port).into()));
        format!("http://127.0.0.1:{port}")
    }

    fn spans(&self) -> Vec<(String, Span)> {
        self.0.lock().unwrap().clone()
    }
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_spans_leader_and_compute_nodes() {
    let collector = Collector::default();
    let endpoint = collector.serve().await;
    let options = ["--otlp-endpoint", &endpoint];
    let mut cluster = Cluster::start_with_all(2, &options, &options);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE traced (k int, v int) DISTKEY(k)").await.unwrap();
    client.batch_execute("INSERT INTO traced SELECT n, n % 7 FROM (VALUES (1), (2), (3), (4)) AS t(n)").await.unwrap();
    rows(&client, "SELECT v, count(*) FROM traced GROUP BY v").await.unwrap();
    client.batch_execute("SELECT 1 / (v - v) FROM traced").await.unwrap_err();
    drop(client);
    // What was not sent yet is sent at the end.
    cluster.leader.stop();
    cluster.nodes.iter_mut().for_each(crate::harness::Process::stop);

    let spans = collector.spans();
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|(_, span)| (span.span_id.as_slice(), span)).collect();
    let queries: Vec<&Span> = spans.iter().filter(|(_, span)| is_statement(span, "query")).map(|(_, span)| span).collect();
    assert_eq!(queries.len(), 2, "{spans:#?}");
    let [grouped, failed] = queries[..] else { unreachable!() };
    assert_eq!(attribute(failed, "db.response.status_code"), Some(&Value::StringValue("22012".to_owned())));
    let below: Vec<&(String, Span)> = spans.iter().filter(|(_, span)| span.trace_id == grouped.trace_id).collect();
    let tasks: Vec<&Span> = below
        .iter()
        .filter(|(service, span)| service == "slipher-compute" && span.name == "task")
        .map(|(_, span)| span)
        .collect();
    let nodes: BTreeSet<String> = tasks.iter().map(|task| format!("{:?}", attribute(task, "slipher.node"))).collect();
    assert_eq!(nodes.len(), 2, "both nodes have a part in it: {below:#?}");
    for task in tasks {
        assert_eq!(task.parent_span_id, grouped.span_id, "{}", by_id[task.parent_span_id.as_slice()].name);
    }
    let names: BTreeSet<&str> = below.iter().map(|(_, span)| span.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["optimize", "plan", "statement", "task"]));
}

fn is_statement(span: &Span, kind: &str) -> bool {
    span.name == "statement" && attribute(span, "slipher.statement.kind") == Some(&Value::StringValue(kind.to_owned()))
}

/// The sum of a metric over all nodes.
fn sum(metrics: &str, name: &str) -> u64 {
    let of_nodes = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let values: Vec<u64> = of_nodes.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(values.len(), 2, "{name} in {metrics}");
    values.iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_what_nodes_scan_shuffle_and_spill() {
    let cluster = Cluster::start_with_all(2, &[], &["--query-memory-mib", "24"]);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE counted (k bigint, v varchar(200)) DISTKEY(k)").await.unwrap();
    let numbers = "SELECT l_orderkey * 8 + l_linenumber, l_comment FROM tpchgen('lineitem', 0.05)";
    client.batch_execute(&format!("INSERT INTO counted {numbers}")).await.unwrap();
    let stored: u64 = rows(&client, "SELECT count(*) FROM counted").await.unwrap()[0][0].parse().unwrap();
    let before = settled(&cluster).await;
    // Grouping by what is no key moves rows between nodes; sorting all of them takes more than the memory there is.
    let sorted = "SELECT count(*) FROM (SELECT k, row_number() OVER (ORDER BY v, k) AS place FROM counted) AS s WHERE place = k";
    rows(&client, sorted).await.unwrap();
    rows(&client, "SELECT v, count(*) FROM counted GROUP BY v HAVING count(*) > 1000").await.unwrap();
    let after = settled(&cluster).await;
    let grown = |name: &str| sum(&after, name) - sum(&before, name);
    assert_eq!(grown("slipher_node_scanned_rows_total"), 2 * stored);
    assert!(grown("slipher_node_scanned_bytes_total") > 0);
    assert!(grown("slipher_node_shuffled_rows_total") > 0);
    assert!(grown("slipher_node_shuffled_bytes_total") > 0);
    assert!(grown("slipher_node_tasks_total") >= 4);
    assert!(grown("slipher_node_spilled_bytes_total") > 0, "{after}");
    assert!(grown("slipher_node_spilled_rows_total") > 0);
    assert_eq!(sum(&after, "slipher_node_spill_used_bytes"), 0);
    assert!(sum(&after, "slipher_node_memory_budget_bytes") > 0);
    assert_eq!(sum(&after, "slipher_node_memory_charged_bytes"), 0);
    assert_eq!(sum(&after, "slipher_node_queries_waiting"), 0);
    let (free, all) = (sum(&after, "slipher_node_disk_free_bytes"), sum(&after, "slipher_node_disk_bytes"));
    assert!(0 < free && free < all, "{free} of {all} bytes are free");
}

/// The metrics when all tasks have ended and every node has said so.
async fn settled(cluster: &Cluster) -> String {
    let mut last = cluster.metrics();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let now = cluster.metrics();
        let tasks = |metrics: &str| sum(metrics, "slipher_node_tasks_total");
        if tasks(&now) == tasks(&last) && sum(&now, "slipher_node_memory_reserved_bytes") == 0 {
            return now;
        }
        last = now;
    }
    panic!("the nodes do not come to rest: {last}");
}
