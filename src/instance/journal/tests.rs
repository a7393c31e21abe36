//! Journals between processes: what is written stays, what is deleted goes, and nobody touches another's.

use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::book::seconds;
use super::*;
use crate::instance::Surroundings;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn room() -> (TempDir, Places) {
    let root = tempfile::tempdir().unwrap();
    let state = Some(root.path().join("state"));
    let places = Places::new(&Surroundings { runtime: None, state, temporary: root.path().join("tmp") });
    (root, places)
}

fn identity() -> Identity {
    Identity { directory: "/w".into(), file: "bastion.toml".into(), environment: None }
}

fn open(places: &Places) -> Journal {
    Journal::open(places, Whose::Instance(&identity()), now).unwrap()
}

fn left(number: usize) -> Left {
    Left {
        cloud: "public".to_owned(),
        host: format!("bst-{number}.example.com"),
        node_id: Some("10.0.1.4".to_owned()),
        auth_token: format!("token-{number}").into(),
    }
}

fn hosts(left: &[(u64, Arc<Left>)]) -> Vec<&str> {
    left.iter().map(|(_, left)| &*left.host).collect()
}

fn own(places: &Places) -> PathBuf {
    places.journals().join(format!("{}.0.journal", identity().key()))
}

/// What one leaves whose process is killed: its file, as it is at that moment.
fn kill(places: &Places, journal: Journal) {
    let text = std::fs::read(own(places)).unwrap();
    // Its writer ends with this process only; from here on it writes elsewhere.
    std::fs::rename(own(places), places.journals().join("elsewhere")).unwrap();
    drop(journal);
    write(&own(places), &text);
}

fn write(path: &Path, text: &[u8]) {
    use std::io::Write as _;
    let mut file = crate::sys::files::create_private(path).unwrap();
    file.write_all(text).unwrap();
}

fn line(number: usize, at: u64) -> Vec<u8> {
    crate::instance::record::granted_line(number as u64, at, &left(number))
}

#[tokio::test]
async fn what_was_open_when_a_process_was_killed_is_known_to_the_next() {
    let (_root, places) = room();
    let journal = open(&places);
    for number in 0..3 {
        assert_eq!(journal.granted(left(number)).await, number as u64);
    }
    journal.gone(1);
    let last = journal.granted(left(3)).await;
    kill(&places, journal);

    let next = open(&places);
    let inherited = next.inherited();
    assert_eq!(hosts(&inherited), ["bst-0.example.com", "bst-2.example.com", "bst-3.example.com"]);
    // Its own have other numbers, and are not taken for inherited ones.
    inherited.iter().for_each(|(id, _)| next.gone(*id));
    assert!(next.granted(left(7)).await > last);
    assert_eq!(next.inherited().len(), 0);
    kill(&places, next);
    assert_eq!(hosts(&open(&places).inherited()), ["bst-7.example.com"]);
}

#[tokio::test]
async fn one_that_says_nothing_any_more_is_removed() {
    let (_root, places) = room();
    let journal = open(&places);
    let id = journal.granted(left(0)).await;
    assert!(own(&places).exists());
    journal.gone(id);
    journal.close().await;
    assert!(!own(&places).exists());

    let journal = open(&places);
    journal.granted(left(1)).await;
    journal.close().await;
    assert_eq!(hosts(&open(&places).inherited()), ["bst-1.example.com"], "what was not deleted stays");
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_user_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_root, places) = room();
    let journal = open(&places);
    journal.granted(left(0)).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&own(&places)), mode(&places.journals())), (0o600, 0o700));
    // Also when it was written anew.
    for _ in 0..2_000 {
        journal.gone(journal.granted(left(1)).await);
    }
    assert_eq!(mode(&own(&places)), 0o600);
}

#[tokio::test]
async fn one_that_is_held_is_not_touched_and_the_next_one_is_taken() {
    let (_root, places) = room();
    let first = open(&places);
    first.granted(left(0)).await;
    let second = open(&places);
    assert_eq!(second.inherited().len(), 0);
    second.granted(left(1)).await;
    let found = abandoned(&places, now()).unwrap();
    assert!(found.iter().all(|found| matches!(found, Found::Held(_))) && found.len() == 2, "{found:?}");
    second.close().await;
    first.gone(0);
    first.close().await;
    // It takes over what stands in the other one, which goes.
    let third = open(&places);
    assert_eq!(hosts(&third.inherited()), ["bst-1.example.com"]);
    assert_eq!(files(&places.journals()).unwrap(), [own(&places)]);
}

#[tokio::test]
async fn tunnels_without_a_workspace_have_one_each() {
    let (_root, places) = room();
    let open = || Journal::open(&places, Whose::Tunnel, now).unwrap();
    let (one, two) = (open(), open());
    one.granted(left(1)).await;
    two.granted(left(2)).await;
    two.close().await;
    assert_eq!(hosts(&open().inherited()), ["bst-2.example.com"]);
    // Another key is another's business.
    assert_eq!(self::open(&places).inherited().len(), 0);
}

#[tokio::test]
async fn garbage_a_torn_end_and_old_lines_are_survived() {
    let (_root, places) = room();
    drop(open(&places));
    let at = seconds(now());
    let mut text = line(1, at);
    text.extend(line(2, at - 25 * 3600));
    text.extend(line(3, at + 25 * 3600));
    text.extend(line(4, u64::MAX));
    text.extend(b"\xff\xfe\x00garbage\n{\"id\":1}\n[]\n\n");
    text.extend(line(5, at - 23 * 3600));
    let torn = line(6, at);
    text.extend(&torn[..torn.len() - 20]);
    while own(&places).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    write(&own(&places), &text);
    let journal = open(&places);
    assert_eq!(hosts(&journal.inherited()), ["bst-1.example.com", "bst-5.example.com"]);
    assert!(journal.problems().iter().any(|problem| problem.contains("4 lines could not be read")));
    // What is added stands on a line of its own.
    journal.granted(left(9)).await;
    kill(&places, journal);
    assert_eq!(open(&places).inherited().len(), 3);
}

