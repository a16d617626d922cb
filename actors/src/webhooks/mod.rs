//! Telling others what happened: messages of the outbox, signed and delivered ([Standard Webhooks] 1.0).
//!
//! * [`sender`]: the actor that takes what is due to its receivers, and tries again.
//! * [`signature`]: secrets and signatures. [`address`]: where a message may not go.
//!
//! [Standard Webhooks]: https://www.standardwebhooks.com

pub mod address;
pub mod sender;
pub mod signature;

pub use address::{AddressError, check_url};
pub use sender::WebhookSender;
pub use signature::new_secret;
