//! The house's laws, as tests: which room may name which, what a pure room may not touch, where tasks are
//! spawned, what the papers must hold. A failing law prints every place, then the rule and its reason.
//!
//! Laws are functions from text to a list of breaches, so that each is also shown to fire on a small sample.

#[path = "tidy/codes.rs"]
mod codes;
#[path = "tidy/laws.rs"]
mod laws;
#[path = "tidy/papers.rs"]
mod papers;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/rust.rs"]
mod rust;
#[path = "tidy/tree.rs"]
mod tree;

use tree::{Breach, Law, Tree};

/// Reads the repository and holds one law against it.
#[track_caller]
fn hold(law: &Law, check: impl FnOnce(&Tree) -> Vec<Breach>) {
    let tree = Tree::read().unwrap_or_else(|error| Tree::unreadable(&error));
    assert!(
        tree.file("src/lib.rs").is_some(),
        "no src/lib.rs below {}: nothing was checked",
        tree.root.display()
    );
    let breaches = check(&tree);
    assert!(breaches.is_empty(), "{}", law.report(&breaches));
}

#[test]
fn promises_have_their_proofs() {
    hold(&papers::PROOFS, |tree| {
        let defined = |test: &str| tree.rust().any(|file| file.text.contains(&format!("fn {test}(")));
        papers::proofs("docs/conformance.md", tree.text("docs/conformance.md"), defined)
    });
}

#[test]
fn rooms_name_only_what_the_table_allows() {
    hold(&rooms::LAW, |tree| {
        tree.sources().flat_map(|f| rooms::edges_outside_table(&f.path, &f.text)).collect()
    });
}

#[test]
fn every_room_is_known() {
    hold(&rooms::KNOWN, |tree| tree.sources().flat_map(|f| rooms::unknown(&f.path)).collect());
}

#[test]
fn rooms_have_no_cycles() {
    hold(&rooms::CYCLES, |tree| rooms::cycles(tree.sources().map(|f| (f.path.as_str(), f.text.as_str()))));
}

#[test]
fn pure_rooms_are_pure() {
    hold(&laws::PURE, |tree| tree.sources().flat_map(|f| laws::impure(&f.path, &f.text)).collect());
}

#[test]
fn wire_types_live_at_the_edges() {
    hold(&laws::SERDE, |tree| tree.sources().flat_map(|f| laws::serde(&f.path, &f.text)).collect());
}

#[test]
fn tasks_are_spawned_where_they_are_owned() {
    hold(&laws::SPAWN, |tree| tree.sources().flat_map(|f| laws::spawn(&f.path, &f.text)).collect());
}

#[test]
fn platform_code_is_in_sys() {
    hold(&laws::PLATFORM, |tree| tree.sources().flat_map(|f| laws::platform(&f.path, &f.text)).collect());
}

#[test]
fn files_say_what_they_promise() {
    hold(&laws::DOCS, |tree| tree.sources().flat_map(|f| laws::undocumented(&f.path, &f.text)).collect());
}

#[test]
fn files_are_short() {
    hold(&laws::LENGTH, |tree| tree.sources().flat_map(|f| laws::too_long(&f.path, &f.text)).collect());
}

#[test]
fn nothing_is_left_unfinished() {
    hold(&laws::UNFINISHED, |tree| tree.rust().flat_map(|f| laws::unfinished(&f.path, &f.text)).collect());
}

#[test]
fn nothing_names_a_machine() {
    hold(&papers::MACHINE, |tree| {
        tree.files.iter().flat_map(|f| papers::machine_paths(&f.path, &f.text)).collect()
    });
}

#[test]
fn dependencies_have_reasons() {
    hold(&papers::REASONS, |tree| {
        tree.file("Cargo.toml").map_or_else(Vec::new, |f| papers::reasons(&f.path, &f.text))
    });
}

#[test]
fn readme_and_ci_type_the_same_commands() {
    hold(&papers::COMMANDS, |tree| papers::commands(tree.text("README.md"), tree.text(".ci/run")));
}

#[test]
fn readme_shows_the_file_that_it_runs() {
    hold(&papers::SHOWN, |tree| {
        papers::shown(tree.text("README.md"), tree.text("examples/quickstart/bastion.toml"))
    });
}

#[test]
fn changelog_is_kept() {
    hold(&papers::CHANGELOG, |tree| papers::changelog(tree.text("CHANGELOG.md")));
}

#[test]
fn links_lead_somewhere() {
    hold(&papers::LINKS, |tree| {
        let papers = tree.files.iter().filter(|f| f.path.ends_with(".md"));
        papers.flat_map(|f| papers::links(&f.path, &f.text, |path| tree.exists(path))).collect()
    });
}

#[test]
fn codes_are_explained() {
    hold(&codes::LAW, |tree| tree.sources().flat_map(|f| codes::unexplained(&f.path, &f.text)).collect());
}

#[test]
fn architecture_draws_the_table() {
    hold(&rooms::DRAWN, |tree| rooms::drawn(tree.text("ARCHITECTURE.md")));
}
