//! Where statements come from: the command line, a file, standard input, a terminal.

use super::Runner;
use super::report::{self, Failure};
use super::split::Splitter;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _};
use std::path::Path;
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
    text: Option<Reader>,
    is_terminal: bool,
}

impl Source {
    /// Opens what the arguments name.
    pub(super) fn open(commands: Vec<String>, file: Option<&Path>) -> Result<Self, Failure> {
        let (text, is_terminal) = match file {
            Some(path) if path.as_os_str() == "-" => (Some(Reader::stdin()), false),
            Some(path) => {
                let file = File::open(path);
                let file = file.map_err(|error| Failure::Usage(format!("opening the file \"{}\": {error}", path.display())))?;
                (Some(Reader::new(BufReader::new(file))), false)
            }
            None if commands.is_empty() => (Some(Reader::stdin()), io::stdin().is_terminal() && io::stdout().is_terminal()),
            None => (None, false),
        };
        Ok(Self { commands, text, is_terminal })
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
        let Some(text) = self.text else { return Ok(()) };
        match self.is_terminal {
            true => prompt(text, runner).await,
            false => run_text(text, runner).await,
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
async fn prompt(mut lines: Reader, runner: &mut Runner<'_>) -> Result<(), Failure> {
    writeln!(runner.out, "Statements end with a semicolon; \\? lists commands, \\q or Ctrl-D leaves, Ctrl-C cancels.")?;
    let mut splitter = Splitter::default();
    loop {
        let mark = if splitter.is_inside_statement() { '-' } else { '=' };
        write!(runner.out, "{}{mark}> ", runner.connection.database)?;
        runner.out.flush()?;
        let line = tokio::select! {
            line = lines.next_line() => line?,
            _ = runner.interrupts.recv() => {
                splitter.clear();
                writeln!(runner.out)?;
                continue;
            }
        };
        let Some(line) = line else {
            writeln!(runner.out)?;
            return Ok(());
        };
        if !splitter.is_inside_statement() {
            match line.trim() {
                "\\q" | "exit" | "quit" => return Ok(()),
                command if command.starts_with('\\') => {
                    match runner.command(command).await {
                        Err(failure @ (Failure::Sql { .. } | Failure::Usage(_))) => report::print(&failure, &mut io::stderr()),
                        ended => ended?,
                    }
                    continue;
                }
                _ => {}
            }
        }
        splitter.push_line(&line);
        while let Some(statement) = splitter.next_statement() {
            match runner.run(&statement).await {
                Err(failure @ Failure::Sql { .. }) => report::print(&failure, &mut io::stderr()),
                ended => ended?,
            }
        }
    }
}
