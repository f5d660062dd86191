//! Every registered method, and every byte of a token as a method's first and last byte.

use ebb_fixtures::Case;

use super::{Item, OK, all_exact};
use crate::exact::EBB;

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::kinds::registered_methods", EBB, || {
        on_one_and_on_many_connections(&registered());
    }),
    Case::beside("exact::kinds::bytes_of_a_method", EBB, || {
        on_one_and_on_many_connections(&tokens());
    }),
];

/// The methods of the IANA registry (<https://www.iana.org/assignments/http-methods>).
const REGISTERED: &str = "ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK \
                          MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH \
                          POST PRI PROPFIND PROPPATCH PUT QUERY REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK \
                          UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL *";

/// The bytes of a token (RFC 9110, 5.6.2), in addition to letters and digits.
const SYMBOLS: &str = "!#$%&'*+-.^_`|~";

/// A method as the first request of a connection may look like another protocol. After a request, it may not.
fn on_one_and_on_many_connections(methods: &[String]) {
    let items: Vec<_> = methods.iter().map(|method| item(method)).collect();
    let mut conversations = vec![items.clone()];
    conversations.extend(items.into_iter().map(|item| vec![item, Item::ordinary()]));
    all_exact(&conversations);
}

fn item(method: &str) -> Item {
    let request = format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = match method {
        // A 2xx response to CONNECT would begin a tunnel.
        "CONNECT" => "HTTP/1.1 405 No\r\nContent-Length: 2\r\n\r\nno",
        "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        _ => OK,
    };
    Item::exchange(method, request, response)
}

fn registered() -> Vec<String> {
    let methods = REGISTERED.split_whitespace();
    // Methods are case-sensitive: `head` is another method than `HEAD`.
    methods
        .flat_map(|method| [method.to_owned(), method.to_lowercase()])
        .collect()
}

fn tokens() -> Vec<String> {
    let bytes = (0u8..128).map(char::from);
    let bytes = bytes.filter(|byte| byte.is_ascii_alphanumeric() || SYMBOLS.contains(*byte));
    bytes
        .flat_map(|byte| {
            let letter = byte.to_string();
            [format!("{letter}X"), format!("X{letter}"), letter]
        })
        .collect()
}
