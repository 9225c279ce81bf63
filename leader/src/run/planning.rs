//! The plans of an attempt, made on the threads that plan.

use super::Attempt;
use super::first_parts::has_first_parts;
use crate::bind::Bound;
use crate::plan::parameters;
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::ast;
use slipher_common::trace::{Span, carried};
use slipher_common::{Result, SqlType};
use std::sync::Arc;
use tokio::runtime::Handle;

/// How far a statement is planned in one go.
enum Planned {
    Whole(Arc<dyn ExecutionPlan>),
    /// It has parts that must run first.
    InParts(Box<LogicalPlan>),
}

impl Attempt {
    /// The logical plan of a query.
    pub(crate) async fn plan_query(&self, statement: &ast::Statement, parameters: Option<ParamValues>) -> Result<LogicalPlan> {
        let types = parameters.as_ref().map(parameters::types_of_values).unwrap_or_default();
        self.plan_typed(statement, &types, parameters).await
    }

    /// The logical plan of a query whose parameters have these types, as far as they are known.
    pub(crate) async fn plan_typed(
        &self,
        statement: &ast::Statement,
        types: &[Option<SqlType>],
        parameters: Option<ParamValues>,
    ) -> Result<LogicalPlan> {
        let _span = Span::start("plan");
        let (statement, types) = (statement.clone(), types.to_vec());
        self.on_planner(move |attempt| attempt.plan_typed_here(&statement, &types, parameters)).await
    }

    /// The logical plan of a query that is bound.
    pub(crate) async fn plan_bound(&self, bound: Bound) -> Result<LogicalPlan> {
        let _span = Span::start("plan");
        self.on_planner(move |attempt| attempt.plan_bound_here(bound, &[], None)).await
    }

    /// Both plans of a query; the physical one is what runs. Both are made in one go: a change of threads takes longer than planning a short
    /// query does.
    pub(crate) async fn plan_statement(
        &self,
        statement: &ast::Statement,
        parameters: Option<ParamValues>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let statement = statement.clone();
        let work = move |attempt: &Attempt| {
            let planning = Span::start("plan");
            let types = parameters.as_ref().map(parameters::types_of_values).unwrap_or_default();
            let logical = attempt.plan_typed_here(&statement, &types, parameters)?;
            drop(planning);
            if has_first_parts(&logical)? {
                return Ok(Planned::InParts(Box::new(logical)));
            }
            let _optimizing = Span::start("optimize");
            attempt.plan_physical_here(&logical).map(Planned::Whole)
        };
        match self.on_planner(work).await? {
            Planned::Whole(physical) => Ok(physical),
            Planned::InParts(logical) => self.plan_physical(&logical).await,
        }
    }

    /// The logical plan as the engine's rules leave it: the types of its columns are settled.
    pub(crate) async fn optimize(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        let _span = Span::start("optimize");
        let plan = plan.clone();
        self.on_planner(move |attempt| Ok(attempt.session.optimize(&plan)?)).await
    }

    /// The physical plan, with its boundaries placed. What must run before it has run when it is made.
    pub(crate) async fn plan_physical(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = match has_first_parts(plan)? {
            true => self.with_first_parts_run(plan.clone()).await?,
            false => plan.clone(),
        };
        self.plan_settled(plan).await
    }

    /// The physical plan of what has no part that must run first.
    pub(super) async fn plan_settled(&self, plan: LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let _span = Span::start("optimize");
        self.on_planner(move |attempt| attempt.plan_physical_here(&plan)).await
    }

    /// The physical plan of a load whose rows the leader has itself: nothing of it runs on compute nodes but the writing.
    pub(crate) async fn plan_on_leader(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let _span = Span::start("optimize");
        let plan = plan.clone();
        self.on_planner(move |attempt| attempt.plan_on_leader_here(&plan)).await
    }

    pub(super) fn plan_typed_here(
        &self,
        statement: &ast::Statement,
        types: &[Option<SqlType>],
        parameters: Option<ParamValues>,
    ) -> Result<LogicalPlan> {
        let bound = Handle::current().block_on(self.bind(statement))?;
        self.plan_bound_here(bound, types, parameters)
    }

    pub(super) async fn on_planner<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Attempt) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let attempt = self.clone();
        self.runner.planners.run(carried(move || work(&attempt))).await
    }
}
