//! One attack in the forms that a real daemon accepts and a real network carries, and what looks
//! like it but is none.

mod destinations;
mod http3;
mod network;
mod quiet;
mod requests;
mod segments;
mod stage;
