//! Attaching mid-stream: recognises the first bytes of a segment, on a connection that was open before its cgroup was
//! counted.
//!
//! Bias: the bytes before the segment are unknown, so only bytes that can hardly be anything else are recognised. If
//! counting begins in the middle of a body, the body is not recognised, and is skipped.

use crate::http2::kind;

/// Maximum number of bytes at the beginning of a segment that are examined.
pub const LOOK: usize = 16;

/// Minimum length of a segment that is examined, in bytes: the length of the head of an HTTP/2 frame.
pub const LEAST: u32 = 9;

/// Kind of data that a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Not recognised: the bytes belong to a body, or to a protocol that Ebb does not read.
    Unknown,
    /// The head of an HTTP/1 request, or the preface of HTTP/2.
    Request,
    /// The head of an HTTP/2 frame of type HEADERS.
    Headers,
    /// The head of an HTTP/2 frame of another type.
    Frame,
    /// A TLS record, which cannot be read.
    Tls,
}

/// Determines from the first [`LOOK`] bytes of a segment what the segment begins with. The first byte is in the lowest
/// bits of the first word. If the segment is shorter, the bytes after its end are zeros.
#[inline(always)]
pub fn beginning(words: [u64; 2]) -> Beginning {
    if is_request(words) {
        Beginning::Request
    } else if is_tls(words[0]) {
        Beginning::Tls
    } else if is_frame(words) {
        match frame_kind(words) {
            kind::HEADERS => Beginning::Headers,
            _ => Beginning::Frame,
        }
    } else {
        Beginning::Unknown
    }
}

/// Returns whether the bytes are a method of three to eight capitals, a space, and a target (RFC 9112, 3.2).
#[inline(always)]
fn is_request(words: [u64; 2]) -> bool {
    let mut capitals = 0;
    // The loop has no branches, so that the verifier follows one path only.
    let mut goes_on = 1u32;
    for place in 0..8 {
        let byte = (words[0] >> (place * 8)) as u8;
        goes_on &= u32::from(byte.wrapping_sub(b'A') < 26);
        capitals += goes_on;
    }
    let shift = (capitals & 7) * 8;
    // The two bytes after the method. A method of eight letters fills the first word, so these bytes are in the second
    // word.
    let behind = if capitals == 8 {
        words[1]
    } else {
        (words[0] >> shift) | (words[1] << 8 << (56 - shift))
    };
    let target = (behind >> 8) as u8;
    let is_target = target == b'/' || target == b'*' || target.is_ascii_alphanumeric();
    capitals >= 3 && behind as u8 == b' ' && is_target
}

/// Returns whether the bytes are the head of a TLS record (RFC 8446, 5.1): one of four types, and a version of 3.0 to
/// 3.4.
#[inline(always)]
fn is_tls(word: u64) -> bool {
    let [kind, major, minor, ..] = word.to_le_bytes();
    (0x14..=0x17).contains(&kind) && major == 3 && minor <= 4
}

/// Returns the type of the HTTP/2 frame whose head these bytes are.
#[inline(always)]
fn frame_kind(words: [u64; 2]) -> u8 {
    (words[0] >> 24) as u8
}

/// Returns whether the bytes are the head of an HTTP/2 frame (RFC 9113, 4.1), with a type and a length that are valid
/// together. Only types that are usual between two requests or two responses are recognised.
#[inline(always)]
fn is_frame(words: [u64; 2]) -> bool {
    const LONGEST: u64 = 1 << 14;
    let length = words[0].swap_bytes() >> 40;
    let kind = frame_kind(words);
    let flags = (words[0] >> 32) as u8;
    let stream = ((words[0] >> 40) | (words[1] << 24)) as u32;
    let stream = stream.swap_bytes();
    let of_a_stream = stream & 1 == 1 && stream >> 31 == 0;
    match kind {
        kind::DATA => of_a_stream && length <= LONGEST && flags & !0b1001 == 0,
        kind::HEADERS => of_a_stream && length <= LONGEST && length > 0 && flags & !0b10_1101 == 0,
        kind::RST_STREAM => of_a_stream && length == 4,
        kind::SETTINGS => stream == 0 && length.is_multiple_of(6) && length <= 6 * 16 && flags <= 1,
        kind::PING => stream == 0 && length == 8 && flags <= 1,
        kind::WINDOW_UPDATE => (of_a_stream || stream == 0) && length == 4 && flags == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Beginning {
        let mut there = [0; 16];
        let length = bytes.len().min(16);
        there[..length].copy_from_slice(&bytes[..length]);
        beginning([
            u64::from_le_bytes(there[..8].try_into().unwrap()),
            u64::from_le_bytes(there[8..].try_into().unwrap()),
        ])
    }

    #[test]
    fn requests() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "POST /x HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "PROPFIND /dav HTTP/1.1",
            "CONNECT host:443 HTTP/1.1",
            "GET http://host/ HTTP/1.1",
            "PRI * HTTP/2.0\r\n",
        ] {
            assert_eq!(of(line.as_bytes()), Beginning::Request, "{line}");
        }
        for line in [
            "HTTP/1.1 200 OK\r\n",
            "GET\r\nmore of a text",
            "A / and so on in it",
            "get / HTTP/1.1\r\n",
            "xxxxxxxxxxxxxxxx",
            "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n",
            "LONGMETHODS / HTTP",
        ] {
            assert_eq!(of(line.as_bytes()), Beginning::Unknown, "{line}");
        }
    }

    #[test]
    fn frames() {
        // HEADERS that end stream 3, a PING, a WINDOW_UPDATE, and SETTINGS with the ACK flag.
        let headers = b"\x00\x00\x0a\x01\x05\x00\x00\x00\x03";
        assert_eq!(of(headers), Beginning::Headers);
        for bytes in [
            &b"\x00\x00\x08\x06\x00\x00\x00\x00\x00"[..],
            &b"\x00\x00\x04\x08\x00\x00\x00\x00\x00"[..],
            &b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"[..],
        ] {
            assert_eq!(of(bytes), Beginning::Frame, "{bytes:?}");
        }
        // A frame with an even stream number, a PING of 9 bytes, and zeros: nobody sends them as frames, so they are
        // not recognised.
        for bytes in [
            &b"\x00\x00\x0a\x01\x05\x00\x00\x00\x02"[..],
            &b"\x00\x00\x09\x06\x00\x00\x00\x00\x00"[..],
            &[0; 16][..],
        ] {
            assert_eq!(of(bytes), Beginning::Unknown, "{bytes:?}");
        }
    }

    #[test]
    fn tls() {
        for bytes in [
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            &b"\x17\x03\x03\x00\x20"[..],
        ] {
            assert_eq!(of(bytes), Beginning::Tls, "{bytes:?}");
        }
    }
}
