//! Adds the fields that describe the client to the backend: `Forwarded` (RFC 7239) and the older `X-Forwarded-*`.
//!
//! The values of another proxy in front are kept. This proxy appends its client to the lists in `Forwarded` and
//! `X-Forwarded-For`. It does not change an existing `X-Forwarded-Proto` or `X-Forwarded-Host`, because the proxy in
//! front knows the client better.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use hyper::header::{Entry, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client of a connection, as values of `Forwarded` and `X-Forwarded-*`. Created once for all requests of the
/// connection.
#[derive(Debug)]
pub(crate) struct Client {
    address: HeaderValue,
    /// The `Forwarded` element of this client, `for=…;proto=…`, without the request's host.
    element: String,
    proto: &'static str,
    last: Mutex<Option<Last>>,
}

/// The host of the last request, and the `Forwarded` element with this host. They are cached, because most requests of
/// a connection have the same host.
#[derive(Debug)]
struct Last {
    host: HeaderValue,
    element: HeaderValue,
}

impl Client {
    pub(crate) fn new(address: IpAddr, secure: bool) -> Self {
        let address = address.to_canonical();
        let proto = if secure { "https" } else { "http" };
        let element = match address {
            IpAddr::V4(address) => format!("for={address};proto={proto}"),
            // An IPv6 address is in brackets, and in quotes because of its colons (RFC 7239 section 6).
            IpAddr::V6(address) => format!("for=\"[{address}]\";proto={proto}"),
        };
        Client {
            // The conversion does not fail: digits, letters, dots and colons are valid in a header value.
            address: HeaderValue::try_from(address.to_string())
                .unwrap_or(HeaderValue::from_static("unknown")),
            element,
            proto,
            last: Mutex::new(None),
        }
    }

    /// Returns the `Forwarded` element for a request to `host`.
    fn element(&self, host: Option<&HeaderValue>) -> Option<HeaderValue> {
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return HeaderValue::from_str(&self.element).ok();
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|last| last.host == host) {
            return Some(last.element.clone());
        }
        let mut element = self.element.clone().into_bytes();
        // No character needs an escape: a host has no quotes and no backslash (see `is_host`).
        element.extend_from_slice(b";host=\"");
        element.extend_from_slice(host.as_bytes());
        element.push(b'"');
        let element = HeaderValue::from_bytes(&element).ok()?;
        // The host is copied: the original value would keep the whole header in memory.
        if let Ok(host) = HeaderValue::from_bytes(host.as_bytes()) {
            let element = element.clone();
            *last = Some(Last { host, element });
        }
        Some(element)
    }
}

pub(super) fn add(headers: &mut HeaderMap, client: &Client) {
    let host = headers.get(HOST).cloned();
    append(headers, X_FORWARDED_FOR, client.address.clone());
    if let Some(element) = client.element(host.as_ref()) {
        append(headers, FORWARDED, element);
    }
    if let Entry::Vacant(entry) = headers.entry(X_FORWARDED_PROTO) {
        entry.insert(HeaderValue::from_static(client.proto));
    }
    if let (Some(host), Entry::Vacant(entry)) = (host, headers.entry(X_FORWARDED_HOST)) {
        entry.insert(host);
    }
}

/// Appends an element to a list field. If the field has several lines, they are joined in their order.
fn append(headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(element);
        }
        Entry::Occupied(mut entry) => {
            let mut list: Vec<u8> = Vec::new();
            for value in entry.iter() {
                list.extend_from_slice(value.as_bytes());
                list.extend_from_slice(b", ");
            }
            list.extend_from_slice(element.as_bytes());
            // The conversion does not fail: header values that are joined with commas are a valid header value.
            if let Ok(list) = HeaderValue::from_bytes(&list) {
                entry.insert(list);
            }
        }
    }
}
