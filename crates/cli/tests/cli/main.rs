//! Tests of the whole command line: the real binary, and its pages and layers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ad_hoc;
mod architecture;
mod documents;
mod explain;
mod firewall;
mod fmt;
mod habits;
mod history;
mod hostile;
mod imports;
mod init;
mod inventories;
mod json_page;
mod language_page;
mod mistakes;
mod modules;
mod plain_words;
mod question;
mod quickstart;
mod reference_pages;
mod secrets;
mod shop;
mod terminal;
mod world;
