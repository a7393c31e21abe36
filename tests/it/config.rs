//! The corpus of workspace files, and properties of loading any text.
//!
//! Each file in `tests/config/valid` loads; each in `tests/config/invalid` prints exactly the `.stderr` beside
//! it. `UPDATE=1` rewrites those.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too, which clippy cannot see")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bastion::config::{
    CODES, Diagnostic, Layer, LayerKind, Loaded, MAX_BYTES, MAX_DIAGNOSTICS, MAX_TUNNELS, Source, Variables,
};
use bastion::model::{AzCurrent, Desired};
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) fn corpus(kind: &str) -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(kind);
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn layers(text: &str) -> [Layer<'_>; 1] {
    [Layer { kind: LayerKind::Workspace, path: "bastion.toml", text }]
}

static NO_VARIABLES: LazyLock<Variables> = LazyLock::new(Variables::default);

fn source<'a>(layers: &'a [Layer<'a>]) -> Source<'a> {
    Source {
        layers,
        default_name: "orders",
        worktree: 0,
        variables: &NO_VARIABLES,
        az: &AzCurrent::SignedOut,
    }
}

/// Loads a workspace of one file.
pub(crate) fn load(text: &str) -> (Option<Desired>, Vec<Diagnostic>) {
    let Loaded { desired, diagnostics, .. } = bastion::config::load(&source(&layers(text)));
    (desired, diagnostics)
}

fn rendered(text: &str, found: &[Diagnostic]) -> String {
    let layers = layers(text);
    let source = source(&layers);
    found.iter().map(|diagnostic| diagnostic.render(&source, false)).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_valid_file_loads() {
    let files = corpus("valid");
    assert!(!files.is_empty());
    for (path, text) in files {
        let (desired, found) = load(&text);
        assert!(desired.is_some(), "{}:\n{}", path.display(), rendered(&text, &found));
    }
}

#[test]
fn every_invalid_file_says_what_its_stderr_says() {
    let files = corpus("invalid");
    assert!(files.len() >= 30, "{} invalid files", files.len());
    let mut wrong = Vec::new();
    for (path, text) in files {
        let (desired, found) = load(&text);
        assert!(desired.is_none() && !found.is_empty(), "{} is valid", path.display());
        let actual = rendered(&text, &found);
        let beside = path.with_extension("stderr");
        if std::env::vars_os().any(|(name, value)| name == "UPDATE" && value == "1") {
            fs::write(&beside, &actual).unwrap();
        } else if fs::read_to_string(&beside).unwrap_or_default().replace("\r\n", "\n") != actual {
            wrong.push(format!("{} should hold:\n{actual}", beside.display()));
        }
    }
    assert!(wrong.is_empty(), "UPDATE=1 rewrites\n{}", wrong.join("\n"));
}

/// What is too large for the corpus, with the code it is refused with.
fn large() -> [(String, &'static str); 3] {
    let tunnels: String = (0..=MAX_TUNNELS).map(|n| format!("t{n} = \"0 -> web:80\"\n")).collect();
    let mistakes: String = (0..=MAX_DIAGNOSTICS).map(|n| format!("x{n} = 1\n")).collect();
    [
        ("#".repeat(MAX_BYTES + 1), "too-large"),
        (format!("[tunnels]\n{tunnels}"), "too-large"),
        (mistakes, "too-many-mistakes"),
    ]
}

#[test]
fn what_is_too_large_is_refused_not_eaten() {
    for (text, code) in large() {
        let (desired, found) = load(&text);
        assert!(desired.is_none());
        assert!(found.iter().any(|diagnostic| diagnostic.code == code), "{code}");
        assert!(found.len() <= MAX_DIAGNOSTICS + 1);
    }
}

#[test]
fn every_code_occurs_and_every_occurring_code_is_listed() {
    let texts = corpus("invalid").into_iter().map(|(_, text)| text);
    let texts = texts.chain(large().into_iter().map(|(text, _)| text));
    let mut seen: BTreeSet<&str> =
        texts.flat_map(|text| load(&text).1).map(|diagnostic| diagnostic.code).collect();
    seen.extend(crate::layered::codes());
    let listed: BTreeSet<&str> = CODES.iter().map(|(code, _)| *code).collect();
    assert_eq!(listed.len(), CODES.len(), "a code is listed twice");
    assert_eq!(seen, listed);
}

#[test]
fn one_run_shows_mistakes_of_ten_kinds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/invalid/ten-mistakes.toml");
    let (_, found) = load(&fs::read_to_string(path).unwrap());
    let kinds: BTreeSet<&str> = found.iter().map(|diagnostic| diagnostic.code).collect();
    assert!(kinds.len() >= 10, "{kinds:?}");
}

#[test]
fn the_example_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bastion.toml.example");
    let text = fs::read_to_string(path).unwrap();
    let (desired, found) = load(&text);
    assert!(desired.is_some(), "{}", rendered(&text, &found));
}

#[test]
fn no_terminal_escape_reaches_the_reader() {
    let nasty = "\u{1b}[31m\u{9b}31m\u{7}\u{202e}\u{200f}";
    let texts = [
        format!("name = \"{nasty}\""),
        format!("{nasty} = 1"),
        format!("\"\\u001b[31m\\u009b\" = 1 # {nasty}"),
        "[targets]\n\"\\u001b]0;x\\u0007\" = { vm = \"\\u001b[2J\" }".to_owned(),
        format!("# {nasty}\nname = 5 # {nasty}"),
        "[azure]\ncloud = \"\\u001bemulator\\u202e\"".to_owned(),
        format!("[azure]\ncloud = '''\n{nasty}\r{nasty}\r\n'''"),
    ];
    for text in texts {
        let path = format!("{nasty}.toml");
        let layers = [Layer { kind: LayerKind::Workspace, path: &path, text: &text }];
        let source = Source {
            layers: &layers,
            default_name: nasty,
            worktree: 0,
            variables: &NO_VARIABLES,
            az: &AzCurrent::SignedOut,
        };
        let found = bastion::config::load(&source).diagnostics;
        let words: String = found.iter().map(|diagnostic| diagnostic.render(&source, false)).collect();
        let odd = words.chars().find(|c| {
            (c.is_control() && *c != '\n')
                || ('\u{200b}'..='\u{200f}').contains(c)
                || ('\u{202a}'..='\u{202e}').contains(c)
        });
        assert_eq!(odd, None, "{words}");
        // With colour there are escapes, but only those of the renderer.
        for diagnostic in &found {
            let styled = diagnostic.render(&source, true);
            assert!(!styled.contains("\u{1b}[2J") && !styled.contains("\u{1b}]0"), "{styled:?}");
            assert!(!styled.contains('\u{9b}') && !styled.contains('\u{7}'), "{styled:?}");
        }
    }
}

fn check_ranges(text: &str) {
    let layers = layers(text);
    let source = source(&layers);
    let (desired, found) = load(text);
    assert_eq!(desired.is_none(), !found.is_empty());
    let mut last = 0;
    for diagnostic in &found {
        let labels = diagnostic.labels.iter().map(|label| &label.range);
        let edits = diagnostic.help.iter().filter_map(|help| help.edit.as_ref()).map(|edit| &edit.range);
        for range in labels.chain(edits) {
            assert!(text.get(range.clone()).is_some(), "{}: {range:?} in {text:?}", diagnostic.code);
        }
        let start = diagnostic.labels.first().map_or(usize::MAX, |label| label.range.start);
        assert!(last <= start, "not in file order: {text:?}");
        last = start;
        assert!(diagnostic.render(&source, false).contains(diagnostic.code));
    }
}

/// Text that is nearly a workspace's file: words of the format, in any order.
fn nearly() -> impl Strategy<Value = String> {
    let words = [
        "[azure]",
        "[targets]",
        "[tunnels]",
        "[bastions.hub]",
        "[emulator]",
        "[[emulator.faults]]",
        "[emulator.targets]",
        "[tunnels.x]",
        "cloud",
        "\"emulator\"",
        "=",
        "=",
        "=",
        "\n",
        "\n",
        "\n",
        "web",
        "{ vm = \"vm\" }",
        "\"8080 -> web:80\"",
        "\"8080 -> a -> b:1\"",
        "\"\\u0038080->wéb:0\"",
        "'''",
        "\"",
        "listen",
        "port",
        "5432",
        "-1",
        "ö",
        "\u{1b}",
        "\t",
        "target",
        "do",
        "\"delay:5\"",
        "phase",
        "\"stream\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ".",
        "\r\n",
        "\"${X}\"",
        "\"'\"",
        "connect_timeout",
        "\"20\"",
        "after",
        "\"1 KB\"",
        "1.5",
        "true",
        "\u{feff}",
        "1979-05-27",
    ];
    prop::collection::vec(select(words.to_vec()), 0..60).prop_map(|words| words.join(" "))
}

/// A valid file with a piece replaced.
fn mutated() -> impl Strategy<Value = String> {
    let texts: Vec<String> = corpus("valid").into_iter().map(|(_, text)| text).collect();
    (select(texts), any::<prop::sample::Index>(), 0..20usize, ".{0,6}").prop_map(|(text, at, len, new)| {
        let mut letters: Vec<char> = text.chars().collect();
        let start = at.index(letters.len());
        let end = (start + len).min(letters.len());
        letters.splice(start..end, new.chars());
        letters.into_iter().collect()
    })
}

/// The tables of a valid file, which may stand in any order.
const BLOCKS: [&str; 7] = [
    "[azure]\ncloud = \"emulator\"\nresource_group = \"rg\"\n",
    "[defaults]\nkeepalive = \"10s\"\nlisten_host = \"127.0.0.1\"\n",
    "[bastions.hub]\nmax_setups = 4\n",
    "[targets]\nweb = { vm = \"vm-web\", bastion = \"hub\" }\ndb = { ip = \"10.0.0.4\", bastion = \"spoke\" }\n",
    "[bastions.spoke]\nname = \"bas\"\n",
    "[tunnels]\nweb = \"8080 -> web:80\"\ndb = \"[::1]:8080 -> db:5432\"\n",
    "[emulator]\nsetup_delay = \"1s\"\n[emulator.targets]\nweb = \"builtin:echo\"\n",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_text_is_diagnosed_inside_itself(text in any::<String>()) {
        check_ranges(&text);
    }

    #[test]
    fn nearly_right_text_is_diagnosed_inside_itself(text in nearly()) {
        check_ranges(&text);
    }

    #[test]
    fn damaged_files_are_diagnosed_inside_themselves(text in mutated()) {
        check_ranges(&text);
    }

    #[test]
    fn comments_and_order_of_tables_change_nothing(
        order in Just(BLOCKS.to_vec()).prop_shuffle(),
        comment in "[a-z \u{e9}\"=\\[]{0,20}",
        blank in "[ \t\n]{0,3}",
    ) {
        let plain = format!("name = \"orders\"\n{}", BLOCKS.concat());
        let comment = format!("# {comment}\n");
        let blocks: String = order.iter().map(|b| b.replace('\n', &format!(" {comment}"))).collect::<Vec<_>>().join(&blank);
        let text = format!("{comment}name = \"orders\" {comment}{blocks}");
        let (expected, found) = load(&plain);
        prop_assert!(found.is_empty(), "{}", rendered(&plain, &found));
        let (actual, found) = load(&text);
        prop_assert!(found.is_empty(), "{}", rendered(&text, &found));
        prop_assert_eq!(actual, expected);
    }
}
