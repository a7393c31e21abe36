//! `admin.localhost`: whoever tests against an emulator makes things go wrong in it, and sees what it holds, while it
//! runs. Azure has nothing like it; it is there only where its owner opened it, and for whoever has the emulator's token.

use std::fmt;
use std::sync::Arc;

use serde_json::json;

use super::access::TENANT;
use super::http::{Request, Response};
use super::log::{EntryKind, RequestEntry};
use super::verdict::Verdict;
use super::world::World;
use crate::model::Fault;
use crate::sys::clock;

/// Reads a fault from the words that the configuration has for it; or says what is wrong with them.
type Reading = dyn Fn(&[(String, String)]) -> Result<Fault, String> + Send + Sync;

/// Reads the faults that are asked for.
#[derive(Clone)]
pub struct Admin(Arc<Reading>);

impl Admin {
    /// Faults are read so.
    pub fn new(read: impl Fn(&[(String, String)]) -> Result<Fault, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

/// Where one asks.
pub(super) const HOST: &str = "admin.localhost";

/// What there is to ask.
const HELP: &str = "\
GET    /sessions   what was opened, deleted and lost, and what is open\n\
POST   /faults     something goes wrong: phase=token do=503 times=3 target=web after=64KiB\n\
DELETE /faults     nothing goes wrong any more\n\
POST   /vanish     a node goes away: node=ID, or every node that has a session\n\
POST   /move-pods  Developer bastions are served by other pods\n";

pub(super) fn judge(world: &World, admin: &Admin, request: &Request) -> Verdict {
    let entry = RequestEntry::of(EntryKind::Admin, request);
    Verdict::answer(entry, answer(world, admin, request))
}

fn answer(world: &World, admin: &Admin, request: &Request) -> Response {
    let token = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
    if token.is_none_or(|token| world.tokens.check_in(TENANT, token, clock::now()).is_err()) {
        return Response::text(401, "The emulator's token is needed: Authorization: Bearer TOKEN\n");
    }
    let fields = || form_urlencoded::parse(&request.body).into_owned().collect::<Vec<_>>();
    match (request.method.as_str(), request.path()) {
        ("GET", "/") => Response::text(200, HELP),
        ("GET", "/sessions") => {
            let counts = world.sessions.counts();
            Response::json(
                200,
                &json!({
                    "opened": counts.opened,
                    "deleted": counts.deleted,
                    "lost": counts.lost,
                    "live": counts.live,
                    "streams": counts.streams,
                    "violations": counts.violations,
                    "warnings": counts.warnings,
                }),
            )
        }
        ("POST", "/faults") => match (admin.0)(&fields()) {
            Ok(fault) => {
                world.faults.inject(fault);
                Response::empty(204)
            }
            Err(report) => Response::text(400, &report),
        },
        ("DELETE", "/faults") => {
            world.faults.clear();
            Response::empty(204)
        }
        ("POST", "/vanish") => {
            let node = fields().into_iter().find(|(name, _)| name == "node").map(|(_, node)| node);
            let lost = match node {
                Some(node) => world.sessions.vanish(&node),
                None => world.sessions.vanish_all(),
            };
            world.journal.log().stir();
            Response::json(200, &json!({ "lost": lost }))
        }
        ("POST", "/move-pods") => {
            world.move_pods();
            Response::empty(204)
        }
        _ => Response::text(404, HELP),
    }
}
