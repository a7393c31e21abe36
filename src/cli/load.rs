//! Finding and loading the workspace, with every mistake in it shown.

use std::collections::BTreeSet;
use std::path::Path;

use super::running::identity;
use super::settings::Settings;
use super::{ExitStatus, Failure, nearest};
use crate::config::{AZ_SUBSCRIPTION, Loaded, Value, Variables};
use crate::instance::{Places, Ports, Worktrees};
use crate::model::{
    AzCurrent, AzSubscription, Cloud, CloudDefinition, Desired, Name, NetworkRules, printable,
};
use crate::sys::socket;
use crate::ui::{Printer, count};
use crate::workspace::{Checkout, Files, FindError, ReadError, Where, Workspace};

/// Finds the workspace that the flags and the environment mean.
pub(super) fn find(settings: &Settings) -> Result<Workspace, Failure> {
    let found = Workspace::find(&place(settings)?).map_err(|error| not_found(&error))?;
    Ok(numbered(found, &settings.places()))
}

/// A workspace as that of the git worktree that it is in, which has a number or would be given one.
pub(super) fn numbered(workspace: Workspace, places: &Places) -> Workspace {
    match workspace.checkout() {
        Some(Checkout { root, common, .. }) => {
            let number = Worktrees::of(places, &common).number(&root);
            workspace.in_worktree(number)
        }
        None => workspace,
    }
}

/// Where the flags and the environment would have a workspace looked for.
pub(super) fn place(settings: &Settings) -> Result<Where, Failure> {
    Ok(Where {
        file: settings.file.clone(),
        environment: settings.environment.as_deref().map(environment).transpose()?,
        home: settings.home.clone(),
        user_config: settings.user_config.clone(),
    })
}

/// That no workspace was found.
pub(super) fn not_found(error: &FindError) -> Failure {
    let status = match error {
        FindError::CurrentDirectory(_) => ExitStatus::Failed,
        FindError::None { .. } | FindError::Foreign { .. } | FindError::Local => ExitStatus::Usage,
    };
    with_hint(Failure::new(status, error.to_string()), error.hint())
}

/// Reads all layers of a workspace.
pub(super) fn read(workspace: &Workspace) -> Result<Files, Failure> {
    workspace.read().map_err(|error| not_read(&error))
}

/// That the files of a workspace cannot be read.
pub(super) fn not_read(error: &ReadError) -> Failure {
    with_hint(Failure::new(ExitStatus::Usage, error.to_string()), error.hint().as_deref())
}

/// What the files say, without a mistake.
pub(super) struct Checked {
    /// What they declare.
    pub(super) desired: Desired,
    /// Every value that a file sets.
    pub(super) values: Vec<Value>,
    /// What the user's own configuration says of the way to Azure.
    pub(super) network: NetworkRules,
    /// The clouds that the user's own configuration defines.
    clouds: Vec<CloudDefinition>,
    /// az's current subscription, where no file names one.
    pub(super) az: Option<AzSubscription>,
}

/// Finds, reads and checks the workspace's files; every mistake in them is shown.
pub(super) fn load(settings: &Settings, printer: Printer) -> Result<Desired, Failure> {
    checked(settings, printer, "nothing was started").map(|checked| checked.desired)
}

/// What the user's own configuration says of the way to Azure, for a command that has no workspace; and what a mistake in
/// it leads to.
pub(super) fn network(settings: &Settings, printer: Printer, so: &str) -> Result<NetworkRules, Failure> {
    match Workspace::none(&place(settings)?, None) {
        Some(none) => Ok(checked_in(&none, settings, printer, so)?.network),
        None => Ok(NetworkRules::default()),
    }
}

/// The cloud that a word means, a built-in one or one of the user's own, and the way there, for a command that has no
/// workspace.
pub(super) fn cloud(
    word: &str,
    settings: &Settings,
    printer: Printer,
) -> Result<(Cloud, NetworkRules), Failure> {
    let built_in = Cloud::BUILT_IN.iter().find(|(name, _)| *name == word);
    if let Some((_, cloud)) = built_in {
        return Ok((cloud.clone(), network(settings, printer, "nothing was started")?));
    }
    let mut defined = Vec::new();
    if let Some(none) = Workspace::none(&place(settings)?, Some(word)) {
        let Checked { clouds, network, .. } = checked_in(&none, settings, printer, "nothing was started")?;
        if let Some(meant) = clouds.iter().find(|cloud| cloud.name.as_str() == word) {
            return Ok((Cloud::Defined(Box::new(meant.clone())), network));
        }
        defined = clouds;
    }
    let known = Cloud::BUILT_IN.iter().map(|(name, _)| *name);
    let known: Vec<&str> = known.chain(defined.iter().map(|cloud| cloud.name.as_str())).collect();
    let hint = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "there are: {}; your own configuration defines others as `[clouds.NAME]`",
            known.join(", ")
        ),
    };
    let what = format!("there is no cloud `{}` [unknown-cloud]", printable(word, 100));
    Err(Failure::new(ExitStatus::Usage, what).hint(&hint))
}

