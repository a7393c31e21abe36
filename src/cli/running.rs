//! The instance that the flags, the environment and the current directory mean, whether it runs or not.
//!
//! It is found without reading what the workspace's files say, so that a file with mistakes, or one that is gone, does
//! not stand between a user and what runs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::time::SystemTime;

use tokio::time::timeout;

use super::settings::Settings;
use super::{ExitStatus, Failure, load};
use crate::control::client::{Client, ClientError};
use crate::control::{Answer, Request};
use crate::instance::{self, ClaimError, Identity, Lock, Owner, Places};
use crate::model::{Desired, Name};
use crate::workspace::{FindError, ReadError, Where, Workspace};

/// The file's name where none is given.
const FILE: &str = "bastion.toml";
/// How long an instance may take to do what it is asked: one whose process is stopped would take for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// The instance that is meant.
#[derive(Debug)]
pub(super) struct Meant {
    places: Places,
    identity: Identity,
    socket: PathBuf,
    /// Its workspace; none when the file is gone.
    workspace: Option<Workspace>,
    /// What starts it, as one would type it here.
    up: String,
}

impl Meant {
    /// That of a workspace, whether it runs or not.
    pub(super) fn of(workspace: &Workspace, settings: &Settings) -> Result<Self, Failure> {
        let places = settings.places();
        let identity = identity(workspace);
        let socket = places.socket(&identity);
        let up = up(&load::place(settings)?);
        Ok(Self { places, identity, socket, workspace: Some(workspace.clone()), up })
    }

    /// Finds out which one it is. Where no file is found any more, it is one that still runs for a file there.
    pub(super) fn find(settings: &Settings) -> Result<Self, Failure> {
        let places = settings.places();
        let place = load::place(settings)?;
        let (identity, workspace) = match Workspace::find(&place) {
            Ok(workspace) => {
                let workspace = load::numbered(workspace, &places);
                let nearer = place.file.is_none().then(|| nearer(&places, &workspace)).flatten();
                match nearer {
                    Some(left) => (left, None),
                    None => (identity(&workspace), Some(workspace)),
                }
            }
            Err(error) => match &error {
                FindError::None { start } => {
                    let left = left_behind(&places, start, place.environment.as_ref());
                    (left.ok_or_else(|| load::not_found(&error))?, None)
                }
                FindError::CurrentDirectory(_) | FindError::Foreign { .. } | FindError::Local => {
                    return Err(load::not_found(&error));
                }
            },
        };
        let socket = places.socket(&identity);
        Ok(Self { places, identity, socket, workspace, up: up(&place) })
    }

    /// A way to ask it; none when it does not run or does not listen.
    pub(super) async fn client(&self) -> Result<Option<Client>, Failure> {
        Client::connect(&self.socket).await.map_err(|error| Failure::from_client(&error))
    }

    /// A way to ask it, for commands that are of no use otherwise.
    pub(super) async fn running(&self) -> Result<Client, Failure> {
        match self.client().await? {
            Some(client) => Ok(client),
            None => Err(self.not_running()),
        }
    }

    /// Claims it for this process.
    pub(super) fn claim(&self, now: SystemTime) -> Result<Lock, ClaimError> {
        Lock::claim(&self.places, &self.identity, now)
    }

    /// What makes it that one and no other.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where it listens, or would.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The process that holds it, whether it listens or not.
    pub(super) fn holder(&self) -> Option<Owner> {
        instance::holder(&self.places, &self.identity)
    }

    /// What it is for, in words.
    pub(super) fn shown(&self) -> String {
        let file = match &self.workspace {
            Some(workspace) => load::shown(workspace.shown()),
            None => load::shown(&self.identity.path()),
        };
        match &self.identity.environment {
            Some(environment) => format!("{file} in the environment `{environment}`"),
            None => file,
        }
    }

    /// What starts it, as one would type it.
    pub(super) fn up(&self) -> &str {
        &self.up
    }

    /// That it does not run, in words.
    pub(super) fn nothing(&self) -> String {
        match self.holder() {
            Some(owner) => self.silent(&owner),
            None => format!("Nothing runs for {}; `{}` starts it", self.shown(), self.up),
        }
    }

