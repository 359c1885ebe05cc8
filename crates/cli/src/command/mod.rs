//! The commands, one file each: the arguments, the help (in the doc comments) and the code.

pub(crate) mod apply;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod docs;
pub(crate) mod doctor;
pub(crate) mod drift;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod facts;
pub(crate) mod fmt;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod inventory;
pub(crate) mod module;
pub(crate) mod ping;
pub(crate) mod plan;
pub(crate) mod secrets;
pub(crate) mod version;
pub(crate) mod watch;
