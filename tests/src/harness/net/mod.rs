//! Networks of a test's own that lose, delay and duplicate packets: unnamed network namespaces, which disappear with the
//! last file descriptor and process that use them.

mod faults;
mod namespace;
mod pair;
mod relay;

pub use faults::Faults;
pub use namespace::{NetNs, allow_fast_open};
pub use pair::{CLIENT, Pair, SERVER};
pub use relay::Relay;

pub(super) use pair::loses_packets;
