//! What a proxy changes in the header of a message, and nothing else.
//!
//! Hop-by-hop fields go (RFC 9110 section 7.6.1), `X-Forwarded-*` come, `Host` stays. `Via` is
//! left out on purpose: the door stands in for the service, and nginx, for one, answers a request
//! with `Via` without compression.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};

use crate::refusal::Refusal;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Makes a client's request one for a backend. True when it asks for an upgrade.
///
/// An `X-Forwarded-For` that is there is added to; `-Proto` and `-Host` that are there stay, as
/// the proxy in front knows better.
pub(crate) fn prepare_request<B>(
    request: &mut Request<B>,
    client: &HeaderValue,
) -> Result<bool, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    settle_host(request)?;
    *request.version_mut() = Version::HTTP_11;

    let headers = request.headers_mut();
    let wants_trailers = tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    let upgrade = strip_hop_by_hop(headers).filter(|protocol| {
        // What is in an h2c connection would pass by every check made here.
        !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")
    });
    headers.remove(HTTP2_SETTINGS);
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let upgrades = upgrade.is_some();
    set_upgrade(headers, upgrade);

    forwarded_for(headers, client);
    if let Entry::Vacant(entry) = headers.entry(X_FORWARDED_PROTO) {
        entry.insert(HeaderValue::from_static("http"));
    }
    if !headers.contains_key(X_FORWARDED_HOST)
        && let Some(host) = headers.get(HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
    Ok(upgrades)
}

/// Makes a backend's response one for the client.
pub(crate) fn prepare_response<B>(response: &mut Response<B>) {
    *response.version_mut() = Version::HTTP_11;
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    if headers.contains_key(TRANSFER_ENCODING) {
        // Of the two the transfer coding counts (RFC 9112 section 6.3).
        headers.remove(CONTENT_LENGTH);
    }
    let upgrade = strip_hop_by_hop(headers);
    set_upgrade(headers, upgrade.filter(|_| switches));
}

/// RFC 9112 section 3.2: exactly one `Host` in HTTP/1.1, and the target's authority outranks it.
fn settle_host<B>(request: &mut Request<B>) -> Result<(), Refusal> {
    let count = request.headers().get_all(HOST).iter().count();
    // HTTP/1.0 knows no Host; what it does not say cannot be passed on.
    if count > 1 || (count == 0 && request.version() == Version::HTTP_11) {
        return Err(Refusal::Host { count });
    }
    let Some(authority) = request.uri().authority() else {
        return Ok(());
    };
    let host = HeaderValue::from_str(authority.as_str())
        .map_err(|_| Refusal::Authority(authority.to_string()))?;
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    request.headers_mut().insert(HOST, host);
    Ok(())
}

/// Takes out what is meant for this connection only; returns the upgrade that was asked for.
fn strip_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let mut upgrades = false;
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
            .filter_map(|token| token.parse().ok())
            .collect();
        for name in named {
            upgrades |= name == UPGRADE;
            // Those that delimit or direct a message are never one hop's own.
            if ![UPGRADE, HOST, CONTENT_LENGTH].contains(&name) {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers.remove(UPGRADE).filter(|_| upgrades)
}

fn set_upgrade(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// Adds the client's address at the end of the list, which keeps its order over several lines.
fn forwarded_for(headers: &mut HeaderMap, client: &HeaderValue) {
    let mut list: Vec<u8> = Vec::new();
    for value in headers.get_all(X_FORWARDED_FOR) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(client.as_bytes());
    // A list of header values with commas between is a header value; if not, the client's is.
    let list = HeaderValue::from_bytes(&list).unwrap_or_else(|_| client.clone());
    headers.insert(X_FORWARDED_FOR, list);
}

/// The elements of a comma-separated field, over all its lines.
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
