//! Who may import whom inside this crate, kept by reading its sources.
//!
//! Bytes go one way in (wire, session, track) and one way out, so the layers below do not know each other:
//! only `net` sees them all. Paths in comments are not imports; a glob on the crate's root is one too many.

use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules of this crate that it may name. Its own is always among them.
const TABLE: [(&str, &[&str]); 7] = [
    ("model", &[]),
    ("error", &["model"]),
    ("wire", &["model", "error"]),
    ("session", &["wire", "model", "error"]),
    ("track", &["model", "error"]),
    ("plan", &["model"]),
    ("net", &["wire", "session", "track", "model", "error"]),
];

#[test]
fn modules_import_only_what_the_table_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    assert!(files.len() > TABLE.len(), "{} sources are not the crate", files.len());
    let found: Vec<String> = files.iter().flat_map(|file| violations_in(&root, file)).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_way_to_name_a_forbidden_module_is_found() {
    check("wire/data.rs", "use crate::session::Session;", &["session"]);
    check("wire/data.rs", "use crate::{\n    model::Location,\n    track::{self, Log},\n};", &["track"]);
    check("wire/mod.rs", "fn f() { super::net::run() }", &["net"]);
    check("track/log.rs", "use super::super::wire::varint;", &["wire"]);
    check("session/a/b.rs", "use super::super::super::{model, plan};", &["plan"]);
    check("model.rs", "fn f() -> crate::error::Error { fault() } // and crate::net", &["error"]);
    check("plan.rs", "use crate::*;", &["*"]);
    check("drawer.rs", "", &["drawer"]);
}

#[test]
fn what_the_table_allows_passes() {
    check("session/mod.rs", "use crate::{error::Fault, wire::message::Message};", &[]);
    check("session/mod.rs", "//! Not a [`crate::net`].\nmod tests { use super::*; }", &[]);
    check("wire/data.rs", "use super::varint;\nmod tests { use super::super::varint; }", &[]);
    check("net/driver.rs", "use crate::track::Log; use crate::session::Session;", &[]);
    check("lib.rs", "pub use crate::net::run;", &[]);
}

/// Sees whether `source` at `path` names just these forbidden modules.
fn check(path: &str, source: &str, forbidden: &[&str]) {
    assert_eq!(violations(Path::new(path), source), forbidden, "{path}: {source}");
}

fn violations_in(root: &Path, file: &Path) -> Vec<String> {
    let path = file.strip_prefix(root).expect("files are found below the root");
    let source = fs::read_to_string(file).expect("sources can be read");
    let place = path.display();
    violations(path, &source).iter().map(|module| format!("src/{place} must not name `{module}`")).collect()
}

/// What `source`, at `path` below `src`, names although the table does not allow it.
fn violations(path: &Path, source: &str) -> Vec<String> {
    let mut place: Vec<_> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into()).collect();
    if place.last().is_some_and(|name: &String| name == "mod") {
        place.pop();
    }
    if place == ["lib"] {
        return Vec::new();
    }
    let Some((own, allowed)) = TABLE.iter().find(|(module, _)| *module == place[0]) else {
        return vec![place.swap_remove(0)];
    };
    let mut named = named(source, place.len());
    named.retain(|module| module != own && !allowed.contains(&module.as_str()));
    named
}

/// The crate's modules that `source` names by a path; the source lies `depth` modules below the root.
fn named(source: &str, depth: usize) -> Vec<String> {
    let code: String =
        source.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if !code[..at].ends_with(is_word) {
            found.extend(first_names(&code[at + "crate::".len()..]));
        }
    }
    // So many steps up end at the root, or, in a module inside the file, below it: there, a name that is
    // not of the table is somebody's child.
    let steps = "super::".repeat(depth);
    for (at, _) in code.match_indices(&steps) {
        if !code[..at].ends_with(is_word) {
            let names = first_names(&code[at + steps.len()..]).into_iter();
            found.extend(names.filter(|name| TABLE.iter().any(|(module, _)| module == name)));
        }
    }
    found
}

/// The first names of what follows `crate::`: one, or those of a group in braces.
fn first_names(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![first_name(rest)];
    };
    let (mut names, mut open, mut expected) = (Vec::new(), 1, true);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open == 1 => expected = true,
            letter if letter.is_whitespace() => {}
            _ if expected => {
                names.push(first_name(&group[at..]));
                expected = false;
            }
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    names
}

fn first_name(rest: &str) -> String {
    let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
    rest[..end.max(1).min(rest.len())].to_owned()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("its entries too").path());
    paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
