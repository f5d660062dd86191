//! Bodies that are larger than the memory that the activator may use for them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use ebb_fixtures::proxy::TestProxy;
use ebb_fixtures::server::Sample;
use ebb_fixtures::{Case, Need, TestCgroup, Wire, full, note};

pub(super) const CASES: &[Case] = &[
    Case::new("proxy::download", &[Need::Cgroup], download),
    Case::new("proxy::upload", &[], upload),
];

/// The maximum growth of the memory of `ebb-test-proxy`, in MiB, for a body of any length.
const GROWTH: f64 = 16.0;

fn size() -> u64 {
    if full() { 1 << 30 } else { 128 << 20 }
}

fn download() {
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    let proxy = TestProxy::of(sample.address(), &[]);
    let before = proxy.memory();
    let mut wire = Wire::connect(proxy.address());
    wire.get(&format!("/?bytes={}", size()), "Connection: close\r\n");
    let header = wire.header();
    assert!(
        header.contains(&format!("content-length: {}", size())),
        "{header}"
    );
    assert_eq!(wire.drain() as u64, size());
    bounded(&proxy, before, "down");
}

/// Starts a server that receives one body and answers with the number of bytes of this body. Returns the server's
/// address.
fn taker() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the proxy");
        let (mut read, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        let head = loop {
            let count = stream.read(&mut buffer).expect("a header");
            read.extend_from_slice(&buffer[..count]);
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let mut body = (read.len() - head) as u64;
        while body < size() {
            body += stream.read(&mut buffer).expect("a body") as u64;
        }
        let text = body.to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        stream.write_all(answer.as_bytes()).expect("open");
    });
    address
}

fn upload() {
    let proxy = TestProxy::of(taker(), &[]);
    let before = proxy.memory();
    let mut stream = TcpStream::connect(proxy.address()).expect("open");
    let head = format!(
        "PUT / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        size()
    );
    stream.write_all(head.as_bytes()).expect("open");
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..size() >> 20 {
        stream.write_all(&piece).expect("open");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with(&size().to_string()), "{answer}");
    bounded(&proxy, before, "up");
}

#[track_caller]
fn bounded(proxy: &TestProxy, before: f64, way: &str) {
    let after = proxy.memory();
    note(format!(
        "{way}load of {} MiB through ebb-test-proxy: its memory is {before:.1} MiB before, {after:.1} MiB after",
        size() >> 20
    ));
    assert!(after - before < GROWTH, "{before} to {after} MiB");
}