/// As [`load`], with what a mistake leads to.
pub(super) fn checked(settings: &Settings, printer: Printer, so: &str) -> Result<Checked, Failure> {
    checked_in(&find(settings)?, settings, printer, so)
}

/// As [`checked`], of a workspace that was found.
pub(super) fn checked_in(
    workspace: &Workspace,
    settings: &Settings,
    printer: Printer,
    so: &str,
) -> Result<Checked, Failure> {
    read_in(workspace, settings, printer, so, Subscription::Needed)
}

/// As [`checked`], for a command that goes to no subscription: who is signed in to az does not matter to it yet.
pub(super) fn checked_for_identities(
    settings: &Settings,
    printer: Printer,
    so: &str,
) -> Result<Checked, Failure> {
    read_in(&find(settings)?, settings, printer, so, Subscription::OfNoInterest)
}

/// Whether a command goes to the subscription that the files mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subscription {
    Needed,
    OfNoInterest,
}

fn read_in(
    workspace: &Workspace,
    settings: &Settings,
    printer: Printer,
    so: &str,
    subscription: Subscription,
) -> Result<Checked, Failure> {
    let files = read(workspace)?;
    let variables = settings.variables(&files.mentioned(), settings.environment.as_deref());
    let mut loaded = files.load(&variables, settings.az());
    let other = but_for_az(&files, &variables, &loaded, settings);
    let signed_out = other.is_some();
    if subscription == Subscription::OfNoInterest
        && let Some(other) = other
    {
        loaded = other;
    }
    let Loaded { desired, network, clouds, az, diagnostics, warnings, values } = loaded;
    let layers = files.layers();
    let source = files.source(&layers, &variables, settings.az());
    // `check` warns of whose subscription it is; whoever runs something has seen it there, or is told on one line.
    let warnings = warnings.iter().filter(|warning| warning.code != AZ_SUBSCRIPTION);
    for diagnostic in warnings.chain(&diagnostics) {
        printer.report(&diagnostic.render(&source, printer.colors()));
        printer.report("");
    }
    let mut desired = desired.ok_or_else(|| {
        if signed_out {
            let what = format!("nobody is signed in to az, and no file names a subscription; {so} [sign-in]");
            return Failure::new(ExitStatus::SignIn, what)
                .hint("`az login`, or add `subscription = \"…\"` to `[azure]`");
        }
        let mistakes = count(diagnostics.len(), "mistake");
        let paths: BTreeSet<&str> = diagnostics.iter().map(|found| found.path(&source)).collect();
        let what = match (paths.len(), paths.first()) {
            (1, Some(path)) => printable(path, 400),
            _ => format!("{} with its layers", shown(files.workspace().shown())),
        };
        Failure::new(ExitStatus::Usage, format!("{what} has {mistakes}; {so}"))
    })?;
    allot(&mut desired, workspace, &settings.places());
    Ok(Checked { desired, values, network, clouds, az })
}

/// Gives tunnels their ports that leave them to us.
pub(super) fn allot(desired: &mut Desired, workspace: &Workspace, places: &Places) {
    if desired.tunnels.values().any(|tunnel| tunnel.auto) {
        Ports::load(places, &identity(workspace)).allot(desired, &socket::quiet_ports());
    }
}

/// What the files say if nothing is wrong but that az, which would know the subscription, has nobody signed in.
fn but_for_az(files: &Files, variables: &Variables, loaded: &Loaded, settings: &Settings) -> Option<Loaded> {
    if loaded.desired.is_some() || *settings.az() != AzCurrent::SignedOut {
        return None;
    }
    let own = loaded.clouds.iter().map(|cloud| Cloud::Defined(Box::new(cloud.clone())));
    let clouds = Cloud::BUILT_IN.iter().map(|(_, cloud)| cloud.clone()).chain(own);
    let mut all = clouds.map(|cloud| files.load(variables, &AzCurrent::Is(AzSubscription::unknown(&cloud))));
    all.find(|loaded| loaded.desired.is_some())
}

fn environment(text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(|error| {
        let what = format!("`{}` cannot be the name of an environment: {error}", text.escape_debug());
        Failure::new(ExitStatus::Usage, what).hint("`--env` and BASTION_ENV name one")
    })
}

fn with_hint(failure: Failure, hint: Option<&str>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A path for messages: whoever named a directory must not write to the terminal with it.
pub(super) fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy(), 400)
}
