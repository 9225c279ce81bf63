//! Fragments on their way, and the session that a fragment is decoded and run in.

use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionStateBuilder, SessionStateDefaults, TaskContext};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion_distributed::DistributedCodec;
use datafusion_proto::bytes::{physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter};
use datafusion_proto::physical_plan::DeduplicatingProtoConverter;
use std::sync::{Arc, LazyLock};

/// What fragments may call. Of functions with the same name the last one is meant.
struct Functions {
    scalar: Vec<Arc<ScalarUDF>>,
    higher_order: Vec<Arc<HigherOrderUDF>>,
    aggregate: Vec<Arc<AggregateUDF>>,
    window: Vec<Arc<WindowUDF>>,
}

/// Made once: making hundreds of functions for each task takes longer than many a task does.
static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    let mut functions = Functions {
        scalar: SessionStateDefaults::default_scalar_functions(),
        higher_order: SessionStateDefaults::default_higher_order_functions(),
        aggregate: SessionStateDefaults::default_aggregate_functions(),
        window: SessionStateDefaults::default_window_functions(),
    };
    functions.scalar.push(crate::distribution::bucket_token_udf());
    functions.scalar.extend(crate::functions::all());
    let own = [crate::single_value::single_value_udaf(), crate::member::member_udaf(), crate::list_agg::list_agg_udaf()];
    functions.aggregate.extend(own);
    functions.aggregate.extend(crate::aggregates::all());
    functions.window.extend(crate::functions::window_functions().iter().cloned());
    functions
});

/// A session for one fragment: it knows the functions that plans name, and none of what only planning needs.
pub fn fragment_session(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionStateBuilder {
    let functions = &*FUNCTIONS;
    SessionStateBuilder::new()
        .with_config(config.with_create_default_catalog_and_schema(false))
        .with_runtime_env(runtime)
        .with_scalar_functions(functions.scalar.clone())
        .with_higher_order_functions(functions.higher_order.clone())
        .with_aggregate_functions(functions.aggregate.clone())
        .with_window_functions(functions.window.clone())
}

/// A fragment as it travels. The leader's `config` knows the codec.
pub fn encode_fragment(fragment: &Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<Vec<u8>> {
    let codec = DistributedCodec::new_combined_with_user(config);
    let converter = DeduplicatingProtoConverter::default();
    Ok(physical_plan_to_bytes_with_proto_converter(Arc::clone(fragment), &codec, &converter)?.to_vec())
}

/// A fragment that has arrived. `context` is of a [`fragment_session`] that knows the codec.
pub fn decode_fragment(bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
    let codec = DistributedCodec::new_combined_with_user(context.session_config());
    physical_plan_from_bytes_with_proto_converter(bytes, context, &codec, &DeduplicatingProtoConverter::default())
}
