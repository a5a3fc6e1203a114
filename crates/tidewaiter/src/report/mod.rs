//! What is printed: JSON lines for machines, an account for a person.

mod attack;
pub(crate) mod audit;
pub(crate) mod case;
mod community;
pub(crate) mod escape;
mod id;
pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod links;
pub(crate) mod paper;
mod sources;
pub(crate) mod stats;
pub(crate) mod text;

pub use sources::Sources;
