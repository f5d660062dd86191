//! `ebb-sample`: a small HTTP/1.1 and HTTP/2 server whose own counts are exact.
//!
//! The server is the oracle of the accuracy tests and the service of the demo. Bias: correctness over speed. One lock
//! protects three numbers, and a guard lives exactly as long as its request. Failure mode: loud. A query that the server
//! does not understand is a 400.

mod answer;
mod ask;
mod burn;
mod gauge;
mod options;
mod serve;

pub use options::Options;
pub use serve::run;
