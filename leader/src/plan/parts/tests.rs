use super::*;
use arrow::util::display::array_value_to_string;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as EngineStatement;

fn context() -> SessionContext {
    let config = SessionConfig::new().set_bool("datafusion.sql_parser.parse_float_as_decimal", true);
    let mut context = SessionContext::new_with_config(config);
    slipher_common::functions::register(&mut context).unwrap();
    crate::plan::semantics::register(&mut context).unwrap();
    context
}

/// The values of a query of one column.
async fn values(sql: &str) -> slipher_common::Result<Vec<String>> {
    let context = context();
    let state = context.state();
    let statement = slipher_sql::embedded::query(sql)?;
    let plan = state.statement_to_plan(EngineStatement::Statement(statement)).await?;
    let plan = cut_deep_expressions(plan, &state)?;
    let batches = context.execute_logical_plan(plan).await?.collect().await?;
    let column = |batch: &arrow::array::RecordBatch| {
        (0..batch.num_rows()).map(|row| array_value_to_string(batch.column(0), row).unwrap()).collect::<Vec<_>>()
    };
    Ok(batches.iter().flat_map(column).collect())
}

async fn check(sql: &str, expected: &[&str]) {
    let start: String = sql.chars().take(100).collect();
    assert_eq!(values(sql).await.unwrap_or_else(|error| panic!("{start}: {error:?}")), expected, "{start}");
}

/// Runs `work` with the stack of a thread that plans: the tests' own are small.
fn on_a_planner(work: impl Future<Output = ()> + Send + 'static) {
    let run = move || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    std::thread::Builder::new().stack_size(16 << 20).spawn(run).unwrap().join().unwrap();
}

const T: &str = "(values (1, 'a', null), (0, 'b', 7)) as t(n, s, m)";

#[test]
fn deep_expressions_mean_what_they_mean_at_once() {
    on_a_planner(async {
        check(&format!("select 1{}", " + 1".repeat(300)), &["301"]).await;
        check(&format!("select n{} from {T}", " + 1 - 2".repeat(100)), &["-99", "-100"]).await;
        check(&format!("select len(s{}) from {T}", " || 'x'".repeat(300)), &["301", "301"]).await;
        check(
            &format!("select {}s{} from {T}", "replace(".repeat(30), ", 'a', 'aa')".repeat(12) + &", 'aa', 'a')".repeat(18)),
            &["a", "b"],
        )
        .await;
        check(
            &format!("select sum(n{}) from {T} group by n{} order by 1", " * 2".repeat(30), " + 3".repeat(30)),
            &["0", "1073741824"],
        )
        .await;
        check(&format!("select n from {T} where s = 'b' and n{} = 60", " + 1".repeat(60)), &["0"]).await;
    });
}

#[test]
fn what_is_not_asked_for_is_not_computed_in_parts_either() {
    on_a_planner(async {
        let nested = |levels: usize| {
            let open = "case when n = 0 then -1 else 1 / n + ".repeat(levels);
            format!("select {open}0{} from {T}", " end".repeat(levels))
        };
        check(&nested(30), &["30", "-1"]).await;
        let coalesce = format!("select {}m{}, 1 / (n - 1)) from {T}", "coalesce(coalesce(m, ", ", n + 5)");
        check(&coalesce, &["6", "7"]).await;
        // The engine would write the innermost argument 2^25 times.
        let deep = format!("select {}m{} from {T}", "coalesce(".repeat(25), " + 1, 3)".repeat(25));
        check(&deep, &["27", "32"]).await;
    });
}

#[test]
fn long_lists_are_one_value() {
    on_a_planner(async {
        let list = (2..3_000).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
        check(&format!("select n from {T} where n in (0, {list})"), &["0"]).await;
        check(&format!("select n from {T} where n not in (0, {list})"), &["1"]).await;
        check(&format!("select n from {T} where n not in (0, null, {list})"), &[]).await;
        check(&format!("select n in (0, null, {list}) from {T}"), &["", "true"]).await;
        let texts = (0..3_000).map(|value| format!("'v{value}'")).collect::<Vec<_>>().join(", ");
        check(&format!("select n from {T} where s in ({texts}, 'a')"), &["1"]).await;
    });
}

#[test]
fn no_pass_of_the_engine_sees_a_deep_expression() {
    on_a_planner(async {
        let state = context().state();
        for levels in [20, 100, 400] {
            let sql = format!(
                "select {}s{} from {T} where n{} > 1",
                "reverse(".repeat(levels),
                ")".repeat(levels),
                " - 1".repeat(levels)
            );
            // The parser bounds what nests; here it is built by hand.
            let sql = if levels > 50 { format!("select n{} from {T}", " - n".repeat(levels)) } else { sql };
            let statement = slipher_sql::embedded::query(&sql).unwrap();
            let plan = state.statement_to_plan(EngineStatement::Statement(statement)).await.unwrap();
            let plan = cut_deep_expressions(plan, &state).unwrap();
            let mut nodes = 0;
            plan.apply_with_subqueries(|node| {
                node.apply_expressions(|expression| {
                    let shape = Shape::of(expression)?;
                    assert!(shape.height <= HEIGHT_MAX, "{levels} levels: {shape:?}");
                    expression.apply(|_| {
                        nodes += 1;
                        Ok(TreeNodeRecursion::Continue)
                    })
                })
            })
            .unwrap();
            assert!(nodes < 100, "{levels} levels: {nodes} nodes");
        }
    });
}

#[test]
fn plans_that_double_with_each_level_are_refused() {
    let mut plan = LogicalPlanBuilder::values(vec![vec![lit(1_i64)]]).unwrap().build().unwrap();
    for level in 0..16 {
        assert!(check_size(&plan).is_ok() || level > 12, "level {level}");
        plan = LogicalPlanBuilder::from(plan.clone()).union(plan).unwrap().build().unwrap();
    }
    assert_eq!(Error::from(check_size(&plan).unwrap_err()).sqlstate(), "54001");
}
