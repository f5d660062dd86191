//! HTTP/2 on the wire: frames to send, and a reader that decodes everything.

pub mod beside;
pub mod frames;
pub mod headers;
pub mod library;
pub mod reader;
pub mod story;

/// The preface with which a client's connection begins (RFC 9113, 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
