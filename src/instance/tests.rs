//! Places, claims and grants, each in a directory of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::model::{Grant, GrantKind};

fn identity(directory: &str) -> Identity {
    Identity { directory: directory.into(), file: "bastion.toml".into(), environment: None }
}

fn places(root: &Path) -> Places {
    Places::new(&Surroundings { runtime: None, state: Some(root.join("state")), temporary: root.join("tmp") })
}

fn claim(places: &Places, identity: &Identity) -> Result<Lock, ClaimError> {
    Lock::claim(places, identity, UNIX_EPOCH + Duration::from_secs(1))
}

#[test]
fn an_identity_is_its_three_parts_and_nothing_else() {
    let one = identity("/a/b");
    // The same in every release: written down, not computed.
    assert_eq!(one.key(), "d7e8e8148be3d0579ce7a143");
    let other_file = Identity { file: "hub.toml".into(), ..one.clone() };
    let test = Identity { environment: Some(Name::new("test").unwrap()), ..one.clone() };
    let split = Identity { directory: "/a".into(), file: "b/bastion.toml".into(), environment: None };
    let keys: std::collections::BTreeSet<String> =
        [&one, &other_file, &test, &split, &identity("/a/c")].map(Identity::key).into();
    assert_eq!(keys.len(), 5);
    assert_eq!(one.path(), Path::new("/a/b/bastion.toml"));
}

#[test]
fn a_runtime_directory_is_taken_when_it_is_the_users_own() {
    let root = tempfile::tempdir().unwrap();
    let (state, temporary) = (root.path().join("state"), root.path().join("tmp"));
    let with = |runtime: Option<PathBuf>, state: Option<&PathBuf>| {
        Places::new(&Surroundings { runtime, state: state.cloned(), temporary: temporary.clone() })
    };
    let own = with(Some(root.path().to_owned()), Some(&state));
    assert_eq!((own.runtime, own.state), (root.path().join("bastion"), state.join("bastion")));
    for wrong in [None, Some(root.path().join("absent")), Some("relative".into())] {
        assert_eq!(with(wrong, Some(&state)).runtime, state.join("bastion/run"));
    }
    let homeless = with(None, None);
    assert_eq!(homeless.runtime.parent(), Some(temporary.as_path()));
    assert_eq!(homeless.state, homeless.runtime.join("state"));
    claim(&homeless, &identity("/a")).unwrap();
}

#[cfg(unix)]
#[test]
fn a_sockets_path_is_never_too_long_for_any_system() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("d".repeat(90));
    let short = places(root.path()).socket(&identity("/a"));
    assert_eq!(short.parent(), Some(root.path().join("state/bastion/run").as_path()));
    let places =
        Places::new(&Surroundings { runtime: None, state: Some(deep), temporary: root.path().to_owned() });
    let socket = places.socket(&identity("/a"));
    assert!(socket.as_os_str().len() < 100, "{}", socket.display());
    assert!(socket.starts_with(root.path().join(format!("bastion-{}", crate::sys::directory::user()))));
    let lock = claim(&places, &identity("/a")).unwrap();
    assert_eq!(lock.socket(), socket);
    assert!(socket.parent().unwrap().is_dir());
}

#[test]
fn one_holds_an_instance_and_everyone_can_see_who() {
    let root = tempfile::tempdir().unwrap();
    let places = places(root.path());
    assert_eq!(list(&places).unwrap(), []);
    let test = Identity { environment: Some(Name::new("test").unwrap()), ..identity("/a") };
    let lock = claim(&places, &test).unwrap();
    let plain = claim(&places, &identity("/a")).unwrap();
    let Err(ClaimError::Held(owner)) = claim(&places, &test) else { panic!("claimed twice") };
    assert_eq!(*owner, *lock.owner());
    assert_eq!((owner.pid, owner.started.as_str()), (std::process::id(), "1970-01-01T00:00:01Z"));
    assert_eq!((owner.path(), owner.environment.as_deref()), (test.path(), Some("test")));
    assert_eq!(owner.socket, places.socket(&test));
    assert_eq!(list(&places).unwrap(), [plain.owner().clone(), *owner]);
    assert_eq!(holder(&places, &test).as_ref(), Some(lock.owner()));
    drop(lock);
    assert_eq!(holder(&places, &test), None);
    assert_eq!(list(&places).unwrap(), [plain.owner().clone()]);
    claim(&places, &test).unwrap();
}

