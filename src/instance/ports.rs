//! The ports of tunnels that leave theirs to us (`listen = "auto"`): one that follows from the instance and the tunnel's
//! name, and once it was bound, the one that it was. So it is the same tomorrow, and in every command.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::record::PortsFile;
use super::{Identity, Places, key};
use crate::model::{Desired, Name};
use crate::sys::directory::{self, DirectoryError};

/// The most that the file may weigh.
const MOST: u64 = 4 * 1024 * 1024;
/// The most tunnels that are remembered. Those of other branches and profiles are, too.
const MOST_TUNNELS: usize = 20_000;

/// The ports of one instance.
#[derive(Clone, Debug)]
pub struct Ports {
    places: Places,
    identity: Identity,
    path: PathBuf,
    remembered: BTreeMap<Name, u16>,
}

/// Why ports are not remembered.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    /// There is no safe place for them.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// They cannot be written.
    #[error("remembering the tunnels' ports in `{0}`: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl Ports {
    /// Reads what is remembered. A file that is not as it was written counts for nothing: other ports do as well.
    pub fn load(places: &Places, identity: &Identity) -> Self {
        let path = places.ports().join(identity.key()).with_extension("json");
        let remembered = read(&path).unwrap_or_default();
        Self { places: places.clone(), identity: identity.clone(), path, remembered }
    }

    /// Gives every tunnel that leaves its port to us one of its own: the one that is remembered, or else one of `range`.
    /// No two have the same, and none has one that the files name.
    pub fn allot(&self, desired: &mut Desired, range: &RangeInclusive<u16>) {
        let named = desired.tunnels.values().filter(|tunnel| !tunnel.auto).map(|tunnel| tunnel.listen.port());
        let mut used: BTreeSet<u16> = named.collect();
        let mut new = Vec::new();
        for (name, tunnel) in desired.tunnels.iter_mut().filter(|(_, tunnel)| tunnel.auto) {
            match self.remembered.get(name).filter(|port| used.insert(**port)) {
                Some(port) => tunnel.listen = tunnel.listen.at(*port),
                None => new.push((name, tunnel)),
            }
        }
        // Nor one that is remembered for a tunnel which the files do not declare at the moment.
        used.extend(self.remembered.values());
        let count = u64::from(range.end().saturating_sub(*range.start())) + 1;
        for (name, tunnel) in new {
            let first = self.hash(name);
            let nth = |step: u64| u16::try_from(u64::from(*range.start()) + (first + step) % count).ok();
            // Where all are used, any free one will do.
            let port = (0..count).filter_map(nth).find(|port| !used.contains(port)).unwrap_or(0);
            used.insert(port);
            tunnel.listen = tunnel.listen.at(port);
        }
    }

    /// Remembers where tunnels listen.
    ///
    /// # Errors
    /// When it cannot be written; the next start may then find other ports.
    pub fn remember(&mut self, ports: &BTreeMap<Name, u16>) -> Result<(), PortsError> {
        let before = self.remembered.clone();
        if self.remembered.len() + ports.len() > MOST_TUNNELS {
            self.remembered.clear();
        }
        // A port has one tunnel, the last that had it.
        self.remembered
            .retain(|name, port| ports.contains_key(name) || !ports.values().any(|new| new == port));
        self.remembered.extend(ports.iter().map(|(name, port)| (name.clone(), *port)));
        if self.remembered == before {
            return Ok(());
        }
        self.places.prepare_ports()?;
        let failed = |error: io::Error| PortsError::Io(self.path.clone(), error);
        let workspace = self.identity.path().to_string_lossy().into_owned();
        let file = PortsFile::new(workspace, self.identity.environment.as_ref(), &self.remembered);
        let content = serde_json::to_vec_pretty(&file).map_err(|error| failed(error.into()))?;
        drop(directory::replace(&self.path, &content, File::sync_all).map_err(failed)?);
        Ok(())
    }

    /// The same in every process and in every release.
    fn hash(&self, tunnel: &Name) -> u64 {
        let key = key(&[self.identity.key().as_bytes(), tunnel.as_str().as_bytes()]);
        key.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
    }
}

