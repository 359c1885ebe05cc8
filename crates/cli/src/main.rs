//! The command-line tool.
mod view;
fn main() {}
