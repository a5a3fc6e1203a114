//! Stand-ins.
pub(crate) mod answer;
pub(crate) mod context;
pub(crate) mod dockerfile;
pub(crate) mod urls;