fn read(path: &std::path::Path) -> Option<BTreeMap<Name, u16>> {
    let file = File::open(path).ok()?;
    if !directory::is_only_ours(&file) {
        return None;
    }
    let mut content = Vec::new();
    file.take(MOST + 1).read_to_end(&mut content).ok()?;
    if content.len() as u64 > MOST {
        return None;
    }
    serde_json::from_slice::<PortsFile>(&content).ok()?.ports()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::instance::Surroundings;
    use crate::model::{Behaviour, Cloud, Emulation, Listen, Port, Tunnel};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// Tunnels that leave their ports to us, and those that name one.
    fn desired(auto: &[&str], named: &[(&str, u16)]) -> Desired {
        let tunnel = |port, auto| Tunnel {
            listen: Listen::Localhost(port),
            auto,
            target: name("web"),
            port: Port::new(80).unwrap(),
            profiles: BTreeSet::new(),
            env: BTreeMap::new(),
            behaviour: Behaviour::default(),
        };
        let auto = auto.iter().map(|text| (name(text), tunnel(0, true)));
        let named = named.iter().map(|(text, port)| (name(text), tunnel(*port, false)));
        Desired {
            workspace: name("w"),
            cloud: Cloud::Emulator,
            bastions: BTreeMap::new(),
            targets: BTreeMap::new(),
            tunnels: auto.chain(named).collect(),
            emulation: Emulation::default(),
        }
    }

    fn ports(of: &Ports, mut desired: Desired, range: RangeInclusive<u16>) -> BTreeMap<String, u16> {
        of.allot(&mut desired, &range);
        desired.tunnels.iter().map(|(name, tunnel)| (name.to_string(), tunnel.listen.port())).collect()
    }

    fn load(root: &Path, directory: &str) -> Ports {
        let state = Some(root.join("state"));
        let places = Places::new(&Surroundings { runtime: None, state, temporary: root.join("tmp") });
        let file = "bastion.toml".into();
        Ports::load(&places, &Identity { directory: directory.into(), file, environment: None })
    }

    #[test]
    fn a_port_follows_from_the_workspace_and_the_name() {
        let root = tempfile::tempdir().unwrap();
        let (here, there) = (load(root.path(), "/a"), load(root.path(), "/b"));
        let all = || desired(&["x", "y"], &[]);
        let ours = ports(&here, all(), 20_000..=29_999);
        // The same in every release: written down, not computed.
        assert_eq!(ours, [("x".to_owned(), 26_809), ("y".to_owned(), 27_526)].into());
        assert_eq!(ports(&here, all(), 20_000..=29_999), ours);
        assert_ne!(ports(&there, all(), 20_000..=29_999), ours);
    }

    #[test]
    fn no_two_tunnels_have_the_same_and_none_has_one_that_is_named() {
        let root = tempfile::tempdir().unwrap();
        let here = load(root.path(), "/a");
        let all = desired(&["a", "b", "c"], &[("d", 20_001)]);
        let found = ports(&here, all, 20_000..=20_003);
        assert_eq!(found.values().copied().collect::<BTreeSet<_>>(), (20_000..=20_003).collect());
        // Where there are not enough, any free one will do.
        let found = ports(&here, desired(&["a", "b"], &[]), 20_000..=20_000);
        assert_eq!(found.values().copied().collect::<BTreeSet<_>>(), [0, 20_000].into());
    }

    #[test]
    fn what_was_bound_is_remembered_until_a_file_names_it() {
        let root = tempfile::tempdir().unwrap();
        let mut here = load(root.path(), "/a");
        here.remember(&[(name("x"), 25_000), (name("y"), 25_001)].into()).unwrap();
        let again = load(root.path(), "/a");
        let found = ports(&again, desired(&["x", "y"], &[]), 20_000..=29_999);
        assert_eq!(found, [("x".to_owned(), 25_000), ("y".to_owned(), 25_001)].into());
        let found = ports(&again, desired(&["x"], &[("z", 25_000)]), 25_000..=25_002);
        assert_eq!(found["x"], 25_002, "the other is remembered for a tunnel of another branch");
        // A port has one tunnel.
        here.remember(&[(name("z"), 25_001)].into()).unwrap();
        let found = ports(&load(root.path(), "/a"), desired(&["y", "z"], &[]), 20_000..=20_009);
        assert_eq!(found["z"], 25_001);
        assert!((20_000..=20_009).contains(&found["y"]));
    }

    #[test]
    fn a_file_that_is_not_as_it_was_written_counts_for_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut here = load(root.path(), "/a");
        here.remember(&[(name("x"), 25_000)].into()).unwrap();
        let whole = std::fs::read_to_string(&here.path).unwrap();
        for wrong in
            ["", "[]", "{}", &whole.replace("\"version\": 1", "\"version\": 2"), &whole.replace("25000", "0")]
        {
            std::fs::write(&here.path, wrong).unwrap();
            assert_ne!(
                ports(&load(root.path(), "/a"), desired(&["x"], &[]), 20_000..=29_999)["x"],
                25_000,
                "{wrong}"
            );
        }
        here.remember(&[(name("x"), 25_002)].into()).unwrap();
        assert_eq!(ports(&load(root.path(), "/a"), desired(&["x"], &[]), 20_000..=29_999)["x"], 25_002);
    }
}
