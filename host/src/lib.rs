//! What this machine is and what it allows.
//!
//! - [`clock`]: the one clock of every `_ns` value.
//! - [`root`]: where `/proc` and `/sys` are read; a fake root makes every planner here testable.
//! - [`limits`], [`tables`], [`ports`], [`cgroup`], [`cores`]: what may be used, and plans that fit into it.
//! - [`facts`]: the machine in the run record.
//! - [`netns`]: a private network namespace with its own settings.
//! - [`heap`]: what the allocator keeps.
//! - [`scheduling`]: how threads take turns on a core.
//! - [`sampler`]: what the machine and its processes use, once a second.
//!
//! Nothing here keeps global state. Everything is called from the control plane, save [`clock`],
//! [`limits::private_file_table`] and [`scheduling`], which a data thread calls on itself.

pub mod cgroup;
pub mod clock;
pub mod cores;
pub mod facts;
pub mod heap;
pub mod limits;
mod netlink;
pub mod netns;
pub mod ports;
pub mod root;
pub mod sampler;
pub mod scheduling;
mod sys;
pub mod tables;
