//! `ebb-sample`: a small HTTP/1.1 and HTTP/2 server whose own counts are exact.
//!
//! It is the oracle of the accuracy tests and the service of the demo, so it is biased towards
//! being beyond doubt rather than being fast: one lock around three numbers, and a guard that
//! lives exactly as long as the request. It fails loudly: a query it does not understand is a 400.

mod answer;
mod ask;
mod burn;
mod gauge;
mod options;
mod serve;

pub use options::Options;
pub use serve::run;