#[test]
fn whoever_lists_stands_in_nobodys_way() {
    let root = tempfile::tempdir().unwrap();
    let places = places(root.path());
    drop(claim(&places, &identity("/a")).unwrap());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    list(&places).unwrap();
                }
            });
        }
        for _ in 0..200 {
            let lock = claim(&places, &identity("/a"));
            done.store(lock.is_err(), std::sync::atomic::Ordering::Relaxed);
            let lock = lock.unwrap();
            assert_eq!(list(&places).unwrap(), [lock.owner().clone()]);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn an_owner_that_has_not_said_who_it_is_holds_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let places = places(root.path());
    let lock = claim(&places, &identity("/a")).unwrap();
    let live = lock.owner().socket.file_stem().map(|_| places.runtime.join(identity("/a").key() + ".live"));
    std::fs::remove_file(live.unwrap()).unwrap();
    assert!(matches!(claim(&places, &identity("/a")), Err(ClaimError::Starting)));
}

#[cfg(unix)]
#[test]
fn nothing_is_put_where_others_can_look() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let root = tempfile::tempdir().unwrap();
    let places = places(root.path());
    let lock = claim(&places, &identity("/a")).unwrap();
    Grants::load(&places, Path::new("/a/bastion.toml")).remember(&[]).unwrap();
    assert_eq!((mode(&places.runtime), mode(&places.state)), (0o700, 0o700));
    for file in places.runtime.read_dir().unwrap().chain(places.grants().read_dir().unwrap()) {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    drop(lock);
    std::fs::set_permissions(&places.runtime, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = claim(&places, &identity("/a")).unwrap_err().to_string();
    assert!(refused.contains("open to other users") && refused.contains("chmod 700"), "{refused}");
    assert_eq!(mode(&places.runtime), 0o755);
    std::fs::remove_dir_all(&places.runtime).unwrap();
    std::os::unix::fs::symlink(root.path(), &places.runtime).unwrap();
    let refused = claim(&places, &identity("/a")).unwrap_err().to_string();
    assert!(refused.contains("is not a directory"), "{refused}");
}

#[cfg(unix)]
#[test]
fn a_directory_of_another_user_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut places = places(root.path());
    std::fs::create_dir_all(&places.runtime).unwrap();
    // Only root can give a directory away; for everyone else `/` is one of another user.
    let another = crate::sys::directory::user().parse::<u32>().unwrap() + 1;
    if std::os::unix::fs::chown(&places.runtime, Some(another), None).is_err() {
        places.runtime = "/".into();
    }
    let refused = claim(&places, &identity("/a")).unwrap_err().to_string();
    assert!(refused.contains("belongs to another user"), "{refused}");
}

#[cfg(unix)]
#[test]
fn a_directory_that_someone_else_made_for_us_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let places = Places::new(&Surroundings { temporary: root.path().to_owned(), ..Surroundings::default() });
    std::fs::create_dir(&places.runtime).unwrap();
    std::fs::set_permissions(&places.runtime, std::fs::Permissions::from_mode(0o777)).unwrap();
    // Neither directly in it nor below it.
    assert!(claim(&places, &identity("/a")).is_err());
    assert!(Grants::load(&places, Path::new("/a/bastion.toml")).remember(&[]).is_err());
    assert!(!places.state.exists());
}

fn expose(what: &str) -> Grant {
    Grant { kind: GrantKind::Expose, what: what.to_owned() }
}

#[test]
fn what_was_allowed_is_remembered_for_one_workspace_and_word_for_word() {
    let root = tempfile::tempdir().unwrap();
    let (places, file) = (places(root.path()), Path::new("/a/bastion.toml"));
    let mut grants = Grants::load(&places, file);
    assert!(!grants.contains(&expose("one")) && grants.problem().is_none());
    let mut other = Grants::load(&places, file);
    grants.remember(&[expose("one")]).unwrap();
    assert!(grants.contains(&expose("one")) && !grants.contains(&expose("one ")));
    // A process that read before does not forget what was allowed since.
    other.remember(&[expose("two")]).unwrap();
    let again = Grants::load(&places, file);
    assert!(again.contains(&expose("one")) && again.contains(&expose("two")));
    assert!(!Grants::load(&places, Path::new("/b/bastion.toml")).contains(&expose("one")));
    assert!(again.path().is_file());
}

