//! Segments that are put aside, and read when their turn comes (see [`ebb_common::stash`]).
//!
//! Only the way in: what leaves is seen in order, one packet at a time, and again in the same order when it is sent
//! again.

mod fill;
mod keep;
mod piece;
mod share;

pub use fill::{
    Work, fill_all_http1, fill_all_http2, fill_http1, fill_http2, read_a_head, read_all_http1,
    read_all_http2, read_nothing,
};
pub use keep::{clear, keep};
pub use piece::{key, load};
pub use share::Share;
