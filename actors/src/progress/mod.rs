//! Progress of exports: [`message`] is what is sent, [`hub`] the actor that fans it out to subscribers of this node, [`relay`] brings it to the
//! other nodes.

pub mod hub;
pub mod message;
pub mod relay;
