//! Progress of exports: [`message`] is what is sent, [`hub`] the actor that fans it out to subscribers of this node, [`relay`] brings it to the
//! other nodes, [`remote`] theirs to the hub. Requests go to the [`service`].

pub mod hub;
pub mod message;
pub mod relay;
pub mod remote;
pub mod service;
