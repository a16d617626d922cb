//! Authentication: passwords, tokens, API keys, tickets, link signatures, and the secret behind them.

pub mod api_key;
pub mod first_start;
pub mod hashing;
pub mod issuer;
pub mod logged_out;
pub mod login;
pub mod network;
pub mod password;
pub mod refresh;
pub mod secret;
pub mod signature;
pub mod throttle;
pub mod ticket;
pub mod token;
mod turns;
