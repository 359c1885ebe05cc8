//! The table of platforms that an agent can be made for: systems and processors.
//!
//! The build script of `cli` includes this file too, so it uses the standard library alone.

/// A system on a processor that an agent can be made for.
#[derive(Debug, PartialEq, Eq)]
pub struct Platform {
    /// The output of `uname -s` there.
    pub system: &'static str,
    /// The output of `uname -m` there. Messages show the first name.
    pub machines: &'static [&'static str],
    /// The name of the agent's file in the folder that `CONVERGE_AGENTS` names.
    pub file: &'static str,
    /// The processor in the header of an ELF file (`e_machine`).
    pub elf_machine: u16,
}

/// The platform whose agent every build makes.
pub static BUILT: &Platform = &PLATFORMS[0];

/// Every platform that an agent can be made for. A new platform is a new row here.
pub static PLATFORMS: [Platform; 3] = [
    Platform {
        system: "Linux",
        machines: &["x86_64", "amd64"],
        file: "converge-agent-x86_64-linux",
        elf_machine: 62,
    },
    Platform {
        system: "Linux",
        machines: &["aarch64", "arm64"],
        file: "converge-agent-aarch64-linux",
        elf_machine: 183,
    },
    Platform {
        system: "Linux",
        machines: &["riscv64"],
        file: "converge-agent-riscv64-linux",
        elf_machine: 243,
    },
];
