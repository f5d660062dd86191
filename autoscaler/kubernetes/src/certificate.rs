//! A certificate that the autoscaler makes itself, for clusters without cert-manager.
//!
//! A certificate authority, and a certificate that the authority has signed, are kept in a Secret that all replicas
//! share. The authority's certificate is published in a ConfigMap that agents mount. The authority lasts as long as the
//! Secret, so agents need no change for a new certificate. The Secret and the ConfigMap are part of the installation,
//! and this module only fills them. So the autoscaler needs no right to create Secrets. With this right, it could get a
//! token of any service account of the namespace. Failure mode: without the Secret a replica does not start, because
//! agents would not trust its certificate.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Error,
    api::{Patch, PatchParams, PostParams},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde_json::json;
use tracing::info;

use super::ingest::tls::Pem;

/// The manifest that installs the Secret and the ConfigMap.
const MANIFEST: &str = "deploy/base/certificate.yaml";
/// Name of the Secret with the certificate of the autoscaler, the certificate of the authority that signed it, and the
/// private keys of both certificates.
const SECRET: &str = "ebb-autoscaler-tls";
/// Name of the ConfigMap with the certificate of the authority, from which clients read it.
const CONFIG_MAP: &str = "ebb-autoscaler-ca";
/// Keys of the Secret. The first two keys are those of a Secret of type `kubernetes.io/tls`, which earlier versions
/// created.
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
/// Annotation with the time at which the certificate is to be replaced, and with the DNS names in the certificate.
/// Because of the annotation, the certificate itself is never parsed.
const MADE: &str = "ebb.dev/made";

/// A certificate is replaced after this time (180 days). It is valid for twice as long.
const REPLACED_AFTER: Duration = Duration::from_secs(180 * 86_400);
/// Maximum number of attempts to write the Secret while other replicas write it too.
const TRIES: usize = 5;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate cannot be generated.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The Secret or the ConfigMap cannot be read or written.
    #[error("cannot keep the certificate in the API server: {0}")]
    Api(#[from] Error),
    /// Part of the installation is missing.
    #[error(
        "{kind} {name} is not in namespace {namespace:?}: apply {MANIFEST} again, or deploy/ebb.yaml, \
         which also contains it"
    )]
    Absent {
        /// The kind of the object.
        kind: &'static str,
        /// The name of the object.
        name: &'static str,
        /// The namespace in which the object is missing.
        namespace: String,
    },
    /// The Secret has no value under the given key.
    #[error(
        "Secret {SECRET} has no {0}; if its annotation {MADE} is removed, the autoscaler makes a new certificate"
    )]
    Incomplete(&'static str),
    /// Other writers changed the Secret at each attempt.
    #[error("Secret {SECRET} changed {TRIES} times while it was written")]
    Contended,
}

/// Keeps the certificate in the Secret and publishes its authority.
pub(super) struct CertificateKeeper {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) names: Vec<String>,
}

impl CertificateKeeper {
    /// Returns the current certificate. Makes, replaces and publishes the certificate if necessary.
    pub(super) async fn certificate(&self) -> Result<Pem, CertificateError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        for _ in 0..TRIES {
            let found = api.get_opt(SECRET).await?;
            let secret = found.ok_or_else(|| self.absent("Secret", SECRET))?;
            let now = Timestamp::now().as_second();
            if self.is_good(&secret, now) {
                self.publish(part(&secret, AUTHORITY)?).await?;
                return Ok(Pem {
                    chain: part(&secret, CHAIN)?,
                    key: part(&secret, KEY)?,
                });
            }
            let made = self.make(secret, now)?;
            match api.replace(SECRET, &PostParams::default(), &made).await {
                Ok(_) => info!(names = ?self.names, "certificate made"),
                // Another replica has written a certificate meanwhile. The next attempt uses that certificate.
                Err(Error::Api(status)) if status.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CertificateError::Contended)
    }

    fn absent(&self, kind: &'static str, name: &'static str) -> CertificateError {
        CertificateError::Absent {
            kind,
            name,
            namespace: self.namespace.clone(),
        }
    }

    fn is_good(&self, secret: &Secret, now: i64) -> bool {
        let made = secret
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(MADE));
        let parts = made.and_then(|made| made.split_once(' '));
        parts.is_some_and(|(until, names)| {
            until.parse::<i64>().is_ok_and(|until| now < until) && names == self.names.join(",")
        })
    }

    /// Puts a new certificate into the Secret, signed by the Secret's authority or by a new one. Nothing else in the
    /// Secret is changed: the type of a Secret cannot be changed, and its labels and annotations belong to the
    /// installation.
    fn make(&self, mut secret: Secret, now: i64) -> Result<Secret, CertificateError> {
        let old = part(&secret, AUTHORITY)
            .ok()
            .zip(part(&secret, AUTHORITY_KEY).ok());
        let (certificate, key) = match old {
            Some((certificate, key)) => (
                certificate,
                KeyPair::from_pem(&String::from_utf8_lossy(&key))?,
            ),
            None => {
                let key = KeyPair::generate()?;
                (authority()?.self_signed(&key)?.pem().into_bytes(), key)
            }
        };
        let authority = authority()?;
        let issuer = Issuer::from_params(&authority, &key);
        let server_key = KeyPair::generate()?;
        let mut server = CertificateParams::new(self.names.clone())?;
        server
            .distinguished_name
            .push(DnType::CommonName, "ebb-autoscaler");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // The certificate is valid from a day ago, because the clock of an agent may be behind.
        let today = date_time_ymd(1970, 1, 1) + Duration::from_secs(now.unsigned_abs());
        server.not_before = today - Duration::from_secs(86_400);
        server.not_after = today + 2 * REPLACED_AFTER;
        let signed = server.signed_by(&server_key, &issuer)?;
        let until = now.saturating_add_unsigned(REPLACED_AFTER.as_secs());
        let made = format!("{until} {}", self.names.join(","));
        let data = [
            (CHAIN, signed.pem().into_bytes()),
            (KEY, server_key.serialize_pem().into_bytes()),
            (AUTHORITY, certificate),
            (AUTHORITY_KEY, key.serialize_pem().into_bytes()),
        ];
        secret
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(MADE.to_owned(), made);
        let filled = secret.data.get_or_insert_default();
        filled.extend(data.map(|(name, value)| (name.to_owned(), ByteString(value))));
        Ok(secret)
    }

    async fn publish(&self, authority: Vec<u8>) -> Result<(), CertificateError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let text = String::from_utf8_lossy(&authority).into_owned();
        let data: BTreeMap<_, _> = [(AUTHORITY.to_owned(), text)].into();
        let found = api.get_opt(CONFIG_MAP).await?;
        let found = found.ok_or_else(|| self.absent("ConfigMap", CONFIG_MAP))?;
        if found.data.as_ref() != Some(&data) {
            let patch = Patch::Merge(json!({"data": data}));
            api.patch(CONFIG_MAP, &PatchParams::default(), &patch)
                .await?;
        }
        Ok(())
    }
}

/// Returns the parameters of the certificate authority's own certificate. They are constant, so the same key always
/// gives the same certificate authority.
fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "ebb-autoscaler-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2075, 1, 1);
    Ok(params)
}

fn part(secret: &Secret, name: &'static str) -> Result<Vec<u8>, CertificateError> {
    let part = secret.data.as_ref().and_then(|data| data.get(name));
    part.map(|part| part.0.clone())
        .filter(|part| !part.is_empty())
        .ok_or(CertificateError::Incomplete(name))
}
