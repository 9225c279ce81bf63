//! STUB until merge.
#[derive(Debug, clap::Args)]
pub struct SqlArgs {}
pub async fn run(_a: SqlArgs) -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
