//! How Slipher's plan nodes travel: protocol buffers inside DataFusion's extension nodes.

use crate::assign::{AssignOptions, Zone};
use crate::catalog::Table;
use crate::error::{Error, ErrorKind};
use crate::ids::{SegmentId, SliceId, TableId, TransactionId};
use crate::manifest::DeleteVector;
use crate::plan::{
    AssignExec, FileFormat, FileRef, FileScanExec, IdentityFill, LaneSink, OnlyTask0Exec, ResultSinkExec, ResultTarget,
    ScanSource, SegmentRef, SinkSlice, SinkTarget, SliceScanExec, SliceSinkExec, TpchScanExec, WithoutKeysExec,
};
use crate::selectivity::TableStatistics;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::from_proto::parse_physical_expr;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr;
use datafusion_proto::physical_plan::{DefaultPhysicalExtensionCodec, PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf::PhysicalExprNode;
use prost::Message;
use slipher_proto::plan as proto;
use slipher_proto::plan::plan_node::Kind;
use std::sync::Arc;

/// Encodes and decodes [`SliceScanExec`], [`SliceSinkExec`] and their like.
#[derive(Debug, Default)]
pub struct SlipherCodec;

impl PhysicalExtensionCodec for SlipherCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let node = proto::PlanNode::decode(bytes).map_err(|error| torn(&error.to_string()))?;
        let input = || inputs.first().cloned().ok_or_else(|| torn("a node has no input"));
        Ok(match node.kind.ok_or_else(|| torn("an empty node"))? {
            Kind::SliceScan(scan) => Arc::new(decode_scan(&scan, context)?),
            Kind::OnlyTask0(_) => Arc::new(OnlyTask0Exec::new(input()?)),
            Kind::WithoutKeys(_) => Arc::new(WithoutKeysExec::new(input()?)),
            Kind::SliceSink(sink) => Arc::new(SliceSinkExec::new(input()?, Arc::new(decode_target(&sink)?))),
            Kind::Assign(assign) => {
                let table = Arc::new(decode_table(&assign.target)?);
                let columns = table.columns.len();
                let identities = assign.identities.iter().map(decode_identity).collect::<Vec<_>>();
                indexes(&assign.identities.iter().map(|fill| fill.column).collect::<Vec<_>>(), columns)?;
                let zone = Some(&assign.time_zone).filter(|name| !name.is_empty()).map(|name| Zone::parse(name)).transpose()?;
                let (zone, now) = (zone.map(Arc::new), assign.now_micros);
                let options = AssignOptions { truncate_strings: assign.truncate_strings, zone, now };
                Arc::new(AssignExec::try_new(input()?, table, options, identities)?)
            }
            Kind::FileScan(scan) => Arc::new(decode_files(&scan)?),
            Kind::ResultSink(sink) => {
                let schema = decode_schema(&sink.schema)?;
                Arc::new(ResultSinkExec::new(input()?, Arc::new(ResultTarget { secret: sink.secret, owner: sink.owner, schema })))
            }
            Kind::TpchScan(scan) => {
                let columns = crate::tpch::tpch_schema(&scan.table).map_or(0, |schema| schema.fields().len());
                let projection = indexes(&scan.projection, columns)?;
                let (tasks, lanes) = (scan.tasks as usize, scan.partitions as usize);
                Arc::new(TpchScanExec::try_new(&scan.table, scan.scale, tasks, lanes, projection)?)
            }
        })
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let kind = if let Some(scan) = node.downcast_ref::<SliceScanExec>() {
            Kind::SliceScan(encode_scan(scan)?)
        } else if node.is::<OnlyTask0Exec>() {
            Kind::OnlyTask0(proto::OnlyTask0 {})
        } else if node.is::<WithoutKeysExec>() {
            Kind::WithoutKeys(proto::WithoutKeys {})
        } else if let Some(sink) = node.downcast_ref::<SliceSinkExec>() {
            Kind::SliceSink(encode_target(sink.target()))
        } else if let Some(assign) = node.downcast_ref::<AssignExec>() {
            let target = assign.table().to_proto().encode_to_vec();
            let identities = assign.identities().iter().map(encode_identity).collect();
            let AssignOptions { truncate_strings, zone, now } = assign.options().clone();
            let time_zone = zone.map(|zone| zone.name().to_owned()).unwrap_or_default();
            Kind::Assign(proto::Assign { target, truncate_strings, identities, time_zone, now_micros: now })
        } else if let Some(sink) = node.downcast_ref::<ResultSinkExec>() {
            let ResultTarget { secret, owner, schema } = sink.target().as_ref();
            let schema = encode_schema(schema)?;
            Kind::ResultSink(proto::ResultSink { secret: secret.clone(), owner: owner.clone(), schema })
        } else if let Some(scan) = node.downcast_ref::<FileScanExec>() {
            Kind::FileScan(encode_files(scan)?)
        } else if let Some(scan) = node.downcast_ref::<TpchScanExec>() {
            Kind::TpchScan(proto::TpchScan {
                table: scan.table.clone(),
                scale: scan.scale,
                tasks: scan.tasks as u32,
                partitions: scan.lanes as u32,
                projection: numbers(&scan.projection),
            })
        } else {
            return Err(Error::internal(format!("encoding a plan: {} is not one of Slipher's nodes", node.name())).into());
        };
        proto::PlanNode { kind: Some(kind) }.encode(bytes).map_err(|error| torn(&error.to_string()).into())
    }
}

