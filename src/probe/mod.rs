//! What is said to a target to see whether it answers, and what counts as an answer.
//!
//! A probe is given an open stream and says what came of it, within a bounded time and after a bounded number of bytes.
//! It believes nothing of what it hears: whose target it is, the program that uses the tunnel has to find out.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::carrier::{Break, ByteStream, Received};
use crate::model::{Probe, Reason};

mod http;
mod tls;

/// How long a stream has to stay open to count as taken.
const MOMENT: Duration = Duration::from_secs(1);
/// How long a target may take to say what it has to say.
const PATIENCE: Duration = Duration::from_secs(10);
/// No answer has to be read further to be judged.
const ENOUGH: usize = 64;

/// What came of a probe.
#[derive(Debug)]
pub struct Shown {
    /// Whether it was shown, and if not, why.
    pub result: Result<(), Reason>,
    /// Whether the stream is broken: there is nobody to say goodbye to.
    pub broken: bool,
}

/// What an answer is, so far.
enum Verdict {
    /// It is as it should be.
    Fits,
    /// It is not: what it is, and what may help.
    Differs(String, Option<&'static str>),
    /// It is too short to say.
    More,
}

/// Why a stream says no more.
enum Gone {
    /// It was ended.
    Ended,
    /// It broke.
    Broken(Break),
}

/// Shows what is to be shown, through a stream that was opened for that. `target` is its port and its name, for people.
pub async fn ask<S: ByteStream>(probe: &Probe, stream: &mut S, target: &str) -> Shown {
    let asked = async {
        match probe {
            // A stream was granted, which is more than was asked for.
            Probe::None | Probe::Session => Ok(()),
            Probe::Connect => connect(stream).await.map_err(|gone| refused(gone, target)),
            Probe::Banner => first(stream).await.map(drop).map_err(|gone| refused(gone, target)),
            Probe::Tls => answer(stream, tls::client_hello(), tls::judge, target).await,
            Probe::Http(path) => answer(stream, Ok(http::request(path)), http::judge, target).await,
        }
    };
    // A stream that is let go in the middle is as it was.
    let shown = match timeout(PATIENCE, asked).await {
        Ok(result) => result,
        Err(_elapsed) => Err((silent(probe, target), false)),
    };
    Shown { broken: matches!(&shown, Err((_, true))), result: shown.map_err(|(reason, _)| reason) }
}

/// A reason, and whether the stream is broken.
type Failed = (Reason, bool);

/// Nobody refuses the stream for a moment; a byte is proof enough.
async fn connect<S: ByteStream>(stream: &mut S) -> Result<(), Gone> {
    match timeout(MOMENT, first(stream)).await {
        Ok(said) => said.map(drop),
        Err(_nobody_minds) => Ok(()),
    }
}

/// The next bytes that the target says.
async fn first<S: ByteStream>(stream: &mut S) -> Result<Bytes, Gone> {
    match poll_fn(|cx| stream.poll_recv(cx)).await {
        Received::Data(bytes) => Ok(bytes),
        Received::End { .. } => Err(Gone::Ended),
        Received::Broken(broken) => Err(Gone::Broken(broken)),
    }
}

/// The target is asked something, and its answer fits.
async fn answer<S: ByteStream>(
    stream: &mut S,
    question: Result<Vec<u8>, Reason>,
    judge: fn(&[u8]) -> Verdict,
    target: &str,
) -> Result<(), Failed> {
    let question = question.map_err(|reason| (reason, false))?;
    send(stream, question).await.map_err(|broken| refused(Gone::Broken(broken), target))?;
    let mut heard = Vec::with_capacity(ENOUGH);
    loop {
        let bytes = match first(stream).await {
            Ok(bytes) => bytes,
            Err(gone) if heard.is_empty() => return Err(refused(gone, target)),
            Err(gone) => {
                let what = format!("{target} began an answer and did not end it");
                return Err((reason("probe-failed", what, None), matches!(gone, Gone::Broken(_))));
            }
        };
        heard.extend(bytes.iter().take(ENOUGH - heard.len()));
        match judge(&heard) {
            Verdict::Fits => return Ok(()),
            Verdict::More if heard.len() < ENOUGH => {}
            Verdict::More => return Err((reason("probe-failed", unknown(target), None), false)),
            Verdict::Differs(what, hint) => {
                return Err((reason("probe-failed", format!("{target} {what}"), hint), false));
            }
        }
    }
}

async fn send<S: ByteStream>(stream: &mut S, question: Vec<u8>) -> Result<(), Break> {
    poll_fn(|cx| stream.poll_ready(cx)).await?;
    stream.send(question.into())?;
    poll_fn(|cx| stream.poll_flush(cx)).await
}

/// What it means that a stream is gone before the target has said a word.
fn refused(gone: Gone, target: &str) -> Failed {
    let nothing_there = Some("does something listen there, and does it let the bastion's subnet in?");
    match gone {
        Gone::Ended => {
            let what = format!("the connection to {target} was closed before a byte came");
            (reason("target-refused", what, nothing_there), false)
        }
        // How a gateway says that it could not connect.
        Gone::Broken(broken) if broken.code == "gateway-close" => {
            let what = format!("the connection to {target} was refused: {broken}");
            (reason("target-refused", what, nothing_there), true)
        }
        // Nothing that the target has done.
        Gone::Broken(broken) => (reason(broken.code, broken.to_string(), None), true),
    }
}

fn silent(probe: &Probe, target: &str) -> Reason {
    let seconds = PATIENCE.as_secs();
    let (what, hint) = match probe {
        Probe::Banner => (
            format!("not one byte came from {target} in {seconds} s"),
            "is the machine running, does something that speaks first listen there, does its network security group let the bastion in?",
        ),
        Probe::None | Probe::Session | Probe::Connect | Probe::Tls | Probe::Http(_) => (
            format!("{target} did not answer in {seconds} s"),
            "is the machine running, does something listen there, does its network security group let the bastion in?",
        ),
    };
    reason("target-silent", what, Some(hint))
}

fn unknown(target: &str) -> String {
    format!("{target} answered at length, and nothing that was asked for")
}

fn reason(code: &'static str, what: String, hint: Option<&str>) -> Reason {
    Reason { code: code.into(), what, hint: hint.map(str::to_owned) }
}

#[cfg(test)]
mod tests;
