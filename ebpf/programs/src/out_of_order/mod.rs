//! The out-of-order buffer holds segments that cannot be read yet, because earlier bytes are missing or another CPU is
//! reading the connection (see [`ebb_parser::out_of_order`]).
//!
//! Only ingress has a buffer. The egress programs see the packets of a connection in the order in which TCP sends them,
//! one packet at a time, including retransmitted packets.

mod drain;
mod piece;
mod share;
mod store;

pub use drain::{
    Work, drain_all_http1, drain_all_http2, drain_http1, drain_http2, read_a_head, read_all,
    read_nothing,
};
pub use piece::{key, load};
pub use share::Share;
pub use store::{clear, store_packet};
