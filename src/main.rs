//! The `slipher` binary: one program that is a leader, a compute node, both, or a client.

mod admin;
mod cli;
mod config;
mod demo;
mod local;
mod logging;
mod memory;

use clap::Parser;
use cli::{Cli, Command};
use slipher_common::Result;
use slipher_common::threads::{STACK_BYTES, Threads};
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("slipher: starting the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(cli));
    // Work that cannot be interrupted keeps nobody waiting.
    runtime.shutdown_timeout(std::time::Duration::from_millis(THREADS_END_MAX_MS));
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("slipher: {error}");
            for (name, text) in [("detail", &error.detail), ("hint", &error.hint)] {
                if let Some(text) = text {
                    eprintln!("  {name}: {text}");
                }
            }
            ExitCode::FAILURE
        }
    }
}

/// How long threads may go on with what they do when everything else has ended.
const THREADS_END_MAX_MS: u64 = 500;

async fn run(cli: Cli) -> Result<ExitCode> {
    let file = config::read(cli.config.as_deref())?;
    let shutdown = CancellationToken::new();
    let (role, level) = match &cli.command {
        Command::Sql(arguments) => return Ok(slipher::sql_client::run(arguments.clone()).await),
        Command::Admin(command) => {
            logging::start("warn");
            return admin::run(command);
        }
        Command::Demo(_) => ("demo", "warn"),
        Command::Local(_) => ("local", "info"),
        Command::Leader(_) => ("leader", "info"),
        Command::Compute(_) => ("compute", "info"),
    };
    // What servers write, rows and secrets, is for their own user: also what libraries write.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    logging::start(level);
    let _traces = logging::Traces::start(cli.otlp_endpoint.as_deref().or(file.otlp_endpoint.as_deref()), role)?;
    let _watching = stop_on_signal(shutdown.clone())?;
    match cli.command {
        Command::Sql(_) | Command::Admin(_) => {}
        Command::Demo(options) => demo::run(options.merged(&file), shutdown).await?,
        Command::Local(options) => local::run(options.merged(&file), shutdown).await?,
        Command::Leader(options) => local::run_leader(options.merged(&file), shutdown).await?,
        Command::Compute(options) => local::run_compute(options.merged(&file), shutdown).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// How long the program may take to end in order. What is committed is durable, so that nothing is lost when it ends without.
const END_MAX_SECONDS: u64 = 7;

/// SIGTERM and Ctrl-C end the program: in order if that can be done in time. They are watched for by threads that queries cannot keep busy,
/// as long as the answer lives.
fn stop_on_signal(shutdown: CancellationToken) -> Result<Threads> {
    use tokio::signal::unix::{SignalKind, signal};
    let control = Threads::control()?;
    let terminate = {
        let _there = control.handle().enter();
        signal(SignalKind::terminate())
    };
    let mut terminate = terminate.map_err(|error| slipher_common::Error::io("watching for SIGTERM", &error))?;
    control.handle().spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping");
        shutdown.cancel();
        tokio::time::sleep(std::time::Duration::from_secs(END_MAX_SECONDS)).await;
        tracing::warn!("what runs does not end in time: stopping without");
        std::process::exit(0);
    });
    Ok(control)
}
