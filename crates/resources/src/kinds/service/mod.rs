//! `service`: a unit that runs, and is started at boot.
