//! What HTTP/1 and HTTP/2 have in common: fields and content codings.

pub(crate) mod coding;
pub(crate) mod fields;
