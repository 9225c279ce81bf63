//! `slipher sql`: runs SQL over Flight SQL and prints what comes.
//!
//! `connection` speaks to the server, `split` cuts text into statements, `table`, `csv` and `json` print rows, `markdown` and
//! `arrow_ipc` too; `report` prints errors, `commands` does what begins with a backslash, `input` says where statements come from, `editor` and
//! `completion` are for those from a terminal, `progress` tells how far a long query is.

mod arrow_ipc;
mod commands;
mod completion;
mod connection;
mod csv;
mod editor;
mod input;
mod json;
mod markdown;
mod progress;
mod progress_line;
mod report;
mod split;
mod table;
mod tls;
mod value;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightInfo;
use clap::{Args, ValueEnum};
use connection::{Batches, Connection, Reply, Target};
use futures::TryStreamExt as _;
use progress_line::ProgressLine;
use report::Failure;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code after an error of SQL.
const EXIT_SQL_ERROR: u8 = 1;
/// Exit code when there is no connection or the arguments are wrong.
const EXIT_CANNOT_RUN: u8 = 2;

/// Run SQL on a Slipher cluster and print what comes.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Without -c and -f, statements are read from standard input; on a terminal, with a prompt.\n\
    Statements run one by one; the first error ends a run that is not on a terminal.\n\
    Exit code: 0 when all statements ran, 1 after an error of SQL, 2 when there is no connection or the usage is wrong.")]
pub struct SqlArgs {
    /// Where to connect, as who, to which database.
    #[arg(
        long,
        env = "SLIPHER_URL",
        hide_env_values = true,
        value_name = "grpc[+tls]://USER:PASSWORD@HOST:PORT/DATABASE",
        default_value = "grpc://admin@127.0.0.1:5440/dev"
    )]
    url: String,
    /// Password, when the URL holds none. Better given by the environment than on the command line.
    #[arg(long, env = "SLIPHER_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    password: Option<String>,
    /// PEM file of the certificates that a server's must come from (grpc+tls://) [default: those the system trusts].
    #[arg(long, env = "SLIPHER_TLS_ROOTS", value_name = "FILE")]
    tls_roots: Option<PathBuf>,
    /// Statements to run; may be given more than once.
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    commands: Vec<String>,
    /// File of statements to run, after those of -c; "-" is standard input.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// How rows are printed.
    #[arg(long, value_enum, default_value_t = Format::Aligned)]
    format: Format,
    /// A value for :name in statements; :'name' is it as a string, :"name" as a name. May be given more than once.
    #[arg(short = 'v', long = "variable", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// Prints how long each statement took.
    #[arg(long)]
    timing: bool,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Aligned,
    /// Comma-separated values with a header line; NULL is empty, the empty string is "".
    Csv,
    /// One JSON object per line.
    Json,
    /// A line per column, for wide rows.
    Expanded,
    /// A table for documents.
    Markdown,
    /// An Arrow IPC stream, for other programs.
    Arrow,
}

/// Prints one result's rows.
trait Printer {
    /// Takes the next rows.
    fn rows(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure>;
    /// After the last row.
    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure>;
}

/// Runs `slipher sql`; answers its exit code.
pub async fn run(args: SqlArgs) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout());
    let ended = run_all(&args, &mut out).await;
    let flushed = out.flush().map_err(Failure::Output);
    match ended.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::print(&failure, &mut io::stderr());
            ExitCode::from(match failure {
                Failure::Sql { .. } | Failure::Interrupted => EXIT_SQL_ERROR,
                _ => EXIT_CANNOT_RUN,
            })
        }
    }
}

async fn run_all(args: &SqlArgs, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let target = Target::parse(&args.url, args.password.as_deref())?;
    // A file that cannot be read is found before anything runs.
    let source = input::Source::open(args.commands.clone(), args.file.as_deref())?;
    let connection = Connection::open(&target, tls::Connector::new(args.tls_roots.as_deref())?).await?;
    let interrupts = signal(SignalKind::interrupt()).map_err(|error| Failure::Usage(format!("listening to Ctrl-C: {error}")))?;
    let variables = commands::Variables::parse(&args.variables)?;
    let mut runner =
        Runner { connection, interrupts, format: args.format, timing: args.timing, variables, names_changed: true, out };
    let ended = source.run(&mut runner).await;
    runner.connection.close().await;
    ended
}

/// Runs statements one by one.
struct Runner<'a> {
    connection: Connection,
    /// One listener for the whole run: a signal that comes while rows are printed must not get lost.
    interrupts: Signal,
    format: Format,
    timing: bool,
    variables: commands::Variables,
    /// Tables may have come or gone since their names were asked for.
    names_changed: bool,
    out: &'a mut (dyn Write + Send),
}

impl Runner<'_> {
    /// Runs one statement and prints what it yields; Ctrl-C cancels it.
    async fn run(&mut self, sql: &str) -> Result<(), Failure> {
        let started = Instant::now();
        let sql = &self.variables.fill_in(sql)?;
        self.run_statement(sql).await?;
        if self.timing {
            // Beside the rows: they may be read by a program.
            eprintln!("Time: {:.3} ms", started.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(())
    }

    async fn run_statement(&mut self, sql: &str) -> Result<(), Failure> {
        let progress = ProgressLine::start(&self.connection);
        let reply = tokio::select! {
            biased;
            // Dropping the call cancels it.
            _ = self.interrupts.recv() => return Err(report::cancelled(sql)),
            reply = self.connection.execute(sql) => reply?,
        };
        match reply {
            Reply::Done { tag, notices } => {
                progress.clear();
                self.names_changed |= ["CREATE", "DROP", "ALTER", "SELECT"].iter().any(|word| tag.starts_with(word));
                self.done(&tag, &notices)
            }
            Reply::Rows { schema, rows, info } => self.rows(sql, &schema, rows, info, &progress).await,
        }
    }

    fn done(&mut self, tag: &str, notices: &[String]) -> Result<(), Failure> {
        for notice in notices {
            report::print_notice(notice, &mut io::stderr());
        }
        if self.format == Format::Aligned && !tag.is_empty() {
            writeln!(self.out, "{tag}")?;
        }
        Ok(self.out.flush()?)
    }

    async fn rows(
        &mut self,
        sql: &str,
        schema: &SchemaRef,
        mut rows: Batches,
        info: Box<FlightInfo>,
        progress: &ProgressLine,
    ) -> Result<(), Failure> {
        let mut printer = printer(self.format, schema);
        loop {
            let batch = tokio::select! {
                biased;
                _ = self.interrupts.recv() => {
                    self.connection.cancel(info).await;
                    return Err(report::cancelled(sql));
                }
                batch = rows.try_next() => batch.map_err(|error| report::sql_failure(error, sql))?,
            };
            let Some(batch) = batch else { break };
            if io::stdout().is_terminal() {
                progress.clear();
            }
            printer.rows(&batch, self.out)?;
            self.out.flush()?;
        }
        progress.clear();
        printer.finish(self.out)?;
        Ok(self.out.flush()?)
    }
}

fn printer(format: Format, schema: &SchemaRef) -> Box<dyn Printer + Send> {
    match format {
        Format::Aligned => Box::new(table::Table::new(schema)),
        Format::Csv => Box::new(csv::Csv::new(schema)),
        Format::Json => Box::new(json::Json),
        Format::Expanded => Box::new(markdown::Expanded::new(schema)),
        Format::Markdown => Box::new(markdown::Markdown::new(schema)),
        Format::Arrow => Box::new(arrow_ipc::ArrowStream::new(schema)),
    }
}
