//! Reads the head of a request.

use ebb_abi::MAX_EXCLUDED_PATH;

use super::{Line, fields, proxy, read_again};
use crate::{
    attaching::{Beginning, LOOK, beginning},
    conn::Conn,
    direction::{Direction, Side, flag, phase},
    packet::{Meter, Packet},
    window::{LOWER, Window, equal_bytes, lowest_byte, text},
};

/// Returns whether the next bytes may begin a request: no byte of the current message has been read.
#[inline(always)]
fn is_at_start(direction: &Direction) -> bool {
    const START: u16 = flag::START_LINE | flag::BEGUN | flag::SKIP_LINE;
    direction.phase_now() == phase::HEAD && direction.flags & START == flag::START_LINE
}

/// Returns whether the next bytes need a step with `UNUSUAL`: they follow a head with `Expect`, they may be a header of
/// the PROXY protocol, or the end of the response before could not be found.
#[inline(always)]
pub(super) fn is_unusual(conn: &Conn) -> bool {
    let direction = &conn.requests;
    if direction.phase_now() != phase::HEAD {
        return direction.has(flag::EXPECT);
    }
    let first = direction.window.byte(direction.window.start);
    is_at_start(direction)
        && (conn.is_response_lost() || (conn.started == 0 && (first == b'P' || first == b'\r')))
}

/// Counts a request at its first byte. An empty line before the request does not begin it (RFC 9112, 2.2).
#[inline(always)]
pub(super) fn begin<const UNUSUAL: bool, M: Meter>(conn: &mut Conn, meter: &mut M) {
    let direction = &mut conn.requests;
    if !is_at_start(direction) {
        return;
    }
    let first = direction.window.byte(direction.window.start);
    if first == b'\r' || first == b'\n' {
        return;
    }
    if may_be_preface(direction) || (UNUSUAL && proxy::may_be_line(conn)) {
        return;
    }
    conn.requests.flags |= flag::BEGUN;
    if !is_token(first) || !conn.can_mark_one_more() {
        // The connection becomes opaque. Either the data is not HTTP/1, or the request would share its bit with a
        // marked request.
        conn.requests.flags |= flag::UNREADABLE;
        if first == TLS {
            conn.requests.detail = Direction::NEVER_HTTP1;
        }
        return;
    }
    conn.start::<UNUSUAL, M>(meter);
}

/// Returns whether a byte can begin a method, which is a token (RFC 9110, 5.6.2).
#[inline(always)]
fn is_token(byte: u8) -> bool {
    const BELOW_64: u64 = tokens(0);
    const FROM_64: u64 = tokens(64);
    let set = if byte < 64 { BELOW_64 } else { FROM_64 };
    byte < 128 && set >> (byte & 63) & 1 != 0
}

/// Returns which of the 64 bytes from `first` on may be in a token: bit n stands for byte `first + n`.
const fn tokens(first: u8) -> u64 {
    let mut set = 0;
    let mut at = 0u8;
    while at < 64 {
        let byte = first + at;
        let is_token = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        if is_token {
            set |= 1u64 << at;
        }
        at += 1;
    }
    set
}

/// First byte of TLS: the type of a handshake record (RFC 8446, 5.1).
const TLS: u8 = 0x16;

/// First eight bytes of the line `PRI * HTTP/2.0`, which begins an HTTP/2 connection (RFC 9113, 3.4).
const PREFACE: u64 = text(b"PRI * HT");

/// Last eight bytes of the line `PRI * HTTP/2.0` with its carriage return. The line has 15 bytes in all, so `PREFACE`
/// and `PREFACE_END` have one byte in common.
const PREFACE_END: u64 = text(b"TTP/2.0\r");

/// Returns whether all unread bytes could be the beginning of HTTP/2. No HTTP/1 method is `PRI`.
#[inline(always)]
fn may_be_preface(direction: &Direction) -> bool {
    let start = direction.window.start;
    let there = direction.window.unread();
    begins_as(direction.window.eight(start), PREFACE, there)
        && (there < 8 || begins_as(direction.window.eight(start + 7), PREFACE_END, there - 7))
}

/// Returns whether the first `there` bytes of two 8-byte words are equal.
#[inline(always)]
pub(super) fn begins_as(word: u64, other: u64, there: u32) -> bool {
    let compared = if there < 8 {
        (1u64 << ((there * 8) & 63)) - 1
    } else {
        u64::MAX
    };
    (word ^ other) & compared == 0
}

/// Returns whether a line is the whole line `PRI * HTTP/2.0`, which begins an HTTP/2 connection.
#[inline(always)]
fn is_preface(window: &Window, line: Line) -> bool {
    line.whole
        && line.end == line.start + 15
        && window.eight(line.start) == PREFACE
        && window.eight(line.start + 7) == PREFACE_END
}

