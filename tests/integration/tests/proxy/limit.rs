//! A limit of one request at a time on a server: requests of many clients are forwarded in the order of their arrival.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use ebb_fixtures::proxy::{SOON, TestProxy};
use ebb_fixtures::{Case, Need, Wire, note};

pub(super) const CASES: &[Case] = &[Case::new(
    "proxy::hard_limit_1_with_200_clients",
    NONE,
    one_at_a_time,
)];

const NONE: &[Need] = &[];
const CLIENTS: usize = 200;
/// The maximum difference between a request's position in the order of sending and its position in the order of arrival
/// at the server: 5 % of the number of clients.
const OUT_OF_ORDER: usize = CLIENTS / 20;

static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Answers each request after a millisecond, and sends the request numbers to `came` in their order of arrival.
fn serve(mut stream: TcpStream, came: &Sender<usize>) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        read.extend_from_slice(&buffer[..count]);
        while let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<_> = read.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head);
            let number = head
                .split(['/', ' '])
                .nth(2)
                .and_then(|word| word.parse().ok());
            MOST.fetch_max(AT_ONCE.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            came.send(number.expect("a number"))
                .expect("the test listens");
            thread::sleep(Duration::from_millis(1));
            AT_ONCE.fetch_sub(1, Ordering::SeqCst);
            let answered = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            answered.expect("the proxy listens");
        }
    }
}

fn one_at_a_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("bound");
    let (told, came) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, told) = (stream.expect("the proxy"), told.clone());
            thread::spawn(move || serve(stream, &told));
        }
    });
    let mut proxy = TestProxy::of(server, &["--hard-limit", "1"]);
    // A lock fixes the order of arrival: each client connects only after the previous client has sent its request.
    let turn = Mutex::new(0);
    let address = proxy.address();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut wire = {
                    let mut number = turn.lock().expect("sound");
                    let mut wire = Wire::connect(address);
                    wire.get(&format!("/{number}"), "");
                    *number += 1;
                    wire
                };
                assert_eq!(wire.response(), 200);
            });
        }
    });
    let order: Vec<_> = (0..CLIENTS)
        .map(|_| came.recv_timeout(SOON).expect("all came"))
        .collect();
    assert_eq!(
        MOST.load(Ordering::SeqCst),
        1,
        "maximum number of concurrent requests at the server"
    );
    // The number of requests that the server received more than [`OUT_OF_ORDER`] positions too early or too late.
    let late = order
        .iter()
        .enumerate()
        .filter(|&(place, &number)| place.abs_diff(number) > OUT_OF_ORDER)
        .count();
    let furthest = order
        .iter()
        .enumerate()
        .map(|(place, &number)| place.abs_diff(number));
    note(format!(
        "hard limit 1: {CLIENTS} clients, one request at a time; sending order and arrival order \
         differ by at most {} positions",
        furthest.max().unwrap_or(0)
    ));
    assert_eq!(late, 0, "{order:?}");
    assert_eq!(proxy.state().answered, CLIENTS as u64);
}
