//! Where statements come from: the command line, a file, standard input, a terminal.

use super::Runner;
use super::completion::Names;
use super::editor::{Editor, Entry};
use super::report::{self, Failure};
use super::split::Splitter;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Longest statement, in bytes.
const STATEMENT_MAX_BYTES: usize = 64 << 20;

/// Lines read ahead of the statement that runs.
const LINES_AHEAD_MAX_COUNT: usize = 64;

/// Lines of a text with their line ends. A thread of its own reads them: the runtime's own standard input would keep the
/// program from ending until the next line comes.
struct Reader {
    lines: mpsc::Receiver<io::Result<String>>,
}

impl Reader {
    fn new(mut text: impl BufRead + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel(LINES_AHEAD_MAX_COUNT);
        std::thread::spawn(move || {
            loop {
                let mut line = String::new();
                let read = match text.read_line(&mut line) {
                    Ok(0) => return,
                    read => read,
                };
                let failed = read.is_err();
                if sender.blocking_send(read.map(|_| line)).is_err() || failed {
                    return;
                }
            }
        });
        Self { lines }
    }

    fn stdin() -> Self {
        Self::new(BufReader::new(io::stdin()))
    }

    async fn next_line(&mut self) -> Result<Option<String>, Failure> {
        let line = self.lines.recv().await.transpose();
        line.map_err(|error| Failure::Usage(format!("reading statements: {error}")))
    }
}

/// Where statements come from.
pub(super) struct Source {
    commands: Vec<String>,
    text: Text,
}

/// Statements that come after those of the command line.
enum Text {
    None,
    Lines(Reader),
    Terminal,
}

impl Source {
    /// Opens what the arguments name.
    pub(super) fn open(commands: Vec<String>, file: Option<&Path>) -> Result<Self, Failure> {
        let text = match file {
            Some(path) if path.as_os_str() == "-" => Text::Lines(Reader::stdin()),
            Some(path) => {
                let file = File::open(path);
                let file = file.map_err(|error| Failure::Usage(format!("opening the file \"{}\": {error}", path.display())))?;
                Text::Lines(Reader::new(BufReader::new(file)))
            }
            None if !commands.is_empty() => Text::None,
            None if io::stdin().is_terminal() && io::stdout().is_terminal() => Text::Terminal,
            None => Text::Lines(Reader::stdin()),
        };
        Ok(Self { commands, text })
    }

    /// Runs all statements. The first error ends it, but on a terminal.
    pub(super) async fn run(self, runner: &mut Runner<'_>) -> Result<(), Failure> {
        for command in &self.commands {
            let mut splitter = Splitter::default();
            splitter.push_line(command);
            while let Some(statement) = splitter.next_statement() {
                runner.run(&statement).await?;
            }
            if let Some(statement) = splitter.finish() {
                runner.run(&statement).await?;
            }
        }
        match self.text {
            Text::None => Ok(()),
            Text::Lines(lines) => run_text(lines, runner).await,
            Text::Terminal => prompt(runner).await,
        }
    }
}

async fn run_text(mut text: Reader, runner: &mut Runner<'_>) -> Result<(), Failure> {
    let mut splitter = Splitter::default();
    loop {
        let line = tokio::select! {
            line = text.next_line() => line?,
            _ = runner.interrupts.recv() => return Err(Failure::Interrupted),
        };
        let Some(line) = line else { break };
        if !splitter.is_inside_statement() && line.starts_with('\\') {
            match line.trim() {
                "\\q" => return Ok(()),
                command => runner.command(command).await?,
            }
            continue;
        }
        splitter.push_line(&line);
        while let Some(statement) = splitter.next_statement() {
            runner.run(&statement).await?;
        }
        if splitter.pending_bytes() > STATEMENT_MAX_BYTES {
            let limit = STATEMENT_MAX_BYTES >> 20;
            return Err(Failure::Usage(format!("reading statements: one is longer than {limit} MiB; is a quote left open?")));
        }
    }
    match splitter.finish() {
        Some(statement) => runner.run(&statement).await,
        None => Ok(()),
    }
}

/// Reads statements from a terminal until its end or `\q`.
async fn prompt(runner: &mut Runner<'_>) -> Result<(), Failure> {
    writeln!(
        runner.out,
        "Statements end with a semicolon; \\? lists commands, \\q or Ctrl-D leaves, Ctrl-C cancels, Tab completes."
    )?;
    let names = Arc::default();
    let editor = Editor::open(Arc::clone(&names))?;
    loop {
        if std::mem::take(&mut runner.names_changed) {
            // Without them keywords are completed all the same.
            let tables = runner.connection.tables_with_columns().await.unwrap_or_default();
            *names.lock() = Names::new(tables);
        }
        runner.out.flush()?;
        let text = match editor.read(format!("{}=> ", runner.connection.database)).await? {
            Entry::Text(text) => text,
            Entry::Interrupted => continue,
            Entry::End => return Ok(()),
        };
        match text.trim() {
            "\\q" | "exit" | "quit" => return Ok(()),
            command if command.starts_with('\\') => {
                report_and_go_on(runner.command(command).await)?;
                continue;
            }
            _ => {}
        }
        let mut splitter = Splitter::default();
        splitter.push_line(&text);
        while let Some(statement) = splitter.next_statement() {
            report_and_go_on(runner.run(&statement).await)?;
        }
    }
}

/// On a terminal the next statement may mend what this one did.
fn report_and_go_on(ended: Result<(), Failure>) -> Result<(), Failure> {
    match ended {
        Err(failure @ (Failure::Sql { .. } | Failure::Usage(_))) => {
            report::print(&failure, &mut io::stderr());
            Ok(())
        }
        ended => ended,
    }
}
