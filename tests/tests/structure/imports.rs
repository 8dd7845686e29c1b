//! Which file of a crate imports which, read from the sources.
//!
//! A path counts wherever it stands: in a `use`, or in the code, also when it begins with a module that a
//! `use` named. It leads to the file of the last module on it, and from there, through re-exports, to the
//! file that defines the name. Unit tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use funk_tests::pages::{files, has_extension, read};

/// A module by its path from the root of its crate, which is empty itself.
pub(crate) type Module = Vec<String>;

/// What each file imports, and the path by which.
pub(crate) type Imports = BTreeMap<Module, BTreeMap<Module, String>>;

/// A path in a file.
#[derive(Debug)]
struct Mention {
    /// The module it stands in.
    scope: Module,
    path: Vec<String>,
    /// The name it has from here on, if a `use` gives it one.
    name: Option<String>,
}

/// One file, read.
#[derive(Debug, Default)]
struct Source {
    mentions: Vec<Mention>,
    /// Children that exist for tests only.
    test_modules: BTreeSet<String>,
}

/// The imports of all files below a crate's `src`, those of its programs left out.
pub(crate) fn of_crate(source: &Path) -> Imports {
    let mut found = Vec::new();
    files(source, &|path| has_extension(path, &["rs"]), &mut found);
    let relative = |path: &Path| path.strip_prefix(source).expect("it is below").with_extension("");
    let texts = found.iter().filter_map(|path| {
        let parts: Vec<String> = relative(path).iter().map(|part| part.to_string_lossy().into_owned()).collect();
        (parts[0] != "bin").then(|| (module(&parts), read(path)))
    });
    // A program beside the library is another crate.
    let (mains, mut texts): (Vec<_>, Vec<_>) = texts.partition(|(module, _)| module == &["main"]);
    if texts.iter().all(|(module, _)| !module.is_empty()) {
        texts.extend(mains.into_iter().map(|(_, text)| (Module::new(), text)));
    }
    of_texts(&texts)
}

fn module(parts: &[String]) -> Module {
    if parts == ["lib"] { Module::new() } else { parts.to_vec() }
}

/// The imports of these modules.
pub(crate) fn of_texts(texts: &[(Module, String)]) -> Imports {
    let mut sources: BTreeMap<Module, Source> = BTreeMap::new();
    for (module, text) in texts {
        sources.insert(module.clone(), read_source(module, &tokens(text)));
    }
    let tests: Vec<Module> = sources
        .iter()
        .flat_map(|(module, source)| source.test_modules.iter().map(|child| joined(module, child)))
        .collect();
    sources.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
    let resolver = Resolver::new(&sources);
    let mut imports = Imports::new();
    for (module, source) in &sources {
        let mine = imports.entry(module.clone()).or_default();
        for mention in &source.mentions {
            for to in resolver.files_of(module, mention) {
                if to != *module {
                    mine.entry(to).or_insert_with(|| mention.path.join("::"));
                }
            }
        }
    }
    imports
}

/// Groups of files that import each other, directly or through others. A file and those in its folder are
/// one room: what they take from each other is no circle.
pub(crate) fn circles(imports: &Imports) -> Vec<BTreeSet<Module>> {
    let apart = |from: &Module, to: &Module| !to.starts_with(from) && !from.starts_with(to);
    let next: BTreeMap<&Module, Vec<&Module>> =
        imports.iter().map(|(from, to)| (from, to.keys().filter(|to| apart(from, to)).collect())).collect();
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = next
        .iter()
        .map(|(from, to)| {
            let (mut seen, mut ahead) = (BTreeSet::new(), to.clone());
            while let Some(module) = ahead.pop() {
                if seen.insert(module) {
                    ahead.extend(next.get(module).into_iter().flatten());
                }
            }
            (*from, seen)
        })
        .collect();
    let closed = reached.iter().filter(|(from, seen)| seen.contains(*from));
    let found: BTreeSet<BTreeSet<Module>> = closed
        .map(|(from, seen)| {
            let back = |to: &&&Module| reached.get(**to).is_some_and(|seen| seen.contains(from));
            seen.iter().filter(back).map(|module| (*module).clone()).collect()
        })
        .collect();
    found.into_iter().collect()
}

/// A module as a path: `shards/plan`; the root is `lib`.
pub(crate) fn shown(module: &Module) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("/") }
}

fn joined(module: &Module, child: &str) -> Module {
    module.iter().cloned().chain([child.to_owned()]).collect()
}

