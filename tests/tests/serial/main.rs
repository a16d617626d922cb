//! Scenarios that measure times or load the whole machine: one at a time.

mod devices;
mod fairness;
mod kills;
mod latency;
mod listeners;
mod load;
mod redis_away;
