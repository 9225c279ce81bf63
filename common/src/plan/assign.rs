//! The node that turns a load's source columns into its table's columns.

use crate::assign::{AssignOptions, Assigner};
use crate::catalog::Table;
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

/// Casts, checks lengths and ranges, and refuses NULL where it must; the errors name row and column.
#[derive(Clone, Debug)]
pub struct AssignExec {
    input: Arc<dyn ExecutionPlan>,
    table: Arc<Table>,
    assigner: Arc<Assigner>,
    truncate_strings: bool,
    properties: Arc<PlanProperties>,
}

impl AssignExec {
    /// `input` has one column per column of `table`, in its order.
    pub fn try_new(input: Arc<dyn ExecutionPlan>, table: Arc<Table>, truncate_strings: bool) -> Result<Self> {
        let options = AssignOptions { truncate_strings };
        let assigner = Assigner::new(Arc::clone(&table), &input.schema(), options)?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(table.arrow_schema()),
            partitioning_after(&input, &table),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Ok(Self { input, table, assigner: Arc::new(assigner), truncate_strings, properties: Arc::new(properties) })
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// TRUNCATECOLUMNS.
    pub fn truncate_strings(&self) -> bool {
        self.truncate_strings
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
        Ok(Arc::new(Self::try_new(input, Arc::clone(&self.table), self.truncate_strings)?))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let parts = DistributedTaskContext::from_ctx(&context).task_count * self.input.output_partitioning().partition_count();
        let input = self.input.execute(partition, context)?;
        let assigner = Arc::clone(&self.assigner);
        let mut rows_before = 0usize;
        let rows = input.map(move |batch| {
            let batch = batch?;
            let place = |row: usize| match parts {
                1 => format!("row {}", rows_before + row + 1),
                _ => format!("row {} of part {} of the source", rows_before + row + 1, partition + 1),
            };
            let assigned = assigner.assign(&batch, &place).map_err(DataFusionError::from);
            rows_before += batch.num_rows();
            assigned
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
