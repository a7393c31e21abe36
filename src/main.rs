//! Arguments to runtime to command to exit code; no decision is made here.

fn main() {}
