//! An expired service-account token of a real API server.
//!
//! The API server issues no token that is valid for less than ten minutes. So the tests change the expiry of a valid
//! token and sign the token again, with the signing key that the tests created for the API server.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use rcgen::{KeyPair, SigningKey as _};
use serde_json::{Value, json};

/// The expired token expired this number of seconds before the valid token was issued. Its lifetime was as long.
const AGO: u64 = 3600;

/// Returns the token `good` with earlier times: it expired an hour before `good` was issued. `key` is the API server's
/// signing key for tokens.
///
/// # Panics
/// If `good` is not a service-account token.
pub(super) fn expired(good: &str, key: &KeyPair) -> String {
    let claims = good.split('.').nth(1).expect("a token with claims");
    let claims = BASE64.decode(claims).expect("claims in Base64");
    let mut claims: Value = serde_json::from_slice(&claims).expect("claims in JSON");
    let ran_out = claims["iat"]
        .as_u64()
        .expect("the issue time of the token (claim `iat`)")
        - AGO;
    claims["exp"] = ran_out.into();
    for begin in ["iat", "nbf"] {
        claims[begin] = (ran_out - AGO).into();
    }
    let head = json!({"alg": "ES256", "typ": "JWT"});
    let signed = [head, claims].map(|part| BASE64.encode(part.to_string()));
    let signed = signed.join(".");
    let signature = key.sign(signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", BASE64.encode(fixed(&signature)))
}

/// Converts a P-256 signature from ASN.1 DER to the form of RFC 7518 section 3.4: two numbers of 32 bytes each. In DER,
/// the signature is a sequence of two integers. Each integer follows its length, and has a leading zero byte if its
/// first bit is set.
fn fixed(der: &[u8]) -> Vec<u8> {
    let mut numbers = Vec::new();
    let mut rest = &der[2..];
    while let [_, length, after @ ..] = rest {
        let (number, next) = after.split_at((*length).into());
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        numbers.resize(numbers.len() + 32 - number.len(), 0);
        numbers.extend_from_slice(number);
        rest = next;
    }
    numbers
}
