//! Passwords: kept as SCRAM-SHA-256 salted passwords, never as text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore;
use ring::pbkdf2;
use slipher_common::{Error, ErrorKind, Result};
use std::num::NonZeroU32;

/// Rounds of PBKDF2 for new passwords (RFC 7677 asks for at least 4096).
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
const SALT_BYTES: usize = 16;
const SALTED_PASSWORD_BYTES: usize = 32;
/// Marks the stored form: iterations, salt and PBKDF2(password, salt, iterations).
const STORED_PREFIX: &str = "SCRAM-SHA-256-SALTED";
/// Letters of a generated password.
const GENERATED_PASSWORD_BYTES: usize = 18;

/// What a user's entry holds for SCRAM-SHA-256 (RFC 5802, RFC 7677).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// Salt.
    pub salt: Vec<u8>,
    /// SaltedPassword = PBKDF2(password, salt, iterations). Never logged.
    pub salted_password: Vec<u8>,
}

/// The stored form of a new password.
pub(crate) fn new_verifier(password: &str) -> String {
    let mut salt = [0u8; SALT_BYTES];
    rand::rng().fill_bytes(&mut salt);
    let salted = salt_password(password, &salt, ITERATIONS);
    format!("{STORED_PREFIX}${ITERATIONS}:{}${}", STANDARD.encode(salt), STANDARD.encode(salted))
}

/// A password nobody chose.
pub fn generate_password() -> String {
    let mut bytes = [0u8; GENERATED_PASSWORD_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads what [`new_verifier`] wrote.
pub(crate) fn parse_verifier(stored: &str) -> Result<ScramVerifier> {
    let damaged = || Error::new(ErrorKind::DataCorrupted, "reading a user's password verifier: it is malformed");
    let rest = stored.strip_prefix(STORED_PREFIX).and_then(|rest| rest.strip_prefix('$')).ok_or_else(damaged)?;
    let (parameters, salted) = rest.split_once('$').ok_or_else(damaged)?;
    let (iterations, salt) = parameters.split_once(':').ok_or_else(damaged)?;
    Ok(ScramVerifier {
        iterations: iterations.parse().map_err(|_| damaged())?,
        salt: STANDARD.decode(salt).map_err(|_| damaged())?,
        salted_password: STANDARD.decode(salted).map_err(|_| damaged())?,
    })
}

/// Whether `password` is the one of `verifier`; takes the same time for every wrong one.
pub(crate) fn is_password(verifier: &ScramVerifier, password: &str) -> bool {
    let Some(iterations) = NonZeroU32::new(verifier.iterations) else {
        return false;
    };
    let secret = password.as_bytes();
    pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &verifier.salt, secret, &verifier.salted_password).is_ok()
}

fn salt_password(password: &str, salt: &[u8], iterations: NonZeroU32) -> [u8; SALTED_PASSWORD_BYTES] {
    let mut salted = [0u8; SALTED_PASSWORD_BYTES];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
    salted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_knows_its_password_and_no_other() {
        let stored = new_verifier("søme pässword");
        let verifier = parse_verifier(&stored).unwrap();
        assert!(is_password(&verifier, "søme pässword"));
        assert!(!is_password(&verifier, "some password"));
        assert!(!stored.contains("password"));
        assert!(parse_verifier("SCRAM-SHA-256-SALTED$x").is_err());
    }
}
