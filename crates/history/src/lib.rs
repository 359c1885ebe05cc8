//! What every run did, kept: append-only, in SQLite.
