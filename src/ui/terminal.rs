//! Standard error behind a thread of its own: whoever does not read it (a full pipe, a stopped terminal) must not stop
//! a tunnel, or the answer to a signal.
//!
//! At most [`WAITING`] lines wait to be written; beyond that, lines are dropped and counted.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How many lines may wait.
const WAITING: usize = 4096;
/// How long the last lines are waited for at the end.
const FAREWELL: Duration = Duration::from_secs(2);

static LINES: OnceLock<SyncSender<Line>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Line {
    Text(Vec<u8>),
    /// Answered when everything before it was written.
    Flush(SyncSender<()>),
}

/// Standard error for the log: each write is a whole line.
#[derive(Clone, Copy, Debug)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives a line to the thread; if too many wait already, it is dropped and counted.
pub(super) fn write(line: Vec<u8>) {
    if lines().try_send(Line::Text(line)).is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until everything was written, but not for ever.
pub fn flush() {
    let (written, wait) = sync_channel(1);
    if lines().try_send(Line::Flush(written)).is_ok() {
        // Nobody can be told that nobody reads.
        let _gone = wait.recv_timeout(FAREWELL);
    }
}

fn lines() -> &'static SyncSender<Line> {
    LINES.get_or_init(|| {
        let (lines, waiting) = sync_channel(WAITING);
        std::thread::spawn(move || write_all(&waiting));
        lines
    })
}

fn write_all(waiting: &Receiver<Line>) {
    while let Ok(line) = waiting.recv() {
        // A reader that is gone is no reason to stop.
        let mut error = anstream::stderr().lock();
        match line {
            Line::Text(text) => drop(error.write_all(&text)),
            Line::Flush(written) => drop(written.try_send(())),
        }
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            drop(writeln!(error, "warning: {dropped} lines were dropped, because nobody read them"));
        }
    }
}
