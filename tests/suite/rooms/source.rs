//! The source of a crate as a graph: its modules, and what each file uses of the others.

use super::tokens::{Token, tokens};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A crate's files and what they use.
#[derive(Debug, Default)]
pub struct Crate {
    /// Its top-level modules.
    pub rooms: BTreeSet<String>,
    /// Its files.
    pub files: BTreeSet<String>,
    /// Uses across files, in the order of the text.
    pub uses: Vec<Use>,
}

/// A file names something that another one defines.
#[derive(Debug)]
pub struct Use {
    pub from: String,
    pub line: usize,
    pub from_room: String,
    pub to: String,
    pub to_room: String,
    /// What was written.
    pub path: String,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} uses {} ({})", self.from, self.line, self.to, self.path)
    }
}

/// Where a module stands below its crate: `["plan", "align"]`; the root is empty. A room that is a crate of its own stands where it did as a
/// module.
type ModulePath = Vec<String>;

/// One module: a file, or a `mod` with a body inside of one.
#[derive(Debug, Default)]
struct Module {
    file: String,
    children: BTreeSet<String>,
    items: BTreeSet<String>,
    /// Names that `use` brings in, with the paths behind them.
    imports: BTreeMap<String, Written>,
    /// What `use` brings in as a whole.
    globs: Vec<Written>,
    /// Paths that are written here.
    paths: Vec<Written>,
}

/// A path as it is written.
#[derive(Clone, Debug)]
struct Written {
    line: usize,
    segments: Vec<String>,
    /// `pub use`: handed on.
    is_public: bool,
}

/// What a path means.
enum Meaning {
    Module(ModulePath),
    ItemOf(ModulePath),
}

/// A room of a crate that is a crate of its own.
#[derive(Clone, Copy, Debug)]
pub struct OwnCrate<'a> {
    /// What the room is called.
    pub room: &'a str,
    /// What paths call the crate.
    pub name: &'a str,
    /// Where its `lib.rs` is.
    pub folder: &'a Path,
}

impl Crate {
    /// Reads `lib.rs` or `main.rs` in `root`, and all modules that it has outside of tests; with them the rooms that are crates of their own.
    pub fn read(root: &Path, own_crates: &[OwnCrate<'_>]) -> io::Result<Self> {
        let main = ["lib.rs", "main.rs"].into_iter().find(|name| root.join(name).is_file());
        let main = main.ok_or_else(|| io::Error::other("neither lib.rs nor main.rs"))?;
        let mut modules = Modules::default();
        modules.read_file(root, root, Path::new(main), Vec::new())?;
        for own in own_crates {
            modules.rooms_of_crates.insert(own.name.to_owned(), own.room.to_owned());
            let shown_from = root.parent().unwrap_or(root);
            modules.read_file(shown_from, own.folder, Path::new("lib.rs"), vec![own.room.to_owned()])?;
        }
        let mut rooms = modules.by_path.get(&Vec::new()).map(|root| root.children.clone()).unwrap_or_default();
        rooms.extend(modules.rooms_of_crates.values().cloned());
        let mut uses = Vec::new();
        for (path, module) in &modules.by_path {
            modules.uses_of(path, module, &mut uses);
        }
        let files = modules.by_path.values().map(|module| module.file.clone()).collect();
        Ok(Self { rooms, files, uses })
    }
}

#[derive(Debug, Default)]
struct Modules {
    by_path: BTreeMap<ModulePath, Module>,
    /// The rooms that are crates of their own, by what paths call the crates.
    rooms_of_crates: BTreeMap<String, String>,
}

impl Modules {
    fn read_file(&mut self, root: &Path, folder: &Path, file: &Path, path: ModulePath) -> io::Result<()> {
        let shown = folder.join(file);
        let text = std::fs::read_to_string(&shown)?;
        let shown = shown.strip_prefix(root).unwrap_or(&shown).display().to_string();
        let mut reader = Reader { tokens: tokens(&text), next: 0, file: shown, files: Vec::new(), modules: self };
        reader.module(path.clone());
        let files = reader.files;
        // `mod x;` in `a/mod.rs`, `lib.rs` or `main.rs` is beside it, in `a.rs` it is in `a/`.
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let inside = match name {
            "mod" | "lib" | "main" => folder.to_owned(),
            name => folder.join(name),
        };
        for child in files {
            let here: PathBuf = child.iter().skip(path.len()).take(child.len() - path.len() - 1).collect();
            let name = child.last().cloned().unwrap_or_default();
            let inside = inside.join(here);
            let beside = PathBuf::from(format!("{name}.rs"));
            match inside.join(&beside).is_file() {
                true => self.read_file(root, &inside, &beside, child)?,
                false => self.read_file(root, &inside.join(&name), Path::new("mod.rs"), child)?,
            }
        }
        Ok(())
    }