/// Finds out where paths lead.
struct Resolver<'a> {
    sources: &'a BTreeMap<Module, Source>,
    /// What a file's `use`s call things: the module that has each, and its name there. No name: it is the module.
    named: BTreeMap<Module, BTreeMap<String, (Module, Option<String>)>>,
}

impl<'a> Resolver<'a> {
    fn new(sources: &'a BTreeMap<Module, Source>) -> Self {
        let mut resolver = Self { sources, named: BTreeMap::new() };
        for (module, source) in sources {
            let uses = source.mentions.iter().filter_map(|mention| {
                let (to, rest) = resolver.walk(module, mention)?;
                Some((mention.name.clone()?, (to, rest.first().cloned())))
            });
            let uses = uses.collect();
            resolver.named.insert(module.clone(), uses);
        }
        resolver
    }

    /// The files that a path leads to: that of its last module, then whence that one re-exports the name.
    fn files_of(&self, module: &Module, mention: &Mention) -> Vec<Module> {
        let mut found = Vec::new();
        let Some((mut to, mut rest)) = self.walk(module, mention) else { return found };
        found.push(to.clone());
        while let Some(name) = rest.first().cloned() {
            let Some((there, inner)) = self.named.get(&to).and_then(|named| named.get(&name)) else { break };
            if found.contains(there) {
                break;
            }
            found.push(there.clone());
            rest.remove(0);
            rest.splice(0..0, inner.clone());
            // What was named may be a module of which the path goes on.
            to = there.clone();
            while rest.len() > 1 && self.sources.contains_key(&joined(&to, &rest[0])) {
                to = joined(&to, &rest.remove(0));
                found.push(to.clone());
            }
        }
        found
    }

    /// The last module on a path, and what of the path is left then. `None` for what is not of this crate.
    fn walk(&self, module: &Module, mention: &Mention) -> Option<(Module, Vec<String>)> {
        let mut rest = mention.path.clone();
        let first = rest.first()?.clone();
        let mut to = mention.scope.clone();
        match first.as_str() {
            "crate" => to = Module::new(),
            "self" | "super" => {}
            child if self.sources.contains_key(&joined(&to, child)) => rest.insert(0, "self".to_owned()),
            name => {
                let (there, inner) = self.named.get(module).and_then(|named| named.get(name))?;
                if mention.name.is_some() {
                    return None;
                }
                rest.splice(0..1, ["self".to_owned()].into_iter().chain(inner.clone()));
                to = there.clone();
            }
        }
        while rest.first().is_some_and(|word| word == "super") {
            to.pop();
            rest.remove(0);
        }
        if rest.first().is_some_and(|word| word == "crate" || word == "self") {
            rest.remove(0);
        }
        while !rest.is_empty() && self.sources.contains_key(&joined(&to, &rest[0])) {
            to = joined(&to, &rest.remove(0));
        }
        // A module inside a file is that file.
        while !self.sources.contains_key(&to) {
            to.pop()?;
        }
        Some((to, rest))
    }
}

/// Words, `::`, and all other signs one by one. No comments, no strings, no characters.
fn tokens(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(n, c)| letters.get(at + n) == Some(&c));
    while at < letters.len() {
        let letter = letters[at];
        if starts(at, "//") {
            at += letters[at..].iter().position(|&letter| letter == '\n').unwrap_or(letters.len() - at);
        } else if starts(at, "/*") {
            at += 2;
            while at < letters.len() && !starts(at, "*/") {
                at += 1;
            }
            at += 2;
        } else if letter == '"' {
            at = after_string(&letters, at);
        } else if letter == '\'' {
            at = after_quote(&letters, at);
        } else if is_word(letter) {
            let word: String = letters[at..].iter().take_while(|&&letter| is_word(letter)).collect();
            at += word.chars().count();
            if ["r", "br"].contains(&word.as_str()) && matches!(letters.get(at), Some('"' | '#')) {
                at = after_raw_string(&letters, at);
            } else {
                found.push(word);
            }
        } else if starts(at, "::") {
            found.push("::".to_owned());
            at += 2;
        } else {
            if !letter.is_whitespace() {
                found.push(letter.to_string());
            }
            at += 1;
        }
    }
    found
}

