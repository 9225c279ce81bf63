//! Passwords: kept as the keys of SCRAM-SHA-256, with which nobody can log in, never as text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::gen_salted_password;
use rand::RngCore;
use ring::{digest, hmac, pbkdf2};
use slipher_common::{Error, ErrorKind, Result};
use std::fmt;
use std::num::NonZeroU32;

/// Rounds of PBKDF2 for new passwords (RFC 7677 asks for at least 4096).
const ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;
/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Marks the stored form, PostgreSQL's: iterations, salt, StoredKey and ServerKey.
const STORED_PREFIX: &str = "SCRAM-SHA-256";
/// Marks the form of earlier releases: iterations, salt and the salted password, from which the keys follow.
const SALTED_PREFIX: &str = "SCRAM-SHA-256-SALTED";
/// Letters of a generated password.
const GENERATED_PASSWORD_BYTES: usize = 18;

/// What a user's entry holds for SCRAM-SHA-256 (RFC 5802, RFC 7677).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// Salt.
    pub salt: Vec<u8>,
    /// SHA-256 of the key that proves that a client knows the password.
    pub stored_key: [u8; KEY_BYTES],
    /// The key that proves that a server knows its user.
    pub server_key: [u8; KEY_BYTES],
}

impl fmt::Debug for ScramVerifier {
    /// Without its keys: they are never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl ScramVerifier {
    /// The keys of PBKDF2(password, salt, iterations).
    pub(crate) fn of_salted_password(iterations: u32, salt: Vec<u8>, salted_password: &[u8]) -> Self {
        let stored_key = stored_key(&sha256_hmac(salted_password, b"Client Key"));
        Self { iterations, salt, stored_key, server_key: sha256_hmac(salted_password, b"Server Key") }
    }

    /// Whether a key is the stored one; it takes the same time for every other one.
    pub(crate) fn has_stored_key(&self, key: &[u8; KEY_BYTES]) -> bool {
        self.stored_key.iter().zip(key).fold(0, |differing, (stored, key)| differing | (stored ^ key)) == 0
    }

    /// The stored form.
    fn stored(&self) -> String {
        let [salt, stored, server] = [self.salt.as_slice(), &self.stored_key, &self.server_key].map(|part| STANDARD.encode(part));
        format!("{STORED_PREFIX}${}:{salt}${stored}:{server}", self.iterations)
    }
}

/// HMAC-SHA-256.
pub(crate) fn sha256_hmac(key: &[u8], text: &[u8]) -> [u8; KEY_BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let mut bytes = [0; KEY_BYTES];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// StoredKey of a client's key.
pub(crate) fn stored_key(client_key: &[u8]) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, client_key).as_ref());
    bytes
}

/// The stored form of a new password.
pub(crate) fn new_verifier(password: &str) -> String {
    let mut salt = [0u8; SALT_BYTES];
    rand::rng().fill_bytes(&mut salt);
    let salted = gen_salted_password(password, &salt, ITERATIONS as usize);
    ScramVerifier::of_salted_password(ITERATIONS, salt.to_vec(), &salted).stored()
}

/// A password nobody chose.
pub fn generate_password() -> String {
    let mut bytes = [0u8; GENERATED_PASSWORD_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads what [`new_verifier`] wrote, in this release or an earlier one.
pub(crate) fn parse_verifier(stored: &str) -> Result<ScramVerifier> {
    let damaged = || Error::new(ErrorKind::DataCorrupted, "reading a user's password verifier: it is malformed");
    let decoded = |part: &str| STANDARD.decode(part).map_err(|_| damaged());
    let mut parts = stored.split('$');
    let (Some(form), Some(parameters), Some(keys), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(damaged());
    };
    let (iterations, salt) = parameters.split_once(':').ok_or_else(damaged)?;
    let (iterations, salt) = (iterations.parse().map_err(|_| damaged())?, decoded(salt)?);
    match form {
        STORED_PREFIX => {
            let (stored, server) = keys.split_once(':').ok_or_else(damaged)?;
            let key = |part: &str| <[u8; KEY_BYTES]>::try_from(decoded(part)?).map_err(|_| damaged());
            Ok(ScramVerifier { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
        }
        SALTED_PREFIX => Ok(ScramVerifier::of_salted_password(iterations, salt, &decoded(keys)?)),
        _ => Err(damaged()),
    }
}

/// The form of this release of what an earlier one stored; None where it has that form, or none at all.
pub(crate) fn renewed_verifier(stored: &str) -> Option<String> {
    let of_before = stored.starts_with(SALTED_PREFIX);
    of_before.then(|| parse_verifier(stored).ok()).flatten().map(|verifier| verifier.stored())
}

/// Whether `password` is the one of `verifier`; takes the same time for every wrong one.
pub(crate) fn is_password(verifier: &ScramVerifier, password: &str) -> bool {
    let Some(iterations) = NonZeroU32::new(verifier.iterations) else {
        return false;
    };
    let is_of = |salted: &[u8]| verifier.has_stored_key(&stored_key(&sha256_hmac(salted, b"Client Key")));
    if is_of(&gen_salted_password(password, &verifier.salt, verifier.iterations as usize)) {
        return true;
    }
    // Earlier releases took the letters as they came.
    let mut salted = [0; KEY_BYTES];
    let text = password.as_bytes();
    !password.is_ascii() && {
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &verifier.salt, text, &mut salted);
        is_of(&salted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "søme pässword" as an earlier release stored it, with the salt "salt".
    fn of_before(password: &str) -> String {
        let mut salted = [0; KEY_BYTES];
        let iterations = NonZeroU32::new(4096).unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, b"salt", password.as_bytes(), &mut salted);
        format!("SCRAM-SHA-256-SALTED$4096:{}${}", STANDARD.encode("salt"), STANDARD.encode(salted))
    }

    #[test]
    fn a_verifier_knows_its_password_and_no_other() {
        let stored = new_verifier("søme pässword");
        let verifier = parse_verifier(&stored).unwrap();
        assert!(is_password(&verifier, "søme pässword"));
        assert!(!is_password(&verifier, "some password"));
        assert!(!stored.contains("password"));
        assert_eq!(verifier.stored(), stored);
        for malformed in ["", "SCRAM-SHA-256-SALTED$x", "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy", "MD5$1:c2FsdA==$eA=="] {
            assert!(parse_verifier(malformed).is_err(), "{malformed}");
        }
    }

    /// The example of RFC 7677.
    #[test]
    fn the_keys_are_those_of_the_standard() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = ScramVerifier::of_salted_password(4096, salt.clone(), &gen_salted_password("pencil", &salt, 4096));
        let exchanged = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                         r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                         c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let server = sha256_hmac(&verifier.server_key, exchanged.as_bytes());
        assert_eq!(STANDARD.encode(server), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn what_an_earlier_release_stored_is_known_and_renewed() {
        let stored = of_before("søme pässword\u{2126}");
        let renewed = renewed_verifier(&stored).unwrap();
        assert_eq!(parse_verifier(&stored).unwrap(), parse_verifier(&renewed).unwrap());
        assert!(is_password(&parse_verifier(&renewed).unwrap(), "søme pässword\u{2126}"));
        assert!(!is_password(&parse_verifier(&renewed).unwrap(), "søme pässword"));
        assert_eq!((renewed_verifier(&renewed), renewed_verifier("")), (None, None));
    }
}
