//! Arguments to runtime to command to exit code; no decision is made here.

use std::process::ExitCode;

fn main() -> ExitCode {
    bastion::cli::main(std::env::args_os()).into()
}