fn torn(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("decoding a plan: {what}"))
}

pub(crate) fn encode_schema(schema: &Schema) -> Result<Vec<u8>> {
    let stored: datafusion_proto::protobuf::Schema = schema.try_into().map_err(|error| torn(&format!("{error}")))?;
    Ok(stored.encode_to_vec())
}

pub(crate) fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    let stored = datafusion_proto::protobuf::Schema::decode(bytes).map_err(|error| torn(&error.to_string()))?;
    let schema: Schema = (&stored).try_into().map_err(|error| torn(&format!("{error}")))?;
    Ok(Arc::new(schema))
}

fn numbers(indexes: &[usize]) -> Vec<u32> {
    indexes.iter().map(|index| *index as u32).collect()
}

fn indexes(numbers: &[u32], columns: usize) -> Result<Vec<usize>> {
    let all: Vec<usize> = numbers.iter().map(|number| *number as usize).collect();
    match all.iter().find(|index| **index >= columns) {
        Some(index) => Err(torn(&format!("column {index} of {columns}")).into()),
        None => Ok(all),
    }
}

fn encode_scan(scan: &SliceScanExec) -> Result<proto::SliceScan> {
    let source = scan.source();
    let predicates = scan
        .predicates()
        .iter()
        .map(|predicate| Ok(serialize_physical_expr(predicate, &DefaultPhysicalExtensionCodec {})?.encode_to_vec()))
        .collect::<Result<_>>()?;
    let mut lanes: Vec<proto::Lane> =
        scan.reads().iter().map(|segments| proto::Lane { segments: segments.iter().map(encode_segment).collect() }).collect();
    lanes.resize_with(scan.lanes(), Default::default);
    Ok(proto::SliceScan {
        table_id: source.table_id.0,
        table_name: source.table_name.clone(),
        schema: encode_schema(&source.schema)?,
        projection: numbers(scan.projection()),
        predicates,
        lanes,
        hash_column: source.hash_column.map(|index| index as u32),
        limit: scan.limit().map(|limit| limit as u64),
        sort_columns: Vec::new(),
        replicated: source.replicated,
        blanks_in_key: source.blanks_in_key.is_some(),
    })
}

