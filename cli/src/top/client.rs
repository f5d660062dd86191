//! Asks for JSON over plain HTTP: status ports speak nothing else.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use ebb_page::{All, Detail, Name};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{StatusCode, Uri, body::Bytes};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::de::DeserializeOwned;

/// An answer is there within this time, or it will not come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Ten thousand workloads are some 8 MB.
const LONGEST: usize = 64 << 20;

/// Asks one address.
#[derive(Debug)]
pub(super) struct Client {
    address: String,
    http: Http<HttpConnector, Empty<Bytes>>,
}

impl Client {
    /// # Errors
    /// An address that is none.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let address = url.trim_end_matches('/');
        let uri: Uri = address.parse().with_context(|| format!("URL {url:?}"))?;
        ensure!(
            uri.scheme_str() == Some("http") && uri.host().is_some(),
            "URL {url:?}: expected http://HOST:PORT"
        );
        Ok(Self {
            address: address.to_owned(),
            http: Http::builder(TokioExecutor::new()).build_http(),
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) async fn all(&self) -> anyhow::Result<All> {
        self.get("/v1/workloads").await
    }

    /// One workload; the answer to one that is gone is an error, too.
    pub(super) async fn one(&self, name: &Name) -> anyhow::Result<Detail> {
        self.get(&format!("/v1/workloads/{name}")).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let url = format!("{}{path}", self.address);
        let answer = tokio::time::timeout(PATIENCE, self.fetch(&url)).await;
        let body = answer
            .with_context(|| format!("{url}: no answer within {PATIENCE:?}"))?
            .with_context(|| url.clone())?;
        serde_json::from_slice(&body).with_context(|| format!("{url}: not what ebb tells"))
    }

    async fn fetch(&self, url: &str) -> anyhow::Result<Bytes> {
        let answer = self.http.get(url.parse()?).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        if status != StatusCode::OK {
            bail!("{status}: {}", String::from_utf8_lossy(&body).trim());
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http() {
        assert!(Client::new("http://127.0.0.1:9466/").is_ok());
        for bad in ["https://x", "x:1", "", "http://", "ftp://x"] {
            let error = Client::new(bad).unwrap_err();
            assert!(error.to_string().contains("URL"), "{bad}: {error}");
        }
    }
}
