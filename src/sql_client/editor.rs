//! Statements from a terminal: editing over several lines, history, completion.

use super::completion::Names;
use super::report::Failure;
use super::split::Splitter;
use parking_lot::Mutex;
use rustyline::completion::Completer;
use rustyline::config::CompletionType;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Helper};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use tokio::sync::oneshot;

/// Statements that the history keeps.
const HISTORY_MAX_COUNT: usize = 10_000;
/// The history's file in the home directory, unless SLIPHER_HISTORY names another.
const HISTORY_FILE: &str = ".slipher_history";

/// What came from the terminal.
pub(super) enum Entry {
    /// One or more whole statements, or a command.
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D.
    End,
}

type Answer = oneshot::Sender<Result<Entry, ReadlineError>>;

/// A line editor in a thread of its own: it waits for keys, the program does not.
pub(super) struct Editor {
    requests: mpsc::Sender<(String, Answer)>,
}

impl Editor {
    /// Opens the terminal; Tab completes `names`.
    pub(super) fn open(names: Arc<Mutex<Names>>) -> Result<Self, Failure> {
        let unusable = |error: ReadlineError| Failure::Usage(format!("opening the terminal: {error}"));
        let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false);
        let config = config.max_history_size(HISTORY_MAX_COUNT).map_err(unusable)?.build();
        let mut editor = rustyline::Editor::<Assistant, FileHistory>::with_config(config).map_err(unusable)?;
        editor.set_helper(Some(Assistant(names)));
        let history = history_path();
        if let Some(path) = &history {
            // There is none yet, or it cannot be read: editing goes without.
            let _ = editor.load_history(path);
        }
        let (requests, wanted) = mpsc::channel::<(String, Answer)>();
        std::thread::spawn(move || {
            for (prompt, answer) in wanted {
                let entry = read(&mut editor, &prompt, history.as_ref());
                if answer.send(entry).is_err() {
                    return;
                }
            }
        });
        Ok(Self { requests })
    }

    /// The next statements or command.
    pub(super) async fn read(&self, prompt: String) -> Result<Entry, Failure> {
        let ended = || Failure::Usage("reading statements: the terminal is gone".to_owned());
        let (answer, entry) = oneshot::channel();
        self.requests.send((prompt, answer)).map_err(|_| ended())?;
        let entry = entry.await.map_err(|_| ended())?;
        entry.map_err(|error| Failure::Usage(format!("reading statements: {error}")))
    }
}

fn read(
    editor: &mut rustyline::Editor<Assistant, FileHistory>,
    prompt: &str,
    history: Option<&PathBuf>,
) -> Result<Entry, ReadlineError> {
    match editor.readline(prompt) {
        Ok(text) => {
            if is_worth_keeping(&text) && editor.add_history_entry(text.trim())? {
                // Written at once: a terminal may be closed any time. One that cannot be written is no reason to stop.
                let _ = history.map(|path| editor.append_history(path));
            }
            Ok(Entry::Text(text))
        }
        Err(ReadlineError::Interrupted) => Ok(Entry::Interrupted),
        Err(ReadlineError::Eof) => Ok(Entry::End),
        Err(error) => Err(error),
    }
}

/// Passwords and keys are not kept.
fn is_worth_keeping(text: &str) -> bool {
    let lower = text.to_lowercase();
    !lower.trim().is_empty() && !["password", "secret", "credentials", "access_key"].iter().any(|word| lower.contains(word))
}

fn history_path() -> Option<PathBuf> {
    match std::env::var_os("SLIPHER_HISTORY") {
        Some(path) => Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty()),
        None => std::env::home_dir().map(|home| home.join(HISTORY_FILE)),
    }
}

/// Completes names and says when a statement is whole.
struct Assistant(Arc<Mutex<Names>>);

impl Helper for Assistant {}
impl Highlighter for Assistant {}
impl Hinter for Assistant {
    type Hint = String;
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.0.lock().complete(line, position))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_whole(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

/// Whether Enter ends the input: after the semicolon of a statement, after a command, and where nothing was begun.
fn is_whole(input: &str) -> bool {
    let text = input.trim();
    if text.starts_with('\\') || matches!(text, "exit" | "quit") {
        return true;
    }
    let mut splitter = Splitter::default();
    splitter.push_line(input);
    !splitter.is_inside_statement()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_ends_what_is_whole() {
        for whole in ["", "select 1;", "select 1; select 2;", "\\d t", "quit", "-- nothing", "select ';' ; -- that"] {
            assert!(is_whole(whole), "{whole}");
        }
        for open in ["select 1", "select ';", "select 1; select 2", "select /* ; ", "select $$;"] {
            assert!(!is_whole(open), "{open}");
        }
    }

    #[test]
    fn secrets_stay_out_of_the_history() {
        assert!(is_worth_keeping("select 1;"));
        assert!(!is_worth_keeping("create user u Password 'x';"));
        assert!(!is_worth_keeping("copy t from 's3://b' credentials 'aws_access_key_id=x';"));
        assert!(!is_worth_keeping("  "));
    }
}
