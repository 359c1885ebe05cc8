//! The system that the agent runs on: dpkg and apt, systemd over D-Bus, processes.

pub mod processes;
