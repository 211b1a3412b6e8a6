//! The configuration of a server: one JSON file, in three layouts, into a [`ServerConfig`].
//!
//! Every mistake is found at load and reported with its place, all at once. Keys and their rules
//! are in `keys`; a key that is another way to write an option is read by that option. The module
//! opens the files that are named, but no socket, and starts nothing.

mod alias;
mod binds;
mod check;
pub mod commands;
mod effective;
mod engine;
mod files;
pub mod keys;
mod layout;
mod load;
mod own;
mod problem;
mod process;
mod reload;
mod resolved;
mod schema;
mod table;
mod targets;
mod tree;

pub use alias::{AliasRun, aliases, run_alias};
pub use effective::effective;
pub use load::{Snippet, keys_of_the_process, load, parse, snippet, user_database};
pub(in crate::server) use own::own_files_of;
pub use problem::{Place, Problem, ProblemKind, Problems};
pub use reload::{LiveChange, ReloadPlan, compare, load_again, protect};
pub use resolved::{AuthConfig, EngineEntry, HttpConfig, HttpTls, Role, Secret, ServerConfig};
pub use schema::schema;
pub use table::keys_markdown;

#[cfg(test)]
mod tests;
