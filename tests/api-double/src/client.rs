//! A client of the double for the double's tests. Objects are JSON values, and each call uses a new connection. The
//! client needs only the standard library.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Time limit for a read from the double.
const WITHIN: Duration = Duration::from_secs(10);

/// A client with the double's address and a bearer token.
pub(super) struct Api {
    address: SocketAddr,
    token: String,
}

/// An error response.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: u16,
    pub(super) message: String,
}

impl Api {
    pub(super) fn new(address: SocketAddr, token: &str) -> Self {
        Self {
            address,
            token: token.to_owned(),
        }
    }

    /// Sends a request. `request` is the request line with the HTTP version; `fields` are further header fields, each
    /// with its line end.
    pub(super) fn send(&self, request: &str, fields: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        write!(
            stream,
            "{request}\r\nHost: a\r\nAuthorization: Bearer {}\r\n{fields}\r\n{body}",
            self.token
        )
        .unwrap();
        stream
    }

    /// Sends a GET request and returns all bytes of the response.
    pub(super) fn raw(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1");
        let mut stream = self.send(&request, "Connection: close\r\n", "");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn ask(&self, method: &str, path: &str, kind: &str, body: &str) -> Result<Value, Refused> {
        let request = format!("{method} {path} HTTP/1.1");
        let length = body.len();
        let fields = format!(
            "Connection: close\r\nContent-Type: application/{kind}\r\nContent-Length: {length}\r\n"
        );
        let mut answer = String::new();
        self.send(&request, &fields, body)
            .read_to_string(&mut answer)
            .unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        match code {
            200..300 => Ok(body),
            _ => Err(Refused {
                code,
                message: body["message"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Refused> {
        self.ask("GET", path, "json", "")
    }

    pub(super) fn create(&self, path: &str, object: &Value) -> Result<Value, Refused> {
        self.ask("POST", path, "json", &object.to_string())
    }

    pub(super) fn merge(&self, path: &str, patch: &Value) -> Result<Value, Refused> {
        self.ask("PATCH", path, "merge-patch+json", &patch.to_string())
    }

    pub(super) fn delete(&self, path: &str) -> Result<Value, Refused> {
        self.ask("DELETE", path, "json", "")
    }

    /// Creates an object by server-side apply.
    #[track_caller]
    pub(super) fn apply(&self, object: &Value) -> Value {
        let path = format!("{}?fieldManager=test&force=true", path_of(object));
        self.ask("PATCH", &path, "apply-patch+yaml", &object.to_string())
            .unwrap()
    }
}

/// Returns the URL path of an object. The plural of its kind must be the kind plus `s`.
fn path_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let root = if version.contains('/') { "apis" } else { "api" };
    let within = object["metadata"]["namespace"].as_str();
    let within = within.map_or(String::new(), |name| format!("/namespaces/{name}"));
    let name = text(&object["metadata"]["name"]);
    format!("/{root}/{version}{within}/{}s/{name}", kind.to_lowercase())
}
