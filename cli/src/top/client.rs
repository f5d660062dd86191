//! A client for JSON over HTTP without TLS, because status ports have no TLS.

use std::time::Duration;

use anyhow::{Context as _, bail};
use ebb_page_model::{All, Detail, Name};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{StatusCode, Uri, body::Bytes};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::de::DeserializeOwned;

/// Time limit of a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest accepted response in bytes: 64 MiB. The server limits its responses to 4 MiB plus one workload.
const LONGEST: usize = 64 << 20;
/// Maximum number of workloads shown: more than any cluster has. Without this limit, a faulty server that always
/// announces a next page would keep the client busy forever.
const MOST: usize = 100_000;

/// A client for one address.
#[derive(Debug)]
pub(super) struct Client {
    address: String,
    http: Http<HttpConnector, Empty<Bytes>>,
}

impl Client {
    /// Creates a client for the status port at `url`.
    ///
    /// # Errors
    /// Returns an error if `url` is not the URL of a status port.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let address = base(url).with_context(|| {
            format!("URL {url:?}: must be http://HOST:PORT, or http://HOST:PORT/PATH behind a proxy; no TLS")
        })?;
        Ok(Self {
            address,
            http: Http::builder(TokioExecutor::new()).build_http(),
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Fetches all workloads from the status port, page by page.
    pub(super) async fn all(&self) -> anyhow::Result<All> {
        let mut all: All = self.get("/v1/workloads").await?;
        while let Some(next) = all.next.take() {
            if all.workloads.len() >= MOST {
                break;
            }
            let part: All = self.get(&format!("/v1/workloads?continue={next}")).await?;
            all.workloads.extend(part.workloads);
            all.next = part.next;
        }
        Ok(all)
    }

    /// Fetches the details of one workload from the status port. Returns an error if the workload no longer exists.
    pub(super) async fn one(&self, name: &Name) -> anyhow::Result<Detail> {
        self.get(&format!("/v1/workloads/{name}")).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let url = format!("{}{path}", self.address);
        let answer = tokio::time::timeout(PATIENCE, self.fetch(&url)).await;
        let Ok(body) = answer else {
            bail!("{url}: no answer within {PATIENCE:?}");
        };
        let body = body.with_context(|| url.clone())?;
        serde_json::from_slice(&body).with_context(|| format!("{url}: unexpected response"))
    }

    async fn fetch(&self, url: &str) -> anyhow::Result<Bytes> {
        let answer = self.http.get(url.parse()?).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        if status != StatusCode::OK {
            bail!("{status}{}", message_of(&body));
        }
        Ok(body)
    }
}

/// Returns the base URL of all requests, or `None` if `url` is not the URL of a status port.
fn base(url: &str) -> Option<String> {
    // The fragment is removed: in an address copied from a browser, it names the open workload.
    let address = url.split('#').next()?.trim_end_matches('/');
    let uri: Uri = address.parse().ok()?;
    let (authority, host) = (uri.authority()?.as_str(), uri.host()?);
    let port = match uri.port() {
        Some(port) => format!(":{port}"),
        None => String::new(),
    };
    // Comparing the authority with host and port rejects ports above 65535 (for which `uri.port()` is `None`), and URLs
    // with a user name or password.
    let plain = uri.query().is_none() && authority == format!("{host}{port}");
    (plain && !host.is_empty() && uri.scheme_str() == Some("http")).then(|| address.to_owned())
}

/// Returns the body of a failed response as `: message` if it is a single line and not HTML; otherwise an empty string.
fn message_of(body: &[u8]) -> String {
    match str::from_utf8(body).unwrap_or_default().trim() {
        text if text.is_empty() || text.starts_with('<') || text.contains(char::is_control) => {
            String::new()
        }
        text => format!(": {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http() {
        for (good, address) in [
            ("http://127.0.0.1:9466/", "http://127.0.0.1:9466"),
            ("http://[::1]:9466", "http://[::1]:9466"),
            ("http://ebb", "http://ebb"),
            ("http://x:1/proxy/", "http://x:1/proxy"),
            ("http://x:1/#/shop/Deployment.apps/web", "http://x:1"),
        ] {
            assert_eq!(Client::new(good).unwrap().address(), address);
        }
        for bad in [
            "https://x",
            "x:1",
            "",
            "http://",
            "ftp://x",
            "http://x:99999",
            "http://me:word@x:1",
            "http://x:1/?a=b",
        ] {
            let error = Client::new(bad).unwrap_err().to_string();
            let expected = format!("URL {bad:?}: must be http://HOST:PORT");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_page_of_errors_is_not_repeated() {
        assert_eq!(
            message_of(b"no workload of that name\n"),
            ": no workload of that name"
        );
        for page in ["", "<html>", "not\nfound"] {
            assert_eq!(message_of(page.as_bytes()), "");
        }
        assert_eq!(message_of(b"\xff"), "");
    }
}