fn encode_segment(segment: &SegmentRef) -> proto::SegmentRef {
    proto::SegmentRef {
        segment_id: segment.id.to_vec(),
        rows: segment.rows,
        bytes: segment.bytes,
        checksum: segment.checksum,
        slice: segment.slice.0,
        other_copies: segment.other_copies.to_vec(),
        delete_vector: segment.delete_vector.as_ref().map(DeleteVector::to_bytes).unwrap_or_default(),
        number: segment.number,
        part: segment.part.as_ref().map(|part| proto::RowRange { start: part.start, end: part.end }),
    }
}

fn decode_scan(scan: &proto::SliceScan, context: &TaskContext) -> Result<SliceScanExec> {
    let schema = decode_schema(&scan.schema)?;
    let predicates = scan
        .predicates
        .iter()
        .map(|bytes| {
            let node = PhysicalExprNode::decode(bytes.as_slice()).map_err(|error| torn(&error.to_string()))?;
            parse_physical_expr(&node, context, &schema, &DefaultPhysicalExtensionCodec {})
        })
        .collect::<Result<Vec<Arc<dyn PhysicalExpr>>>>()?;
    let lanes = scan
        .lanes
        .iter()
        .map(|lane| lane.segments.iter().map(decode_segment).collect::<Result<Vec<_>>>())
        .collect::<Result<Vec<_>>>()?;
    let projection = indexes(&scan.projection, schema.fields().len())?;
    let lane_count = lanes.len();
    let source = ScanSource {
        table_id: TableId(scan.table_id),
        table_name: scan.table_name.clone(),
        statistics: Arc::new(TableStatistics::unknown(&schema)),
        schema,
        // Slices were picked when the query was planned.
        slice_count: 0,
        hash_column: scan.hash_column.map(|index| index as usize),
        blanks_in_key: scan.blanks_in_key.then(|| Arc::clone(context.session_config().options())),
        replicated: scan.replicated,
        segments: None,
    };
    let limit = scan.limit.map(|limit| limit as usize);
    SliceScanExec::try_new(Arc::new(source), lane_count, projection, predicates, limit, Some(Arc::new(lanes)))
}

fn decode_segment(segment: &proto::SegmentRef) -> Result<SegmentRef> {
    Ok(SegmentRef {
        id: SegmentId::from_bytes(&segment.segment_id)?,
        slice: SliceId(segment.slice),
        rows: segment.rows,
        bytes: segment.bytes,
        checksum: segment.checksum,
        other_copies: segment.other_copies.as_slice().into(),
        delete_vector: DeleteVector::from_bytes(&segment.delete_vector)?,
        number: segment.number,
        part: segment.part.as_ref().map(|part| part.start..part.end),
    })
}

fn encode_target(target: &SinkTarget) -> proto::SliceSink {
    let slice = |slice: &SinkSlice| proto::SinkSlice {
        slice: slice.slice.0,
        epoch: slice.epoch,
        replica_addresses: slice.replica_addresses.clone(),
    };
    let lane = |slices: &Vec<SinkSlice>| proto::SinkLane { slices: slices.iter().map(slice).collect() };
    proto::SliceSink {
        table: target.table.to_proto().encode_to_vec(),
        slice_count: target.slice_count,
        transaction_id: target.transaction_id.to_vec(),
        tasks: target.tasks.iter().map(|lanes| proto::SinkTask { lanes: lanes.iter().map(lane).collect() }).collect(),
    }
}

/// A lane, for a node that writes rows without a plan.
pub fn encode_lane(lane: LaneSink) -> Vec<u8> {
    let LaneSink { table, slice_count, slices, transaction_id } = lane;
    encode_target(&SinkTarget { table, slice_count, transaction_id, tasks: vec![vec![slices]] }).encode_to_vec()
}

