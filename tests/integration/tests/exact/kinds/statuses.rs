//! Every status from 100 to 999, each followed by another request on the same connection.

use ebb_fixtures::Case;

use super::{GET, Item, OK, all_exact};
use crate::exact::EBB;

pub(super) const CASES: &[Case] = &[Case::beside("exact::kinds::statuses", EBB, || {
    let items: Vec<_> = (100..=999)
        // 101 begins a tunnel.
        .filter(|status| *status != 101)
        .flat_map(|status| [item(status), Item::ordinary()])
        .collect();
    all_exact(&items.chunks(100).map(<[Item]>::to_vec).collect::<Vec<_>>());
})];

fn item(status: u16) -> Item {
    let line = format!("HTTP/1.1 {status} Status\r\n");
    let response = match status {
        // An interim response, and then the final one.
        100..200 => format!("{line}\r\n{OK}"),
        204 => format!("{line}\r\n"),
        // The length is that of the response to a GET without conditions (RFC 9110, 15.4.5).
        304 => format!("{line}Content-Length: 5\r\n\r\n"),
        205 => format!("{line}Content-Length: 0\r\n\r\n"),
        _ => format!("{line}Content-Length: 5\r\n\r\nhello"),
    };
    Item::exchange(status.to_string(), GET, response)
}
