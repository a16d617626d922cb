//! Stored detections for readers: [`service`] is what can be asked, [`cache`] the actor behind it, [`freshness`] its decisions, [`store`] where it keeps
//! encoded answers, in memory and in a Redis that nodes share.

pub mod cache;
pub mod freshness;
pub mod service;
pub mod store;
