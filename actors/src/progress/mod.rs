//! Progress of exports: [`hub`] is the actor that fans it out to subscribers of this node, [`relay`] brings it to the
//! other nodes.

pub mod hub;
pub mod relay;
