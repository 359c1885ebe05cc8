//! The common code of several kinds: edited, rendered and replaced files, attributes, names of accounts, programs.

pub mod account_names;
pub mod attributes;
pub mod edited_file;
pub mod kernel_value;
pub mod lines;
pub mod parent_folder;
pub mod programs;
pub mod rendered_file;
pub mod replace_file;