    /// That it does not run, as a failure.
    pub(super) fn not_running(&self) -> Failure {
        if let Err(mistake) = self.exists() {
            return mistake;
        }
        match self.holder() {
            Some(owner) => {
                let what = format!("{} [not-running]", self.silent(&owner));
                Failure::new(ExitStatus::Failed, what).hint("try again in a moment")
            }
            None => {
                let what = format!("nothing runs for {} [not-running]", self.shown());
                Failure::new(ExitStatus::Failed, what).hint(&format!("`{}` starts it", self.up))
            }
        }
    }

    /// It is held, and nobody listens.
    fn silent(&self, owner: &Owner) -> String {
        format!("process {} is starting or ending for {}, and does not listen", owner.pid, self.shown())
    }

    /// Refuses a file or an environment that is not there: when nothing runs, that may be why.
    pub(super) fn exists(&self) -> Result<(), Failure> {
        let Some(Err(error)) = self.workspace.as_ref().map(Workspace::read) else { return Ok(()) };
        match &error {
            ReadError::NoEnvironment { .. } => Err(load::not_read(&error)),
            ReadError::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Err(load::not_read(&error))
            }
            ReadError::Unreadable { .. } | ReadError::Foreign { .. } => Ok(()),
        }
    }

    /// The environment that is meant.
    pub(super) fn environment(&self) -> Option<&Name> {
        self.identity.environment.as_ref()
    }

    /// The name of its directory, which a workspace without a name has.
    pub(super) fn directory_name(&self) -> String {
        let name = self.identity.directory.file_name();
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// What the files declare now, if they have no mistake; mistakes are not shown.
    pub(super) fn desired(&self, settings: &Settings) -> Option<Desired> {
        let files = self.workspace.as_ref()?.read().ok()?;
        let environment = self.environment().map(Name::as_str);
        let loaded = files.load(&settings.variables(&files.mentioned(), environment), settings.az());
        let mut desired = loaded.desired?;
        load::allot(&mut desired, files.workspace(), &self.places);
        Some(desired)
    }

    /// The tunnels that the files declare now; `None` when that cannot be found out.
    pub(super) fn declared(&self, settings: &Settings) -> Option<Vec<Name>> {
        self.desired(settings).map(|desired| desired.tunnels.into_keys().collect())
    }

    /// The variables that the files may name, for the instance to read them with. They may be secrets.
    pub(super) fn variables(&self, settings: &Settings) -> BTreeMap<String, String> {
        let files = self.workspace.as_ref().and_then(|workspace| workspace.read().ok());
        let mentioned = files.map(|files| files.mentioned()).unwrap_or_default();
        settings.variables(&mentioned, self.environment().map(Name::as_str)).into_all()
    }
}

/// Has an instance do something.
pub(super) async fn ask(client: &Client, request: Request) -> Result<Answer, ClientError> {
    timeout(PATIENCE, client.ask(request)).await.map_err(|_elapsed| ClientError::Silent)?
}

/// What starts an instance, as one would type it here.
fn up(place: &Where) -> String {
    let mut up = "bastion up".to_owned();
    if let Some(file) = &place.file {
        up.push_str(&format!(" -f {}", load::shown(file)));
    }
    if let Some(environment) = &place.environment {
        up.push_str(&format!(" --env {environment}"));
    }
    up
}

/// The instance of a workspace.
pub(super) fn identity(workspace: &Workspace) -> Identity {
    Identity {
        directory: workspace.directory().to_owned(),
        file: workspace.file().file_name().unwrap_or_default().to_owned(),
        environment: workspace.environment().cloned(),
    }
}

/// An instance whose file was removed under it, nearer than the workspace that is found now.
fn nearer(places: &Places, found: &Workspace) -> Option<Identity> {
    let start = std::env::current_dir().ok()?;
    let left = left_behind(places, &start, found.environment())?;
    (left.directory != found.directory() && left.directory.starts_with(found.directory())).then_some(left)
}

/// An instance whose file was removed under it: the nearest in the current directory and those above it.
fn left_behind(places: &Places, start: &Path, environment: Option<&Name>) -> Option<Identity> {
    let living = instance::list(places).unwrap_or_default();
    let is_it = |owner: &Owner, directory: &Path| {
        let environment = environment.map(Name::as_str);
        owner.file == FILE
            && owner.environment.as_deref() == environment
            && Path::new(&owner.directory) == directory
    };
    start.ancestors().find(|directory| living.iter().any(|owner| is_it(owner, directory))).map(|directory| {
        Identity { directory: directory.to_owned(), file: FILE.into(), environment: environment.cloned() }
    })
}
