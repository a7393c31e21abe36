//! What the emulator does about a request: an answer, none, or a WebSocket.

use std::time::Duration;

use super::ending::Cut;
use super::http::Response;
use super::log::RequestEntry;
use super::sessions::Admission;

/// What the emulator does about a request.
pub(super) struct Verdict {
    pub(super) entry: RequestEntry,
    pub(super) reply: Reply,
    /// How much later.
    pub(super) delay: Duration,
}

/// The visible half of a [`Verdict`].
pub(super) enum Reply {
    Answer(Response),
    Cut(Cut),
    Upgrade(Box<Upgrade>),
}

/// A request that becomes a WebSocket.
pub(super) struct Upgrade {
    pub(super) admission: Admission,
    /// What is answered.
    pub(super) response: Response,
    /// A raw HTTP answer where the first frame belongs.
    pub(super) page: Option<Vec<u8>>,
    pub(super) host: String,
    pub(super) path: String,
}

impl Verdict {
    pub(super) fn answer(entry: RequestEntry, response: Response) -> Self {
        Self { entry, reply: Reply::Answer(response), delay: Duration::ZERO }
    }

    pub(super) fn reply(entry: RequestEntry, reply: Reply) -> Self {
        Self { entry, reply, delay: Duration::ZERO }
    }

    pub(super) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}
