//! Stored detections for readers: [`cache`] is the actor that answers them, [`store`] where it keeps encoded answers, in
//! memory and in a Redis that nodes share.

pub mod cache;
pub mod store;
