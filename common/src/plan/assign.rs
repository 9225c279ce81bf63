//! The node that turns a load's source columns into its table's columns.

use crate::assign::{AssignOptions, Assigner};
use crate::catalog::Table;
use crate::error::{Error, ErrorKind};
use crate::functions::tight_argument;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::Schema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use datafusion_distributed::DistributedTaskContext;
use futures::StreamExt;
use std::fmt;
use std::sync::Arc;

/// An IDENTITY column that a load does not name: row n of part p of P parts gets `seed + step * (base + n * P + p)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityFill {
    /// Position of the column.
    pub column: usize,
    /// First value.
    pub seed: i64,
    /// Distance between values.
    pub step: i64,
    /// How many values were handed out before.
    pub base: u64,
}

impl IdentityFill {
    /// The values of `rows` rows from row `first` on of part `part` of `parts`; the bounds of BIGINT are an error.
    fn values(&self, first: usize, rows: usize, part: usize, parts: usize) -> crate::Result<Int64Array> {
        let value = |row: usize| -> Option<i64> {
            let number = self.base as i128 + row as i128 * parts as i128 + part as i128;
            i64::try_from(i128::from(self.seed) + i128::from(self.step) * number).ok()
        };
        (first..first + rows)
            .map(|row| {
                value(row).ok_or_else(|| Error::new(ErrorKind::NumericOutOfRange, "the values of an IDENTITY column are used up"))
            })
            .collect::<crate::Result<Vec<i64>>>()
            .map(Int64Array::from)
    }
}

/// Casts, checks lengths and ranges, and refuses NULL where it must; the errors name row and column.
#[derive(Clone, Debug)]
pub struct AssignExec {
    input: Arc<dyn ExecutionPlan>,
    table: Arc<Table>,
    assigner: Arc<Assigner>,
    options: AssignOptions,
    identities: Vec<IdentityFill>,
    properties: Arc<PlanProperties>,
}

impl AssignExec {
    /// `input` has one column per column of `table`, in its order.
    pub fn try_new(
        input: Arc<dyn ExecutionPlan>,
        table: Arc<Table>,
        options: AssignOptions,
        identities: Vec<IdentityFill>,
    ) -> Result<Self> {
        let assigner = Assigner::new(Arc::clone(&table), &input.schema(), options.clone())?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(table.arrow_schema()),
            partitioning_after(&input, &table),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Ok(Self { input, table, assigner: Arc::new(assigner), options, identities, properties: Arc::new(properties) })
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The IDENTITY columns it fills.
    pub fn identities(&self) -> &[IdentityFill] {
        &self.identities
    }

    /// How it treats what does not fit, and in which zone wall clocks are.
    pub fn options(&self) -> &AssignOptions {
        &self.options
    }
}

/// A conversion may change a value and so its slice: only a key that keeps its type keeps its place.
fn partitioning_after(input: &Arc<dyn ExecutionPlan>, table: &Table) -> Partitioning {
    use datafusion::physical_expr::expressions::Column;
    let lanes = input.output_partitioning().partition_count();
    let target = table.arrow_schema();
    let source = input.schema();
    let keeps_type = |column: &Column| source.field(column.index()).data_type() == target.field(column.index()).data_type();
    match input.output_partitioning() {
        Partitioning::Hash(keys, _) => {
            let renamed: Option<Vec<Arc<dyn PhysicalExpr>>> = keys
                .iter()
                .map(|key| {
                    // Where a string lies does not depend on the blanks behind it, however many of them fit.
                    let key = tight_argument(key).unwrap_or(key);
                    let column = key.downcast_ref::<Column>().filter(|column| keeps_type(column))?;
                    let name = target.field(column.index()).name();
                    Some(Arc::new(Column::new(name, column.index())) as Arc<dyn PhysicalExpr>)
                })
                .collect();
            renamed.map_or(Partitioning::UnknownPartitioning(lanes), |keys| Partitioning::Hash(keys, lanes))
        }
        _ => Partitioning::UnknownPartitioning(lanes),
    }
}

impl DisplayAs for AssignExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AssignExec: table={}", self.table)
    }
}

impl ExecutionPlan for AssignExec {
    fn name(&self) -> &str {
        "AssignExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = super::one_child(children, "AssignExec")?;
        Ok(Arc::new(Self::try_new(input, Arc::clone(&self.table), self.options.clone(), self.identities.clone())?))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let place = DistributedTaskContext::from_ctx(&context);
        let partitions = self.input.output_partitioning().partition_count();
        let (part, parts) = (place.task_index * partitions + partition, place.task_count * partitions);
        let input = self.input.execute(partition, context)?;
        let (assigner, identities) = (Arc::clone(&self.assigner), self.identities.clone());
        let mut rows_before = 0usize;
        let rows = input.map(move |batch| {
            let batch = with_identities(batch?, &identities, rows_before, part, parts)?;
            let place = |row: usize| match parts {
                1 => format!("row {}", rows_before + row + 1),
                _ => format!("row {} of part {} of the source", rows_before + row + 1, part + 1),
            };
            let assigned = assigner.assign(&batch, &place).map_err(DataFusionError::from);
            rows_before += batch.num_rows();
            assigned
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

fn with_identities(batch: RecordBatch, fills: &[IdentityFill], first: usize, part: usize, parts: usize) -> Result<RecordBatch> {
    if fills.is_empty() {
        return Ok(batch);
    }
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    for fill in fills {
        let values: ArrayRef = Arc::new(fill.values(first, batch.num_rows(), part, parts)?);
        // The source has NULLs of the column's own type there.
        columns[fill.column] = arrow::compute::cast(&values, fields[fill.column].data_type())?;
        fields[fill.column] = Arc::new(fields[fill.column].as_ref().clone().with_nullable(false));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