/// Handles a line of a head. Returns `true` if the line needs a step with `UNUSUAL`.
#[inline(always)]
pub(super) fn head_line<const UNUSUAL: bool, P: Packet, M: Meter>(
    conn: &mut Conn,
    packet: &P,
    meter: &mut M,
    line: Line,
) -> bool {
    let direction = &mut conn.requests;
    if direction.phase_now() != phase::HEAD {
        return false;
    }
    if direction.has(flag::START_LINE) {
        return start_line::<UNUSUAL, P>(conn, packet, line);
    }
    if fields::is_empty(&direction.window, line) {
        head_end(conn, meter);
        return false;
    }
    if direction.window.byte(line.start) == b'\r' {
        // Some servers end the head at a lone carriage return.
        direction.flags |= flag::UNREADABLE;
        return false;
    }
    let name = fields::name(&direction.window, line);
    if is_probe(&direction.window, line, name) {
        direction.flags |= flag::EXCLUDED;
    } else if fields::is_expect(name.0) {
        direction.flags |= flag::EXPECT;
    } else {
        fields::framing(Side::Requests, direction, line, name);
    }
    false
}

/// Returns whether a header field marks the request as a probe of kubelet or Knative: `User-Agent: kube-probe/…`,
/// `K-Kubelet-Probe` or `K-Network-Probe`.
#[inline(always)]
fn is_probe(window: &Window, line: Line, name: (u64, u64)) -> bool {
    if name.0 == text(b"user-age") {
        // kubelet is written in Go, and Go's client writes exactly one space after the colon.
        return name.1 == text(b"nt: kube")
            && window.eight(line.start + 16) & 0x00ff_ffff_ffff_ffff == text(b"-probe/\0");
    }
    if name.0 == text(b"k-kubele") || name.0 == text(b"k-networ") {
        let rest = window.eight(line.start + 8) | LOWER;
        return rest == text(b"t-probe:") || rest == text(b"k-probe:");
    }
    false
}

/// Handles the first line of a request. Returns `true` if the line needs a step with `UNUSUAL`.
#[inline(always)]
fn start_line<const UNUSUAL: bool, P: Packet>(conn: &mut Conn, packet: &P, line: Line) -> bool {
    let direction = &mut conn.requests;
    if fields::is_empty(&direction.window, line) || (UNUSUAL && proxy::is_line(direction, line)) {
        return false;
    }
    if is_preface(&direction.window, line) {
        direction.flags &= !flag::START_LINE;
        direction.flags |= flag::HTTP2;
        return false;
    }
    if direction.window.byte(line.start) == b'\r' {
        // Common servers skip a lone carriage return before a request.
        if UNUSUAL {
            read_again(direction, line, 1);
        }
        return !UNUSUAL;
    }
    let version = if line.whole {
        names_http1::<UNUSUAL>(&direction.window, line)
    } else {
        if direction.has(flag::SKIP_LINE) {
            direction.detail = Direction::LONG_START_LINE;
        }
        read_last_digit(direction);
        Some(1)
    };
    let is_http1 = version.is_some();
    if !UNUSUAL && !is_http1 {
        return true;
    }
    if version == Some(0) {
        direction.flags |= flag::HTTP10;
    }
    direction.flags &= !flag::START_LINE;
    let method = direction.window.eight(line.start);
    let too_late = conn.server_speaks_http2();
    // The request line is not readable in three cases: it looked like a header of the PROXY protocol or the preface of
    // HTTP/2 (then no request has been counted); it does not name HTTP/1; or the server has begun HTTP/2 before the
    // client sent anything.
    if !conn.requests.has(flag::BEGUN) || !is_http1 || too_late {
        conn.requests.flags |= flag::UNREADABLE;
        return false;
    }
    let direction = &mut conn.requests;
    if packet.has_exclusions()
        && cut_path(&direction.window, line, &mut conn.exclusion.path)
        && packet.excludes(&conn.exclusion)
    {
        direction.flags |= flag::EXCLUDED;
    }
    let kept = if method & 0xff_ffff_ffff == text(b"HEAD \0\0\0") {
        conn.mark_head()
    } else if method == text(b"CONNECT ") {
        conn.mark_connect()
    } else {
        true
    };
    if !kept {
        conn.requests.flags |= flag::UNREADABLE;
    }
    false
}

/// Handles the next part of a long line that is not kept. A start line ends with the version.
#[inline(always)]
pub(super) fn skip_line(direction: &mut Direction) {
    if direction.detail_now() & Direction::LONG_START_LINE != 0 {
        read_last_digit(direction);
    }
}

/// Records whether the version of a request can be HTTP/1.0: its start line does not end in a digit from 1 to 9. Called
/// for each part of a long start line. The result depends on the last two bytes of the line so far, and not on how
/// packets cut the line.
#[inline(always)]
fn read_last_digit(direction: &mut Direction) {
    let (start, end) = direction.window.line();
    if end <= start {
        return;
    }
    let detail = direction.detail_now();
    let last = |behind: u32| direction.window.byte(behind.wrapping_sub(1));
    let ends_in_cr = last(end) == b'\r';
    let before_cr = end.wrapping_sub(u32::from(ends_in_cr));
    // A CR alone is the end of the line, unless the part before has ended in a CR, too.
    let is_read = before_cr > start || detail & Direction::LONG_LINE_CR != 0;
    if is_read {
        // Blanks may follow the version. Then the digit is not known.
        let is_later = before_cr > start && (b'1'..=b'9').contains(&last(before_cr));
        direction.flags &= !flag::HTTP10;
        if !is_later {
            direction.flags |= flag::HTTP10;
        }
    }
    if detail & Direction::LONG_START_LINE != 0 {
        direction.detail = Direction::LONG_START_LINE;
        if ends_in_cr {
            direction.detail |= Direction::LONG_LINE_CR;
        }
    }
}