fn after_string(letters: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < letters.len() && letters[at] != '"' {
        at += if letters[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// After a character, or after the sign alone where a lifetime begins.
fn after_quote(letters: &[char], quote: usize) -> usize {
    match (letters.get(quote + 1), letters.get(quote + 2)) {
        (Some('\\'), _) => {
            let end = letters[quote + 3..].iter().position(|&letter| letter == '\'');
            quote + 4 + end.unwrap_or(0)
        }
        (Some(_), Some('\'')) => quote + 3,
        _ => quote + 1,
    }
}

/// After a raw string, whose signs begin here; after a sign that begins none.
fn after_raw_string(letters: &[char], from: usize) -> usize {
    let signs = letters[from..].iter().take_while(|&&letter| letter == '#').count();
    if letters.get(from + signs) != Some(&'"') {
        return from + signs;
    }
    let mut at = from + signs + 1;
    let ends = |at: usize| letters[at] == '"' && (1..=signs).all(|n| letters.get(at + n) == Some(&'#'));
    while at < letters.len() && !ends(at) {
        at += 1;
    }
    at + signs + 1
}

fn read_source(module: &Module, tokens: &[String]) -> Source {
    let mut source = Source::default();
    let word = |at: usize| tokens.get(at).map_or("", String::as_str);
    // Modules inside the file, each with the depth of braces in which it stands.
    let (mut inside, mut depth, mut at): (Vec<(String, usize)>, usize, usize) = (Vec::new(), 0, 0);
    while at < tokens.len() {
        let scope: Module = module.iter().cloned().chain(inside.iter().map(|(name, _)| name.clone())).collect();
        match word(at) {
            "#" if tokens[at..].iter().take(7).map(String::as_str).eq(["#", "[", "cfg", "(", "test", ")", "]"]) => {
                let end = after_item(tokens, at);
                if let Some(name) = test_module(&tokens[at..end]) {
                    source.test_modules.insert(name);
                }
                at = end;
                continue;
            }
            "mod" if word(at + 2) == "{" => inside.push((word(at + 1).to_owned(), depth)),
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inside.retain(|(_, outer)| *outer < depth);
            }
            // Not what a type captures.
            "use" if word(at + 1) != "<" => {
                let end = at + tokens[at..].iter().position(|token| token == ";").unwrap_or(tokens.len() - at);
                for (path, name) in use_tree(&tokens[at + 1..end], &[]) {
                    source.mentions.push(Mention { scope: scope.clone(), path, name: Some(name) });
                }
                at = end;
                continue;
            }
            first if word(at + 1) == "::" && (at == 0 || word(at - 1) != "::") && is_name(first) => {
                let mut path = vec![first.to_owned()];
                while word(at + 1) == "::" && is_name(word(at + 2)) {
                    path.push(word(at + 2).to_owned());
                    at += 2;
                }
                source.mentions.push(Mention { scope, path, name: None });
            }
            _ => {}
        }
        at += 1;
    }
    source
}

fn is_name(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

/// Where the item ends whose attributes begin here: at its semicolon or its last brace.
fn after_item(tokens: &[String], from: usize) -> usize {
    let (mut depth, mut braces) = (0_usize, 0_usize);
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.as_str() {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "{" => braces += 1,
            "}" => braces -= 1,
            _ => {}
        }
        if depth == 0 && braces == 0 && (token == ";" || token == "}") {
            return at + 1;
        }
    }
    tokens.len()
}

/// The name of the module that this item declares, if it is one with a file of its own.
fn test_module(item: &[String]) -> Option<String> {
    let at = item.iter().position(|token| token == "mod")?;
    (item.get(at + 2)? == ";").then(|| item[at + 1].clone())
}

/// The paths of a `use`, each with the name it has from here on.
fn use_tree(tree: &[String], before: &[String]) -> Vec<(Vec<String>, String)> {
    let Some(open) = tree.iter().position(|token| token == "{") else {
        let words: Vec<String> = tree.iter().filter(|token| *token != "::").cloned().collect();
        let (words, renamed) = match words.iter().position(|word| word == "as") {
            Some(at) => (words[..at].to_vec(), words.get(at + 1).cloned()),
            None => (words, None),
        };
        let mut path = [before, &words[..]].concat();
        // `a::{self}` is `a`.
        if path.len() > 1 && path.last().is_some_and(|word| word == "self") {
            path.pop();
        }
        let name = renamed.or_else(|| path.last().cloned());
        return name.map(|name| (path, name)).into_iter().collect();
    };
    let base: Vec<String> = tree[..open].iter().filter(|token| *token != "::").cloned().collect();
    let base = [before, &base[..]].concat();
    let (mut found, mut depth, mut from) = (Vec::new(), 0_usize, open + 1);
    for at in open..tree.len() {
        match tree[at].as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        let ends = depth == 1 && tree[at] == "," || depth == 0;
        if ends {
            if from < at {
                found.extend(use_tree(&tree[from..at], &base));
            }
            from = at + 1;
        }
    }
    found
}
