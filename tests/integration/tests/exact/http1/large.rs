//! Bodies of 100 MB in each direction. The counter must find the end of a message despite sequence numbers that wrap
//! around, packets of 64 KiB, and `sendfile`.

use ebb_fixtures::client::curl;
use ebb_fixtures::server::{LARGE, Nginx, Sample};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need, full};

use crate::exact::{CURL, watched};

const NGINX: &[Need] = &[Need::Ebb, Need::Tool("nginx"), Need::Tool("curl")];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http1::downloads_of_100_mb", NGINX, downloads),
    Case::beside("exact::http1::uploads_of_100_mb", CURL, uploads),
];

fn downloads() {
    // Full runs download 45 × 100 MB, more than the 4 GiB of sequence numbers, so the sequence numbers wrap around
    // during one download.
    let times = if full() { 45 } else { 3 };
    let totals = watched(
        |cgroup| Nginx::start(cgroup),
        |nginx, _| {
            let url = format!("http://{}/large", nginx.address());
            let fetched = curl(&[], &vec![url.as_str(); times]);
            assert!(fetched.iter().all(|f| (f.status, f.bytes) == (200, LARGE)));
            assert_eq!(fetched[1].connects, 0, "on one connection");
            let fetched = curl(&["-r", "1000-50000000"], &[&url]);
            assert_eq!((fetched[0].status, fetched[0].bytes), (206, 49_999_001));
        },
    );
    assert_eq!(totals.ends(), Ends::answered(times as u64 + 1));
}

fn uploads() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(LARGE).expect("100 MB of nothing");
    let path = file.path().to_str().expect("a path in UTF-8");
    let totals = watched(
        |cgroup| Sample::start_with_small_buffer(cgroup),
        |server, _| {
            let url = format!("http://{}/", server.address());
            // curl uploads once with `Content-Length`, for which it sends `Expect: 100-continue`, and once in chunks.
            for encoding in ["X-Encoding: none", "Transfer-Encoding: chunked"] {
                let fetched = curl(&["-T", path, "-H", encoding], &[&url]);
                assert_eq!(fetched[0].status, 200, "{encoding}");
            }
            assert_eq!(server.stats().requests, 2);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(3), "{:?}", totals.events);
}
