//! The daemon that looks for drift on schedule.