/// Returns the digit after `HTTP/1.` at the end of a line, or `None` if the line does not end like this. With
/// `UNUSUAL`, blanks may follow, which common servers accept.
#[inline(always)]
pub(super) fn names_http1<const UNUSUAL: bool>(window: &Window, line: Line) -> Option<u8> {
    let end = if UNUSUAL {
        fields::trimmed(window, line)
    } else {
        line.end - u32::from(window.byte(line.end.wrapping_sub(1)) == b'\r')
    };
    let last = window.eight(end.wrapping_sub(8));
    let digit = ((last >> 56) as u8).wrapping_sub(b'0');
    (end >= line.start + 8 && last & 0x00ff_ffff_ffff_ffff == text(b"HTTP/1.\0") && digit <= 9)
        .then_some(digit)
}

/// Decides, at the first bytes after a head with `Expect`, whether they are the body. If the server has answered
/// without waiting for the body, the client may leave the body out (RFC 9110, 10.1.1). Returns `false` if the bytes do
/// not follow such a head. Sets [`flag::SHORT`] if more bytes are needed.
#[inline(always)]
pub(super) fn waits(conn: &mut Conn) -> bool {
    let is_answered = conn.open() == 0;
    let direction = &mut conn.requests;
    if direction.phase_now() == phase::HEAD || !direction.has(flag::EXPECT) {
        return false;
    }
    if is_answered && direction.window.unread() < LOOK as u32 {
        direction.flags |= flag::SHORT;
        return true;
    }
    direction.flags &= !flag::EXPECT;
    let at = direction.window.start;
    let words = [direction.window.eight(at), direction.window.eight(at + 8)];
    if is_answered && beginning(words) == Beginning::Request {
        direction.next_message();
    }
    true
}

/// Copies the path of a start line to `path`, zero-filled. Returns `false` if the path, or the method before it, is too
/// long for an excluded path.
///
/// The code has as few branches as possible, and `path` is not on the stack: the verifier tracks the contents of the
/// stack separately for each path of execution.
#[inline(always)]
fn cut_path(window: &Window, line: Line, path: &mut [u64; MAX_EXCLUDED_PATH / 8]) -> bool {
    let blank = equal_bytes(window.eight(line.start), b' ');
    if blank == 0 {
        // The method has eight letters or more, as only WebDAV methods have. The path of such a request is never
        // excluded.
        return false;
    }
    let start = line.start + lowest_byte(blank) + 1;
    let mut seen = 0u64;
    for (index, word) in path.iter_mut().enumerate() {
        let bytes = window.eight(start + index as u32 * 8);
        let ends = equal_bytes(bytes, b' ') | equal_bytes(bytes, b'?');
        // `ends` marks the bytes that can end the path. `before` is a mask of the bytes before the first of them.
        // `open` is 0 if the path has ended in an earlier word; otherwise all its bits are set.
        let before = ((ends & ends.wrapping_neg()) >> 7).wrapping_sub(1);
        let open = ((seen | seen.wrapping_neg()) >> 63).wrapping_sub(1);
        *word = bytes & before & open;
        seen |= ends;
    }
    let next = window.byte(start + MAX_EXCLUDED_PATH as u32);
    seen != 0 || next == b' ' || next == b'?'
}

#[inline(always)]
fn head_end<M: Meter>(conn: &mut Conn, meter: &mut M) {
    if conn.requests.has(flag::EXCLUDED) {
        conn.exclude(meter);
    }
    conn.head_read();
    let is_connect = conn.is_newest_connect();
    let direction = &mut conn.requests;
    if direction.flags & (flag::CHUNKED | flag::CODED) != 0 {
        // With another coding, the end of the body cannot be known (RFC 9112, 6.3, case 4). On HTTP/1.0, servers
        // disagree on whether the coding counts (RFC 9112, 6.1). A CONNECT has no body, but some servers read one (RFC
        // 9110, 9.3.6). In each case, the body could hide a request. A Content-Length does not count beside a coding
        // (6.3, case 3).
        if direction.flags & (flag::CODED | flag::HTTP10) != 0 || is_connect {
            direction.flags |= flag::UNREADABLE;
        } else {
            direction.phase = phase::CHUNK_HEAD;
        }
    } else if direction.has(flag::LENGTH) && direction.remaining > 0 {
        if is_connect {
            direction.flags |= flag::UNREADABLE;
        } else {
            direction.phase = phase::BODY;
        }
    } else {
        // A request with neither Transfer-Encoding nor Content-Length has no body (RFC 9112, 6.3, case 7).
        direction.flags |= flag::COMPLETE;
    }
}
