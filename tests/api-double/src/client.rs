//! A client of the double for its own tests, on the standard library alone: objects as JSON, one connection per call.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longest wait for bytes of the double.
const WITHIN: Duration = Duration::from_secs(10);

/// The double's address, and the token to use.
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

    /// Sends the head of a request in this version of HTTP, and a body.
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

    /// Sends a GET and returns all bytes of the answer.
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

/// The path of an object whose kind has a plural on `s`.
fn path_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let root = if version.contains('/') { "apis" } else { "api" };
    let within = object["metadata"]["namespace"].as_str();
    let within = within.map_or(String::new(), |name| format!("/namespaces/{name}"));
    let name = text(&object["metadata"]["name"]);
    format!("/{root}/{version}{within}/{}s/{name}", kind.to_lowercase())
}
