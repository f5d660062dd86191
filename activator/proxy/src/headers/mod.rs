//! The changes that the proxy makes to the header of a message.
//!
//! Hop-by-hop fields are removed (RFC 9110 section 7.6.1). `Forwarded` (RFC 7239) and `X-Forwarded-*` are added. `Host`
//! is kept. `Via` is not added on purpose: some servers, for example nginx, do not compress the response to a request
//! with `Via`.

mod forwarded;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};

pub(crate) use self::forwarded::Client;
use crate::refusal::Refusal;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Hop-by-hop fields. They are removed even if `Connection` does not name them.
static HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Converts a client's request for a backend that speaks HTTP/1.1. Returns whether the request asks for an upgrade.
pub(crate) fn prepare_request<B>(
    request: &mut Request<B>,
    client: &Client,
) -> Result<bool, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    settle_host(request)?;
    if request.version() == Version::HTTP_2 {
        join_cookies(request.headers_mut());
    }
    *request.version_mut() = Version::HTTP_11;

    let headers = request.headers_mut();
    let wants_trailers = tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    let upgrade = strip_hop_by_hop(headers).filter(|protocol| {
        // An upgrade to h2c is not forwarded: the requests inside an h2c connection would bypass all checks of this
        // proxy.
        !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")
    });
    headers.remove(HTTP2_SETTINGS);
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let upgrades = upgrade.is_some();
    set_upgrade(headers, upgrade);

    forwarded::add(headers, client);
    Ok(upgrades)
}

/// Converts a backend's response for the client.
pub(crate) fn prepare_response<B>(response: &mut Response<B>) {
    *response.version_mut() = Version::HTTP_11;
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    if headers.contains_key(TRANSFER_ENCODING) {
        // `Transfer-Encoding` overrides `Content-Length` (RFC 9112 section 6.3).
        headers.remove(CONTENT_LENGTH);
    }
    let upgrade = strip_hop_by_hop(headers);
    set_upgrade(headers, upgrade.filter(|_| switches));
}

/// Validates `Host` (RFC 9112 section 3.2). HTTP/1.1 needs exactly one. If the request target has an authority, the
/// authority replaces `Host`.
fn settle_host<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    let count = request.headers().get_all(HOST).iter().count();
    // HTTP/1.0 does not require `Host`. If it is missing, none is forwarded.
    if count > 1 || (count == 0 && request.version() == Version::HTTP_11) {
        return Err(Refusal::Host { count });
    }
    let Some(authority) = request.uri().authority() else {
        return match request.headers().get(HOST) {
            Some(host) if !is_host(host) => Err(Refusal::Authority(
                String::from_utf8_lossy(host.as_bytes()).into_owned(),
            )),
            _ => Ok(()),
        };
    };
    // In HTTP/2, `:authority` and `Host` must be equal (RFC 9113 section 8.3.1).
    if request.version() == Version::HTTP_2
        && let Some(host) = request.headers().get(HOST)
        && !host
            .as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
    {
        return Err(Refusal::Authority(
            String::from_utf8_lossy(host.as_bytes()).into_owned(),
        ));
    }
    let host = HeaderValue::from_str(authority.as_str())
        .map_err(|_| Refusal::Authority(authority.to_string()))?;
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    request.headers_mut().insert(HOST, host);
    Ok(())
}

/// Returns whether the value is empty, or a name or address with an optional port (RFC 9112 section 3.2).
fn is_host(host: &HeaderValue) -> bool {
    let host = host.as_bytes();
    is_plain(host) || !host.contains(&b'@') && Authority::try_from(host).is_ok()
}

/// Returns whether the host consists of letters, digits, dots and hyphens, with an optional port. Nearly every host is
/// of this form, and needs no parser.
fn is_plain(host: &[u8]) -> bool {
    let colon = memchr::memchr(b':', host);
    let (name, port) = host.split_at(colon.unwrap_or(host.len()));
    let is_digits = |port: &[u8]| !port.is_empty() && port.iter().all(u8::is_ascii_digit);
    name.iter()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && port
            .split_first()
            .is_none_or(|(_, port)| !name.is_empty() && port.len() <= 5 && is_digits(port))
}

/// Removes the hop-by-hop fields. Returns the protocol of an upgrade if `Connection` asks for it.
fn strip_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    // Messages have few fields, and seldom a hop-by-hop field. So comparing all field names of the message is faster
    // than looking up each hop-by-hop field.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return None;
    }
    let mut upgrades = false;
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
            // The usual values of `Connection` need no parsing: `close` names no field, and the field `Keep-Alive` is
            // removed anyway.
            .filter(|token| !["close", "keep-alive"].contains(token))
            .filter_map(|token| token.parse().ok())
            .collect();
        for name in named {
            upgrades |= name == UPGRADE;
            // Fields that delimit or route a message are forwarded, even if `Connection` names them. The field
            // `Upgrade` is removed after this loop.
            if ![UPGRADE, HOST, CONTENT_LENGTH].contains(&name) {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    let upgrade = headers.remove(UPGRADE).filter(|_| upgrades);
    if headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
    }
    upgrade
}

fn set_upgrade(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// Converts an HTTP/2 request for a backend that speaks HTTP/1.1.
pub(crate) fn for_http1<B>(request: &mut Request<B>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    let authority = request.uri().authority().map(Authority::as_str);
    let host = authority.and_then(|authority| HeaderValue::from_str(authority).ok());
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    *request.version_mut() = Version::HTTP_11;
}

/// Joins the cookies into one field. HTTP/2 allows several `Cookie` fields, HTTP/1.1 allows one (RFC 9113 section
/// 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut all = headers.get_all(COOKIE).iter();
    if all.next().is_none() || all.next().is_none() {
        return;
    }
    let cookies: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    // The conversion does not fail: header values that are joined with a semicolon and a space are a valid header
    // value.
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Converts a prepared request for a backend that speaks HTTP/2.
pub(crate) fn for_http2<B>(request: &mut Request<B>) {
    if request.version() == Version::HTTP_2 {
        return;
    }
    let host = request.headers_mut().remove(HOST);
    let path = request.uri().path_and_query().cloned();
    let mut parts = hyper::http::uri::Parts::default();
    parts.path_and_query = path.or_else(|| Some(PathAndQuery::from_static("/")));
    // `Host` is optional in HTTP/1.0, and the authority is optional in HTTP/2. So a request without `Host` gets no
    // authority.
    if let Some(host) = host
        && let Ok(authority) = Authority::try_from(host.as_bytes())
    {
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(authority);
    }
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
}

/// Returns the elements of a comma-separated field, from all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests;