    /// Adds what `module` uses of other files.
    fn uses_of(&self, path: &ModulePath, module: &Module, uses: &mut Vec<Use>) {
        let imports = module.imports.values().chain(&module.globs);
        for written in imports.chain(&module.paths) {
            let target = match self.meaning(path, &written.segments, 0) {
                // `use a::b;` alone takes nothing of it; what is taken of it is written as `b::c`.
                Some(Meaning::Module(target)) if written.segments.last().is_some_and(|last| last == "*") => target,
                Some(Meaning::ItemOf(target)) => target,
                _ => continue,
            };
            let Some(to) = self.by_path.get(&target) else { continue };
            let hands_on = written.is_public && target.starts_with(path);
            // The file of a folder holds what the files inside share, and hands work out to them: to it they are parts of itself.
            let is_part = path.starts_with(&target) && !target.is_empty();
            if to.file != module.file && !hands_on && !is_part {
                let room = |path: &ModulePath| path.first().cloned().unwrap_or_default();
                uses.push(Use {
                    from: module.file.clone(),
                    line: written.line,
                    from_room: room(path),
                    to: to.file.clone(),
                    to_room: room(&target),
                    path: written.segments.join("::"),
                });
            }
        }
    }

    /// What a path means that is written in the module `here`; None for what other crates have.
    fn meaning(&self, here: &ModulePath, segments: &[String], depth: usize) -> Option<Meaning> {
        if depth > 16 {
            return None;
        }
        if let Some((room, rest)) =
            segments.split_first().and_then(|(first, rest)| Some((self.rooms_of_crates.get(first)?, rest)))
        {
            return self.inside(vec![room.clone()], rest, true, depth);
        }
        let mut at = here.clone();
        let mut rest = segments;
        let mut anchored = false;
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" => at = self.root_of(here),
                "self" => {}
                "super" => drop(at.pop()),
                _ => break,
            }
            anchored = true;
            rest = others;
        }
        self.inside(at, rest, anchored, depth)
    }

    /// The root of the crate that a module is in.
    fn root_of(&self, here: &ModulePath) -> ModulePath {
        let own = here.first().filter(|room| self.rooms_of_crates.values().any(|own| own == *room));
        own.into_iter().cloned().collect()
    }

    fn inside(&self, mut at: ModulePath, mut rest: &[String], mut anchored: bool, depth: usize) -> Option<Meaning> {
        loop {
            let module = self.by_path.get(&at)?;
            let Some((first, others)) = rest.split_first() else { return Some(Meaning::Module(at)) };
            if first == "*" || first == "self" {
                return Some(Meaning::Module(at));
            }
            if module.children.contains(first) {
                at.push(first.clone());
                if !self.by_path.contains_key(&at) {
                    return None;
                }
                (rest, anchored) = (others, true);
                continue;
            }
            if module.items.contains(first) {
                return Some(Meaning::ItemOf(at));
            }
            if let Some(import) = module.imports.get(first) {
                if import.segments.first() == Some(first) && !anchored && import.segments.len() == 1 {
                    return None;
                }
                let path: Vec<String> = import.segments.iter().chain(others).cloned().collect();
                return self.meaning(&at, &path, depth + 1);
            }
            for glob in &module.globs {
                let path: Vec<String> = glob.segments.iter().filter(|segment| *segment != "*").chain(rest).cloned().collect();
                if let Some(Meaning::Module(target)) = self.meaning(&at, &path[..path.len() - rest.len()], depth + 1)
                    && self.by_path.get(&target).is_some_and(|target| target.items.contains(first))
                {
                    return Some(Meaning::ItemOf(target));
                }
            }
            return anchored.then_some(Meaning::ItemOf(at));
        }
    }
}

/// Reads the tokens of one file.
struct Reader<'a> {
    tokens: Vec<Token>,
    next: usize,
    file: String,
    /// Modules that have files of their own.
    files: Vec<ModulePath>,
    modules: &'a mut Modules,
}

