//! What is declared, for the supervisor: the workspace's files, with what their user allowed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::azure::EmulatorHere;
use super::load::{allot, shown};
use super::neighbour::neighbour;
use super::running::identity;
use crate::config::{Loaded, NO_SUBSCRIPTION, Variables};
use crate::instance::{Grants, Places, Ports, Worktrees};
use crate::model::{Cloud, Desired, Name, NetworkRules, Reason, chain};
use crate::supervisor::{Asking, Declared, Rejected, Setting, Source};
use crate::ui::count;
use crate::workspace::{Checkout, Workspace};

/// The key that makes the number of the git worktree count.
pub(super) const WORKTREE_OFFSET: &str = "defaults.worktree_offset";

/// A workspace's files.
pub(super) struct WorkspaceFiles {
    pub(super) workspace: Workspace,
    pub(super) places: Places,
    /// The cloud that the instance was started in.
    pub(super) cloud: Cloud,
    /// The way to Azure that the instance was started with.
    pub(super) network: NetworkRules,
    /// The emulator that follows the files, when there is one in this process.
    pub(super) emulator: Option<Arc<EmulatorHere>>,
}

/// A declaration that never changes.
pub(super) struct Fixed {
    pub(super) desired: Desired,
    pub(super) places: Places,
}

impl Source for WorkspaceFiles {
    fn read(&self, setting: &Setting) -> Result<Declared, Rejected> {
        let mut files = self.workspace.read().map_err(|error| Rejected {
            code: "rejected",
            what: error.to_string(),
            hint: error.hint(),
            report: None,
        })?;
        if files.is_blank() {
            // Some programs empty a file before they write it; whoever means it can type `bastion down`.
            let what = format!("{} is empty", shown(self.workspace.shown()));
            return Err(Rejected { code: "rejected", what, hint: None, report: None });
        }
        let variables: Variables = setting.variables.clone().into_iter().collect();
        let mut loaded = files.load(&variables, &setting.az);
        if let Some(number) = self.worktree(&loaded).filter(|number| *number != self.workspace.worktree()) {
            files = files.in_worktree(number);
            loaded = files.load(&variables, &setting.az);
        }
        let Loaded { desired, network, diagnostics, .. } = loaded;
        let Some(mut desired) = desired else {
            let layers = files.layers();
            let source = files.source(&layers, &variables, &setting.az);
            let mut report: Vec<String> =
                diagnostics.iter().map(|found| found.render(&source, false).trim_end().to_owned()).collect();
            if diagnostics.iter().any(|found| found.code == NO_SUBSCRIPTION) {
                // A sign-in since then would not be seen here.
                report
                    .push("az is asked by `bastion up` and `bastion reload` only, not at an edit".to_owned());
            }
            let mistakes = count(diagnostics.len(), "mistake");
            return Err(Rejected {
                code: "rejected",
                what: format!("{} has {mistakes}", shown(self.workspace.shown())),
                hint: None,
                report: Some(report.join("\n\n")),
            });
        };
        // Whom a token is for is decided when an instance starts: no edit takes one elsewhere.
        if desired.cloud != self.cloud {
            let what = "the workspace lives in another cloud now than when this was started".to_owned();
            let hint = Some("`bastion down`, then `bastion up`".to_owned());
            return Err(Rejected { code: "cloud-changed", what, hint, report: None });
        }
        if network != self.network {
            tracing::warn!(
                "`[network]` of your own configuration has changed: that takes effect when `bastion up` starts again"
            );
        }
        allot(&mut desired, &self.workspace, &self.places);
        let withheld = self.withheld(&desired, setting);
        Ok(Declared { desired, withheld })
    }

    fn accept(&self, declared: &Declared) -> Result<(), Rejected> {
        let Some(emulator) = &self.emulator else { return Ok(()) };
        emulator.update(&declared.desired.emulation).map_err(|what| Rejected {
            code: "rejected",
            what,
            hint: None,
            report: None,
        })
    }

    fn paths(&self) -> Vec<PathBuf> {
        let grants = Grants::load(&self.places, self.workspace.file());
        self.workspace.paths().into_iter().chain([grants.path().to_owned()]).collect()
    }

    fn remember(&self, ports: &BTreeMap<Name, u16>) {
        let remembered = Ports::load(&self.places, &identity(&self.workspace)).remember(ports);
        if let Err(error) = remembered {
            tracing::warn!("{}; they may be others the next time", chain(&error));
        }
    }

    fn neighbour(&self, process: u32) -> Asking<'_> {
        Box::pin(neighbour(&self.places, process))
    }
}

impl WorkspaceFiles {
    /// The number of the git worktree, where the files make use of it: from now on it is this one's.
    fn worktree(&self, loaded: &Loaded) -> Option<u16> {
        let used = loaded.values.iter().any(|value| value.key == WORKTREE_OFFSET);
        let Checkout { root, git, common } = self.workspace.checkout().filter(|_| used)?;
        let claimed = Worktrees::of(&self.places, &common).claim(&root, &git);
        claimed.inspect_err(|error| tracing::warn!("{}; another one may take it", chain(error))).ok()
    }

    /// The tunnels whose grants are not given, each with the first that is missing.
    fn withheld(&self, desired: &Desired, setting: &Setting) -> BTreeMap<Name, Reason> {
        let wanted = desired.grants_wanted();
        if wanted.is_empty() {
            return BTreeMap::new();
        }
        let grants = Grants::load(&self.places, self.workspace.file());
        if let Some(problem) = grants.problem() {
            tracing::warn!("{problem}");
        }
        let missing = |(name, grant): (Name, crate::model::Grant)| {
            if setting.allowed.contains(&grant.kind) || grants.contains(&grant) {
                return None;
            }
            let kind = grant.kind.word();
            let reason = Reason {
                code: "needs-allow".into(),
                what: format!("{}, which you have not allowed", grant.what),
                hint: Some(format!(
                    "`bastion allow` shows it and asks; `bastion up --allow {kind}` allows it for this time"
                )),
            };
            Some((name, reason))
        };
        // In reverse, so that the first of a tunnel's stands.
        wanted.into_iter().rev().filter_map(missing).collect()
    }
}

impl Source for Fixed {
    fn read(&self, _setting: &Setting) -> Result<Declared, Rejected> {
        Ok(Declared { desired: self.desired.clone(), withheld: BTreeMap::new() })
    }

    fn accept(&self, _declared: &Declared) -> Result<(), Rejected> {
        Ok(())
    }

    fn paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn neighbour(&self, process: u32) -> Asking<'_> {
        Box::pin(neighbour(&self.places, process))
    }
}
