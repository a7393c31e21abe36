//! The signals that ask the program to stop.

use std::io;

/// Waits for requests to stop: SIGINT, SIGTERM and SIGHUP on Unix; Ctrl-C, Ctrl-Break, a closing console, a logoff
/// and a shutdown on Windows.
#[derive(Debug)]
pub struct StopSignals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    /// None where it was ignored when the program was started (`nohup`): then it stays so.
    hangup: Option<tokio::signal::unix::Signal>,
    #[cfg(windows)]
    ctrl_c: tokio::signal::windows::CtrlC,
    #[cfg(windows)]
    ctrl_break: tokio::signal::windows::CtrlBreak,
    #[cfg(windows)]
    ctrl_close: tokio::signal::windows::CtrlClose,
    #[cfg(windows)]
    ctrl_logoff: tokio::signal::windows::CtrlLogoff,
    #[cfg(windows)]
    ctrl_shutdown: tokio::signal::windows::CtrlShutdown,
}

/// Which request it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// From the keyboard.
    Interrupt,
    /// From another program or the system.
    Terminate,
}

impl StopSignals {
    /// Takes over the process's stop signals; call it before anything that must be cleaned up is started.
    ///
    /// # Errors
    /// When the operating system refuses to register a handler.
    #[cfg(unix)]
    pub fn register() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: (!ignores_hangup()).then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// Takes over the process's stop signals; call it before anything that must be cleaned up is started.
    ///
    /// # Errors
    /// When the operating system refuses to register a handler.
    #[cfg(windows)]
    pub fn register() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};
        Ok(Self {
            ctrl_c: ctrl_c()?,
            ctrl_break: ctrl_break()?,
            ctrl_close: ctrl_close()?,
            ctrl_logoff: ctrl_logoff()?,
            ctrl_shutdown: ctrl_shutdown()?,
        })
    }

    /// The next request to stop. Cancel-safe.
    #[cfg(unix)]
    pub async fn next(&mut self) -> StopSignal {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
            // The terminal is gone, or the connection to it.
            _ = hangup => StopSignal::Terminate,
        }
    }

    /// The next request to stop. Cancel-safe.
    #[cfg(windows)]
    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.ctrl_c.recv() => StopSignal::Interrupt,
            _ = self.ctrl_break.recv() => StopSignal::Terminate,
            _ = self.ctrl_close.recv() => StopSignal::Terminate,
            _ = self.ctrl_logoff.recv() => StopSignal::Terminate,
            _ = self.ctrl_shutdown.recv() => StopSignal::Terminate,
        }
    }
}

/// Whether whoever started us had SIGHUP ignored.
#[cfg(target_os = "linux")]
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The first bit is the first signal, which is SIGHUP.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// The system does not tell without being asked in an unsafe way.
#[cfg(all(unix, not(target_os = "linux")))]
fn ignores_hangup() -> bool {
    false
}
