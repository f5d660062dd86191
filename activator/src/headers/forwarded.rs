//! Who asked, told to the backend: `Forwarded` (RFC 7239) and what came before it.
//!
//! What a proxy in front has said stays: lists are added to at their ends, and `X-Forwarded-Proto`
//! and `-Host` that are there are believed, as that proxy knows better.

use std::net::IpAddr;

use hyper::header::{Entry, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client of a connection as these fields name it. Made once for all its requests.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: HeaderValue,
    /// `for=…;proto=…`, to which the host is added.
    element: String,
    proto: &'static str,
}

impl Client {
    pub(crate) fn new(address: IpAddr, secure: bool) -> Self {
        let address = address.to_canonical();
        let proto = if secure { "https" } else { "http" };
        let element = match address {
            IpAddr::V4(address) => format!("for={address};proto={proto}"),
            // RFC 7239 section 6: in brackets, and because of its colons in quotes.
            IpAddr::V6(address) => format!("for=\"[{address}]\";proto={proto}"),
        };
        Client {
            // Digits, letters, dots and colons are a header value.
            address: HeaderValue::try_from(address.to_string())
                .unwrap_or(HeaderValue::from_static("unknown")),
            element,
            proto,
        }
    }
}

pub(super) fn add(headers: &mut HeaderMap, client: &Client) {
    let host = headers.get(HOST).cloned();
    append(headers, X_FORWARDED_FOR, client.address.as_bytes());
    let mut element = client.element.clone().into_bytes();
    if let Some(host) = &host
        && !host.is_empty()
    {
        // A host has no quotes and no backslash: see `is_host`.
        element.extend_from_slice(b";host=\"");
        element.extend_from_slice(host.as_bytes());
        element.push(b'"');
    }
    append(headers, FORWARDED, &element);
    if let Entry::Vacant(entry) = headers.entry(X_FORWARDED_PROTO) {
        entry.insert(HeaderValue::from_static(client.proto));
    }
    if let (Some(host), Entry::Vacant(entry)) = (host, headers.entry(X_FORWARDED_HOST)) {
        entry.insert(host);
    }
}

/// Adds an element at the end of a list, which keeps its order over several lines.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &[u8]) {
    let mut list: Vec<u8> = Vec::new();
    for value in headers.get_all(&name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element);
    // A list of header values with commas between is a header value.
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(name, list);
    }
}
