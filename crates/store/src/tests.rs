//! The store as its callers use it.

mod contents;
mod knowledge;
mod persistence;