/// What [`encode_lane`] wrote.
pub fn decode_lane(bytes: &[u8]) -> crate::Result<LaneSink> {
    let sink = proto::SliceSink::decode(bytes).map_err(|error| torn(&error.to_string()))?;
    let SinkTarget { table, slice_count, transaction_id, mut tasks } = decode_target(&sink)?;
    let lane = tasks.pop().filter(|_| tasks.is_empty()).and_then(|mut lanes| lanes.pop().filter(|_| lanes.is_empty()));
    let slices = lane.ok_or_else(|| torn("a sink of other than one lane"))?;
    Ok(LaneSink { table, slice_count, slices, transaction_id })
}

fn decode_target(sink: &proto::SliceSink) -> Result<SinkTarget> {
    let slice = |slice: &proto::SinkSlice| SinkSlice {
        slice: SliceId(slice.slice),
        epoch: slice.epoch,
        replica_addresses: slice.replica_addresses.clone(),
    };
    let lane = |lane: &proto::SinkLane| lane.slices.iter().map(slice).collect();
    Ok(SinkTarget {
        table: Arc::new(decode_table(&sink.table)?),
        slice_count: sink.slice_count,
        transaction_id: TransactionId::from_bytes(&sink.transaction_id)?,
        tasks: sink.tasks.iter().map(|task| task.lanes.iter().map(lane).collect()).collect(),
    })
}

fn decode_table(bytes: &[u8]) -> Result<Table> {
    let stored = slipher_proto::meta::Table::decode(bytes).map_err(|error| torn(&error.to_string()))?;
    Ok(Table::from_proto(&stored)?)
}

fn encode_identity(fill: &IdentityFill) -> proto::IdentityFill {
    proto::IdentityFill { column: fill.column as u32, seed: fill.seed, step: fill.step, base: fill.base }
}

fn decode_identity(fill: &proto::IdentityFill) -> IdentityFill {
    IdentityFill { column: fill.column as usize, seed: fill.seed, step: fill.step, base: fill.base }
}

fn encode_files(scan: &FileScanExec) -> Result<proto::FileScan> {
    let (format, csv) = match &scan.format {
        FileFormat::Parquet => ("parquet", None),
        FileFormat::Csv(options) => ("csv", Some(options.clone())),
    };
    let file = |file: &FileRef| proto::FileRef {
        path: file.path.clone(),
        size: file.bytes,
        range_start: file.range.map(|range| range.0),
        range_end: file.range.map(|range| range.1),
    };
    let lane = |files: &Vec<FileRef>| proto::FileLane { files: files.iter().map(file).collect() };
    let mut tasks: Vec<proto::FileTask> =
        scan.tasks.iter().map(|lanes| proto::FileTask { lanes: lanes.iter().map(lane).collect() }).collect();
    tasks.iter_mut().for_each(|task| task.lanes.resize_with(scan.lanes, Default::default));
    Ok(proto::FileScan {
        schema: encode_schema(&scan.schema)?,
        format: format.to_owned(),
        tasks,
        csv,
        projection: numbers(&scan.projection),
    })
}

fn decode_files(scan: &proto::FileScan) -> Result<FileScanExec> {
    let schema = decode_schema(&scan.schema)?;
    let format = match (scan.format.as_str(), &scan.csv) {
        ("parquet", _) => FileFormat::Parquet,
        ("csv", Some(options)) => FileFormat::Csv(options.clone()),
        (other, _) => return Err(torn(&format!("files of the unknown format {other}")).into()),
    };
    let file = |file: &proto::FileRef| FileRef {
        path: file.path.clone(),
        bytes: file.size,
        range: file.range_start.zip(file.range_end),
    };
    let lane = |lane: &proto::FileLane| lane.files.iter().map(file).collect();
    let tasks: Vec<Vec<Vec<FileRef>>> = scan.tasks.iter().map(|task| task.lanes.iter().map(lane).collect()).collect();
    let lanes = tasks.first().map_or(crate::placement::LANES_MIN, Vec::len);
    let projection = indexes(&scan.projection, schema.fields().len())?;
    FileScanExec::try_new(schema, projection, format, tasks, lanes)
}