impl Reader<'_> {
    fn word(&self, ahead: usize) -> &str {
        self.tokens.get(self.next + ahead).map_or("", |token| &token.text)
    }

    /// Reads a module's body, up to the brace that ends it or the end of the file.
    fn module(&mut self, path: ModulePath) {
        let mut module = Module { file: self.file.clone(), ..Module::default() };
        let mut depth = 0_usize;
        while self.next < self.tokens.len() {
            match self.word(0) {
                "#" => self.attribute(),
                "{" => (depth, self.next) = (depth + 1, self.next + 1),
                "}" if depth == 0 => break,
                "}" => (depth, self.next) = (depth - 1, self.next + 1),
                "use" => self.import(&mut module),
                "mod" if depth == 0 => self.child(&path, &mut module),
                "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static" if depth == 0 => {
                    let name = if matches!(self.word(1), "fn" | "unsafe" | "mut" | "async") { 2 } else { 1 };
                    module.items.insert(self.word(name).to_owned());
                    self.next += 1;
                }
                "macro_rules" => {
                    module.items.insert(self.word(2).to_owned());
                    self.next += 3;
                }
                _ => self.path(&mut module),
            }
        }
        self.modules.by_path.insert(path, module);
    }

    /// Passes over an attribute, and over what it marks if that is for tests only.
    fn attribute(&mut self) {
        let from = self.next;
        self.next += 1;
        self.balanced();
        let words: Vec<&str> = self.tokens[from..self.next].iter().map(|token| token.text.as_str()).collect();
        if words.windows(3).any(|three| three == ["cfg", "(", "test"]) {
            while self.word(0) == "#" {
                self.next += 1;
                self.balanced();
            }
            while !matches!(self.word(0), ";" | "{" | "") {
                self.next += 1;
            }
            match self.word(0) {
                "{" => self.balanced(),
                _ => self.next += 1,
            }
        }
    }

    /// Passes over what brackets enclose.
    fn balanced(&mut self) {
        let mut depth = 0_usize;
        while self.next < self.tokens.len() {
            match self.word(0) {
                "[" | "{" | "(" => depth += 1,
                "]" | "}" | ")" => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.next += 1;
            if depth == 0 && matches!(self.tokens[self.next - 1].text.as_str(), "]" | "}" | ")") {
                return;
            }
        }
    }

    /// `mod x;` or `mod x { ... }`.
    fn child(&mut self, path: &ModulePath, module: &mut Module) {
        let mut child = path.clone();
        child.push(self.word(1).to_owned());
        module.children.insert(self.word(1).to_owned());
        self.next += 3;
        if self.tokens[self.next - 1].text == "{" {
            self.module(child);
            self.next += 1;
        } else {
            self.files.push(child);
        }
    }

    fn import(&mut self, module: &mut Module) {
        let is_public = self.next > 0 && matches!(self.tokens[self.next - 1].text.as_str(), "pub" | ")");
        self.next += 1;
        self.tree(&mut Vec::new(), is_public, module);
        self.next += 1;
    }

    /// A tree of `use`, with the segments before it.
    fn tree(&mut self, before: &mut Vec<String>, is_public: bool, module: &mut Module) {
        let known = before.len();
        loop {
            match self.word(0) {
                "{" => {
                    self.next += 1;
                    while self.word(0) != "}" {
                        self.tree(before, is_public, module);
                        if self.word(0) == "," {
                            self.next += 1;
                        }
                    }
                    self.next += 1;
                    break;
                }
                "::" => self.next += 1,
                _ => {
                    let line = self.tokens[self.next].line;
                    before.push(self.word(0).to_owned());
                    self.next += 1;
                    if self.word(0) != "::" {
                        let written = Written { line, segments: before.clone(), is_public };
                        self.leaf(written, module);
                        break;
                    }
                }
            }
        }
        before.truncate(known);
    }

    fn leaf(&mut self, mut written: Written, module: &mut Module) {
        let last = written.segments.last().cloned().unwrap_or_default();
        if last == "*" {
            module.globs.push(written);
            return;
        }
        if last == "self" {
            written.segments.pop();
        }
        let mut name = written.segments.last().cloned().unwrap_or_default();
        if self.word(0) == "as" {
            name = self.word(1).to_owned();
            self.next += 2;
        }
        if name == "_" {
            name = format!("_ {}", written.line);
        }
        module.imports.insert(name, written);
    }

    /// A path with `::` in it, or anything else.
    fn path(&mut self, module: &mut Module) {
        let follows = self.next > 0 && matches!(self.tokens[self.next - 1].text.as_str(), "::" | ".");
        let is_word = |text: &str| text.starts_with(|first: char| first.is_alphabetic() || first == '_');
        let line = self.tokens[self.next].line;
        let mut segments = vec![self.word(0).to_owned()];
        self.next += 1;
        if follows || !is_word(&segments[0]) {
            return;
        }
        while self.word(0) == "::" && is_word(self.word(1)) {
            segments.push(self.word(1).to_owned());
            self.next += 2;
        }
        if segments.len() > 1 {
            module.paths.push(Written { line, segments, is_public: false });
        }
    }
}