#[test]
fn a_file_that_is_not_as_it_was_written_grants_nothing_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let (places, file) = (places(root.path()), Path::new("/a/bastion.toml"));
    let mut grants = Grants::load(&places, file);
    grants.remember(&[expose("one")]).unwrap();
    let whole = std::fs::read_to_string(grants.path()).unwrap();
    let half = whole.get(..whole.len() / 2).unwrap();
    for wrong in [half, "", "[]", &whole.replace("\"version\": 1", "\"version\": 2")] {
        std::fs::write(grants.path(), wrong).unwrap();
        let read = Grants::load(&places, file);
        assert!(!read.contains(&expose("one")), "{wrong}");
        assert!(read.problem().unwrap().contains("grants nothing"), "{wrong}");
    }
    // A kind of a later release grants nothing here, and is no mistake.
    std::fs::write(grants.path(), whole.replace("\"expose\"", "\"remote\"")).unwrap();
    let read = Grants::load(&places, file);
    assert!(!read.contains(&expose("one")) && read.problem().is_none());
    grants.remember(&[expose("one")]).unwrap();
    assert!(Grants::load(&places, file).contains(&expose("one")));
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_write_grants_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let (places, file) = (places(root.path()), Path::new("/a/bastion.toml"));
    let mut grants = Grants::load(&places, file);
    grants.remember(&[expose("one")]).unwrap();
    std::fs::set_permissions(grants.path(), std::fs::Permissions::from_mode(0o666)).unwrap();
    let read = Grants::load(&places, file);
    assert!(!read.contains(&expose("one")));
    assert!(read.problem().unwrap().contains("others can write"));
}

#[cfg(unix)]
#[test]
fn only_the_files_of_instances_that_do_not_live_are_stale() {
    let root = tempfile::tempdir().unwrap();
    let places = places(root.path());
    assert!(stale(&places, true).unwrap().0.is_empty());
    let claim = |name: &str| {
        let identity = Identity { directory: name.into(), file: "bastion.toml".into(), environment: None };
        let lock = Lock::claim(&places, &identity, UNIX_EPOCH).unwrap();
        drop(std::os::unix::net::UnixListener::bind(lock.socket()).unwrap());
        (identity.key(), lock)
    };
    let ((dead, lock), (_alive, _lock)) = (claim("/dead"), claim("/alive"));
    let file = |kind: &str| places.runtime.join(format!("{dead}.{kind}"));
    drop(lock);
    // What it was about to put in place of another, and what is not an instance's.
    std::fs::write(file("json.7.new"), "").unwrap();
    std::fs::write(places.runtime.join("notes.json"), "").unwrap();
    let before = places.runtime.read_dir().unwrap().count();

    let (mut found, refused) = stale(&places, false).unwrap();
    assert!(refused.is_empty() && found.len() == 1, "{found:?}, {refused:?}");
    let one = found.remove(0);
    assert_eq!(one.owner().map(Owner::path), Some("/dead/bastion.toml".into()));
    assert_eq!(one.files().len(), 5);
    drop(one);
    assert_eq!(places.runtime.read_dir().unwrap().count(), before, "a look changes nothing");

    let one = stale(&places, true).unwrap().0.remove(0);
    let identity = Identity { directory: "/dead".into(), file: "bastion.toml".into(), environment: None };
    assert!(matches!(Lock::claim(&places, &identity, UNIX_EPOCH), Err(ClaimError::Starting)));
    assert!(one.remove().is_empty());
    assert_eq!(places.runtime.read_dir().unwrap().count(), before - 5);
    Lock::claim(&places, &identity, UNIX_EPOCH).unwrap();
}

#[test]
fn an_instance_that_is_tidied_up_while_it_starts_is_never_held_twice() {
    let root = tempfile::tempdir().unwrap();
    let places = places(root.path());
    let identity = Identity { directory: "/w".into(), file: "bastion.toml".into(), environment: None };
    let held = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    if let Ok(lock) = Lock::claim(&places, &identity, UNIX_EPOCH) {
                        let others = held.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert_eq!(others, 0, "two hold it");
                        std::thread::yield_now();
                        held.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(lock);
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..300 {
                for stale in stale(&places, true).unwrap().0 {
                    stale.remove();
                }
            }
        });
    });
}
