//! The bell: every way in which a file changes rings it, and nothing else does; by what the system tells and by looking.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bastion::watch::{Mode, Watch};
use tokio::time::{Instant, timeout};

/// A directory with a file that is watched.
struct Scene {
    root: tempfile::TempDir,
    file: PathBuf,
    watch: Watch,
    mode: Mode,
}

impl Scene {
    fn new(mode: Mode) -> Self {
        Self::of(mode, "bastion.toml", |root| fs::write(root.join("bastion.toml"), "one").unwrap())
    }

    /// The directory is prepared first, then the file is watched, whether it is there or not.
    fn of(mode: Mode, file: &str, prepare: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        prepare(root.path());
        let file = root.path().join(file);
        let watch = Watch::start(std::slice::from_ref(&file), mode).unwrap();
        Self { root, file, watch, mode }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The bell rings, and soon: where the system tells of changes, before anyone looks.
    #[track_caller]
    fn rings(&mut self, after: &'static str) -> impl Future<Output = ()> {
        let (mode, begun) = (self.mode, Instant::now());
        async move {
            let soon = Duration::from_secs(if mode == Mode::Auto { 4 } else { 30 });
            let rang = timeout(soon, self.watch.changed()).await;
            assert!(rang.is_ok(), "{after} ({mode:?}): no bell after {:?}", begun.elapsed());
        }
    }

    /// It does not, for longer than it would take.
    async fn is_quiet(&mut self, after: &str) {
        let long = Duration::from_millis(if self.mode == Mode::Auto { 1100 } else { 1700 });
        let rang = timeout(long, self.watch.changed()).await;
        assert!(rang.is_err(), "{after} ({:?}): a bell for nothing", self.mode);
    }

    async fn rings_once(&mut self, after: &'static str) {
        self.rings(after).await;
        self.is_quiet(after).await;
    }
}

/// In both modes, side by side.
async fn both(scene: impl AsyncFn(Mode)) {
    tokio::join!(scene(Mode::Auto), scene(Mode::Poll));
}

/// As most editors save.
fn rename_over(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

#[tokio::test]
async fn editors_save_in_many_ways() {
    both(async |mode| {
        let mut scene = Scene::new(mode);
        fs::write(&scene.file, "two").unwrap();
        scene.rings("written in place").await;
        rename_over(&scene.file, "three");
        scene.rings("a new file over it").await;
        let backup = scene.path("bastion.toml~");
        fs::rename(&scene.file, &backup).unwrap();
        fs::write(&scene.file, "four").unwrap();
        fs::remove_file(backup).unwrap();
        scene.rings("as vim does").await;
        fs::remove_file(&scene.file).unwrap();
        fs::write(&scene.file, "five").unwrap();
        scene.rings("as git does").await;
        fs::File::options().append(true).open(&scene.file).unwrap().set_len(1).unwrap();
        scene.rings_once("cut off").await;
    })
    .await;
}

#[tokio::test]
async fn a_file_may_go_and_come_back() {
    both(async |mode| {
        let mut scene = Scene::new(mode);
        for _ in 0..2 {
            fs::remove_file(&scene.file).unwrap();
            scene.rings("removed").await;
            fs::write(&scene.file, "again").unwrap();
            scene.rings_once("back").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_that_was_never_there_may_appear_with_its_directories() {
    both(async |mode| {
        let mut scene = Scene::of(mode, "a/b/c/bastion.toml", |_| {});
        fs::create_dir_all(scene.path("a/b/c")).unwrap();
        scene.rings("the directories").await;
        fs::write(&scene.file, "one").unwrap();
        scene.rings("the file").await;
        fs::write(&scene.file, "two").unwrap();
        scene.rings_once("an edit").await;
    })
    .await;
}

#[tokio::test]
async fn a_directory_may_be_removed_and_made_again() {
    both(async |mode| {
        let fill = |root: &Path| {
            fs::create_dir_all(root.join("a/b")).unwrap();
            fs::write(root.join("a/b/bastion.toml"), "one").unwrap();
        };
        let mut scene = Scene::of(mode, "a/b/bastion.toml", fill);
        for _ in 0..2 {
            fs::remove_dir_all(scene.path("a")).unwrap();
            scene.rings("removed").await;
            fill(scene.root.path());
            scene.rings("made again").await;
            fs::write(&scene.file, "two").unwrap();
            scene.rings("an edit").await;
        }
        // At once, so that nobody sees that it was gone.
        fs::remove_dir_all(scene.path("a")).unwrap();
        fill(scene.root.path());
        scene.rings("replaced").await;
        fs::write(&scene.file, "two").unwrap();
        scene.rings("an edit after that").await;
    })
    .await;
}

// A directory that is watched cannot be renamed on Windows.
#[cfg(unix)]
#[tokio::test]
async fn another_directory_may_take_its_place() {
    both(async |mode| {
        let mut scene = Scene::of(mode, "a/bastion.toml", |root| {
            for (name, text) in [("a", "one"), ("b", "two")] {
                fs::create_dir(root.join(name)).unwrap();
                fs::write(root.join(name).join("bastion.toml"), text).unwrap();
            }
        });
        fs::rename(scene.path("a"), scene.path("c")).unwrap();
        fs::rename(scene.path("b"), scene.path("a")).unwrap();
        scene.rings("another directory").await;
        fs::write(scene.path("c/bastion.toml"), "of the old one").unwrap();
        scene.is_quiet("an edit where it was").await;
        fs::write(&scene.file, "three").unwrap();
        scene.rings_once("an edit").await;
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_followed_to_their_ends() {
    use std::os::unix::fs::symlink;
    both(async |mode| {
        let mut scene = Scene::of(mode, "here/bastion.toml", |root| {
            for directory in ["here", "there", "else"] {
                fs::create_dir(root.join(directory)).unwrap();
                fs::write(root.join(directory).join("real.toml"), "one").unwrap();
            }
            // By way of a link to a directory, and relative.
            symlink("there", root.join("way")).unwrap();
            symlink("../way/real.toml", root.join("here/bastion.toml")).unwrap();
        });
        fs::write(scene.path("there/real.toml"), "two").unwrap();
        scene.rings("the real file was edited").await;
        rename_over(&scene.path("there/real.toml"), "three");
        scene.rings("the real file was replaced").await;
        symlink("else", scene.path("new")).unwrap();
        fs::rename(scene.path("new"), scene.path("way")).unwrap();
        scene.rings("the link to the directory was replaced").await;
        fs::write(scene.path("there/real.toml"), "of no interest").unwrap();
        scene.is_quiet("an edit where the link led before").await;
        fs::write(scene.path("else/real.toml"), "four").unwrap();
        scene.rings("an edit where it leads now").await;
        fs::remove_file(&scene.file).unwrap();
        symlink(scene.path("there/real.toml"), &scene.file).unwrap();
        scene.rings("the file's own link was replaced").await;
        fs::write(scene.path("there/real.toml"), "five").unwrap();
        scene.rings_once("an edit where that one leads").await;
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_config_map_is_swapped_as_kubernetes_does() {
    use std::os::unix::fs::symlink;
    let publish = |root: &Path, version: &str| {
        fs::create_dir(root.join(version)).unwrap();
        fs::write(root.join(version).join("bastion.toml"), version).unwrap();
        symlink(version, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    both(async |mode| {
        let mut scene = Scene::of(mode, "bastion.toml", |root| {
            publish(root, "..1");
            symlink("..data/bastion.toml", root.join("bastion.toml")).unwrap();
        });
        for (old, new) in [("..1", "..2"), ("..2", "..3"), ("..3", "..4")] {
            publish(scene.root.path(), new);
            fs::remove_dir_all(scene.path(old)).unwrap();
            scene.rings(new).await;
            assert_eq!(fs::read_to_string(&scene.file).unwrap(), new);
        }
        scene.is_quiet("nothing more").await;
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn links_in_a_circle_are_a_file_that_is_not_there() {
    use std::os::unix::fs::symlink;
    both(async |mode| {
        let mut scene = Scene::of(mode, "bastion.toml", |root| {
            symlink("other.toml", root.join("bastion.toml")).unwrap();
            symlink("bastion.toml", root.join("other.toml")).unwrap();
        });
        rename_over(&scene.path("other.toml"), "real");
        scene.rings("the circle was broken").await;
        fs::write(scene.path("other.toml"), "edited").unwrap();
        scene.rings_once("an edit").await;
    })
    .await;
}

// What is written through another name of the file, as through a mount of the file alone, happens in no directory that
// is watched. Only Linux tells of it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_is_written_through_another_name_is_heard() {
    both(async |mode| {
        let mut scene = Scene::of(mode, "here/bastion.toml", |root| {
            fs::create_dir(root.join("here")).unwrap();
            fs::create_dir(root.join("there")).unwrap();
            fs::write(root.join("there/real.toml"), "one").unwrap();
            fs::hard_link(root.join("there/real.toml"), root.join("here/bastion.toml")).unwrap();
        });
        let real = scene.path("there/real.toml");
        fs::write(&real, "two, through the other name").unwrap();
        scene.rings_once("written through another name").await;
        rename_over(&scene.file, "three");
        scene.rings_once("a new file over it").await;
        fs::write(&real, "of no interest any more").unwrap();
        scene.is_quiet("an edit of the file that it was").await;
        fs::remove_file(&real).unwrap();
        fs::hard_link(&scene.file, &real).unwrap();
        // The number of its names changed, which is told as well.
        while timeout(Duration::from_millis(1100), scene.watch.changed()).await.is_ok() {}
        fs::write(&real, "four, through the other name again").unwrap();
        scene.rings_once("written through another name after a save by rename").await;
        fs::remove_file(&scene.file).unwrap();
        fs::write(&scene.file, "five").unwrap();
        scene.rings_once("removed, and written anew").await;
        fs::remove_file(&real).unwrap();
        fs::hard_link(&scene.file, &real).unwrap();
        while timeout(Duration::from_millis(1100), scene.watch.changed()).await.is_ok() {}
        for number in 0..10 {
            fs::read(&scene.file).unwrap();
            fs::write(&real, number.to_string()).unwrap();
        }
        scene.rings_once("ten times, and read between").await;
        fs::read(&scene.file).unwrap();
        scene.is_quiet("our own reading").await;
    })
    .await;
}

#[tokio::test]
async fn a_burst_of_saves_is_one_bell() {
    both(async |mode| {
        let mut scene = Scene::new(mode);
        for number in 0..10 {
            rename_over(&scene.file, &number.to_string());
        }
        scene.rings_once("ten saves").await;
    })
    .await;
}

#[tokio::test]
async fn what_others_do_in_the_directory_is_not_heard() {
    both(async |mode| {
        let mut scene = Scene::new(mode);
        for number in 0..300 {
            let other = scene.path(&format!("other-{}", number % 7));
            fs::write(&other, number.to_string()).unwrap();
            fs::rename(&other, scene.path("log")).unwrap();
            fs::create_dir(&other).unwrap();
            fs::remove_dir(&other).unwrap();
            // Our own reading of the file neither.
            fs::read(&scene.file).unwrap();
        }
        scene.is_quiet("300 changes of others").await;
        fs::write(&scene.file, "two").unwrap();
        scene.rings_once("one of ours").await;
    })
    .await;
}

#[tokio::test]
async fn changes_without_end_are_told_all_the_same() {
    both(async |mode| {
        let mut scene = Scene::new(mode);
        let file = scene.file.clone();
        let mut number = 0;
        let mut save = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..3 {
            let begun = Instant::now();
            loop {
                tokio::select! {
                    () = scene.watch.changed() => break,
                    _ = save.tick() => {
                        number += 1;
                        fs::write(&file, number.to_string()).unwrap();
                    }
                }
                // A second, the time to look in, and a machine that is busy.
                assert!(begun.elapsed() < Duration::from_secs(4), "{mode:?}: nothing is told");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn waiting_can_be_given_up_and_taken_up_without_missing_the_bell() {
    both(async |mode| {
        let mut scene = Scene::new(mode);
        fs::write(&scene.file, "two").unwrap();
        let begun = Instant::now();
        while timeout(Duration::from_micros(100), scene.watch.changed()).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{mode:?}: it rang while nobody listened");
        }
        scene.is_quiet("heard already").await;
    })
    .await;
}

#[tokio::test]
async fn other_files_can_be_followed() {
    both(async |mode| {
        let mut scene = Scene::new(mode);
        let other = scene.path("bastion.local.toml");
        scene.watch.follow(&[scene.file.clone(), other.clone()]);
        scene.rings_once("a file that may have changed before").await;
        scene.watch.follow(&[other.clone(), scene.file.clone()]);
        scene.is_quiet("the same files").await;
        fs::write(&other, "one").unwrap();
        scene.rings("the new one").await;
        fs::write(&scene.file, "two").unwrap();
        scene.rings("the old one").await;
        scene.watch.follow(std::slice::from_ref(&other));
        scene.rings_once("fewer").await;
        fs::write(&scene.file, "three").unwrap();
        scene.is_quiet("one that is not followed any more").await;
    })
    .await;
}
