//! The JSON Schema of `bastion.toml`, as another program understands it: Python's `jsonschema`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use bastion::config::{schema, user_schema};

use crate::config::{corpus, load};
use crate::programs::{absent, found, require};

/// Reads files by their paths, one a line, and prints `PATH: what is wrong` for each that the schema refuses.
const VALIDATE: &str = r#"
import json, sys, tomllib
from jsonschema import Draft7Validator
schema = json.load(open(sys.argv[1]))
Draft7Validator.check_schema(schema)
validator = Draft7Validator(schema)
for path in sys.stdin.read().splitlines():
    with open(path, encoding="utf-8-sig", newline="") as file:
        document = tomllib.loads(file.read())
    wrong = next(validator.iter_errors(document), None)
    if wrong is not None:
        print(path + ": " + wrong.message[:200])
"#;

const BASTION: &str = "bastion.schema.json";
const CONFIG: &str = "config.schema.json";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that the schema refuses, with the reason; none where nothing is there to ask.
fn refused(test: &str, schema: &str, files: &[String]) -> Option<Vec<(String, String)>> {
    if !require(test, &["python3"]) {
        return None;
    }
    let python = || Command::new(found("python3"));
    let modules = python().args(["-c", "import jsonschema, tomllib"]).stderr(Stdio::null()).status();
    if !modules.is_ok_and(|status| status.success()) {
        absent(&format!(
            "{test} needs jsonschema and tomllib for Python (apt-get install python3-jsonschema)"
        ));
        return None;
    }
    let schema = root().join("schemas").join(schema);
    let mut child = python()
        .arg("-c")
        .arg(VALIDATE)
        .arg(schema)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(files.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the validator failed");
    let lines = String::from_utf8(output.stdout).unwrap();
    let pair = |line: &str| {
        let (path, why) = line.split_once(": ").unwrap();
        (path.to_owned(), why.to_owned())
    };
    Some(lines.lines().map(pair).collect())
}

#[test]
fn the_schema_in_the_repository_is_the_one_of_this_version() {
    for (name, text) in [(BASTION, schema()), (CONFIG, user_schema())] {
        let path = root().join("schemas").join(name);
        if std::env::vars_os().any(|(name, value)| name == "UPDATE" && value == "1") {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        assert!(written == text, "{} is another one: UPDATE=1 rewrites it", path.display());
    }
}

#[test]
fn the_schema_accepts_what_is_valid() {
    let mut files: Vec<String> =
        corpus("valid").into_iter().map(|(path, _)| path.display().to_string()).collect();
    files.push(root().join("bastion.toml.example").display().to_string());
    files.push(root().join("examples/quickstart/bastion.toml").display().to_string());
    let Some(refused) = refused("the_schema_accepts_what_is_valid", BASTION, &files) else { return };
    assert_eq!(refused, []);
}

#[test]
fn the_schema_of_an_own_configuration_accepts_what_is_valid_and_nothing_else() {
    let layers = root().join("tests/config/layers");
    let path = |case: &str| layers.join(case).join("user.toml").display().to_string();
    let mut files = vec![root().join("examples/config.toml").display().to_string()];
    files.extend(["own-cloud", "own-network", "last-one-wins"].map(path));
    let test = "the_schema_of_an_own_configuration_accepts_what_is_valid_and_nothing_else";
    let Some(accepted) = refused(test, CONFIG, &files) else { return };
    assert_eq!(accepted, []);
    let wrong = ["own-clouds-with-mistakes", "own-network-with-mistakes", "user-holds-too-much"].map(path);
    assert_eq!(refused(test, CONFIG, &wrong).unwrap().len(), wrong.len());
}

#[test]
fn the_schema_refuses_unknown_keys_and_wrong_types() {
    let mistakes = ["unknown-key", "wrong-type", "user-config-only", "env-name"];
    let mut files = Vec::new();
    for (path, text) in corpus("invalid") {
        let codes: BTreeSet<&str> = load(&text).1.iter().map(|diagnostic| diagnostic.code).collect();
        if !codes.contains("syntax") && mistakes.iter().any(|mistake| codes.contains(mistake)) {
            files.push(path.display().to_string());
        }
    }
    assert!(files.len() > 10, "{files:?}");
    let Some(refused) = refused("the_schema_refuses_unknown_keys_and_wrong_types", BASTION, &files) else {
        return;
    };
    let refused: BTreeSet<&String> = refused.iter().map(|(path, _)| path).collect();
    let accepted: Vec<&String> = files.iter().filter(|path| !refused.contains(path)).collect();
    assert!(accepted.is_empty(), "{accepted:?}");
}