#[tokio::test]
async fn a_huge_file_is_not_read_whole_and_becomes_small() {
    let (_root, places) = room();
    places.prepare_journals().unwrap();
    let mut text = line(1, seconds(now()));
    text.resize(40 << 20, b'x');
    write(&own(&places), &text);
    let journal = open(&places);
    assert_eq!(hosts(&journal.inherited()), ["bst-1.example.com"]);
    assert!(std::fs::metadata(own(&places)).unwrap().len() < 1_000);
}

#[tokio::test]
async fn what_another_release_wrote_is_left_to_it() {
    let (_root, places) = room();
    places.prepare_journals().unwrap();
    let text = b"{\"version\":2,\"what\":\"ever\"}\n{\"id\":1}\n";
    write(&own(&places), text);
    let journal = open(&places);
    journal.granted(left(0)).await;
    assert!(journal.problems()[0].contains("edition 2"), "{:?}", journal.problems());
    assert_eq!(std::fs::read(own(&places)).unwrap(), text);
    let found = abandoned(&places, now()).unwrap();
    assert!(matches!(&found[..], [Found::Refused(..), Found::Held(_)]), "{found:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_and_a_file_that_others_can_open_are_not_believed() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let (root, places) = room();
    places.prepare_journals().unwrap();
    let elsewhere = root.path().join("elsewhere");
    write(&elsewhere, &line(1, seconds(now())));
    symlink(&elsewhere, own(&places)).unwrap();
    let open_to_others = places.journals().join("tunnel.0.journal");
    write(&open_to_others, &line(2, seconds(now())));
    std::fs::set_permissions(&open_to_others, std::fs::Permissions::from_mode(0o644)).unwrap();

    let journal = open(&places);
    assert!(journal.inherited().is_empty() && journal.problems()[0].contains("not a plain file"));
    journal.granted(left(0)).await;
    let found = abandoned(&places, now()).unwrap();
    let refused = found.iter().filter(|found| matches!(found, Found::Refused(..))).count();
    assert_eq!(refused, 2, "{found:?}");
    assert_eq!(std::fs::read(&elsewhere).unwrap(), line(1, seconds(now())), "the link was followed");

    std::fs::set_permissions(places.journals(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(abandoned(&places, now()), Err(JournalError::Directory(_))));
    assert!(Journal::open(&places, Whose::Tunnel, now).is_err());
}

#[tokio::test]
async fn thousands_of_short_connections_leave_it_small() {
    let (_root, places) = room();
    let journal = open(&places);
    let stays = journal.granted(left(0)).await;
    let mut most = 0;
    for number in 1..5_000 {
        journal.gone(journal.granted(left(number)).await);
        if number % 50 == 0 {
            most = most.max(std::fs::metadata(own(&places)).unwrap().len());
        }
    }
    assert!(most < 100 * 1024, "{most} bytes");
    journal.gone(stays);
    journal.close().await;
    assert!(!own(&places).exists());
}

#[tokio::test]
async fn a_disk_that_takes_nothing_keeps_nobody() {
    let (_root, places) = room();
    let journal = open(&places);
    // It cannot be written anew any more, which happens every few hundred lines.
    std::fs::rename(places.journals(), places.state.join("gone")).unwrap();
    let begun = tokio::time::Instant::now();
    for number in 0..3_000 {
        journal.gone(journal.granted(left(number)).await);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let last = journal.granted(left(1)).await;
    // When there is room again, the file says what holds.
    std::fs::rename(places.state.join("gone"), places.journals()).unwrap();
    journal.granted(left(2)).await;
    assert!(last > 0);
    kill(&places, journal);
    assert_eq!(hosts(&open(&places).inherited()), ["bst-1.example.com", "bst-2.example.com"]);
}

#[tokio::test]
async fn one_that_somebody_removed_is_made_again_and_anothers_is_left_alone() {
    let (_root, places) = room();
    let journal = open(&places);
    std::fs::remove_file(own(&places)).unwrap();
    let other = open(&places);
    other.granted(left(2)).await;
    for _ in 0..2_000 {
        journal.gone(journal.granted(left(1)).await);
    }
    journal.close().await;
    drop(journal);
    kill(&places, other);
    assert_eq!(hosts(&open(&places).inherited()), ["bst-2.example.com"]);
}

#[tokio::test]
async fn what_is_kept_is_written_and_an_empty_one_goes() {
    let (_root, places) = room();
    let journal = open(&places);
    for number in 0..3 {
        journal.granted(left(number)).await;
    }
    kill(&places, journal);
    let take = || match abandoned(&places, now()).unwrap().pop() {
        Some(Found::Abandoned(found)) if found.path() == own(&places) => found,
        other => panic!("{other:?}"),
    };
    std::fs::remove_file(places.journals().join("elsewhere")).unwrap();
    let found = take();
    assert_eq!(
        (found.workspace(), found.environment(), found.left().len()),
        (Some("/w/bastion.toml"), None, 3)
    );
    found.keep(&BTreeSet::from([1])).unwrap();
    let found = take();
    assert_eq!(hosts(&found.left()), ["bst-1.example.com"]);
    assert!(matches!(Book::take(&own(&places), false), Ok(None)), "it is held meanwhile");
    found.keep(&BTreeSet::new()).unwrap();
    assert!(!own(&places).exists());
}
