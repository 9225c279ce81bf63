//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), from the keys that are stored: pgwire's wants the salted password, with which
//! whoever reads the metadata could log in.

use crate::users::{ScramVerifier, sha256_hmac, stored_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::random_nonce;

/// Why a conversation ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ScramFailure {
    /// The proof is none of the password's.
    WrongPassword,
    /// A message is not as it must be.
    Malformed(&'static str),
}

use ScramFailure::{Malformed, WrongPassword};

/// A conversation whose first two messages are exchanged.
#[derive(Debug)]
pub(super) struct Conversation {
    verifier: ScramVerifier,
    /// What the client said of channel bindings.
    header: String,
    /// Its first message without that.
    client_first: String,
    server_first: String,
    /// The client's and ours.
    nonce: String,
}

impl Conversation {
    /// Reads the client's first message; with the answer.
    pub(super) fn begin(message: &[u8], verifier: ScramVerifier) -> Result<(String, Self), ScramFailure> {
        let message = text(message)?;
        // "y": the client knows channel bindings, but sees that none is offered.
        let header = ["n,,", "y,,"].into_iter().find(|header| message.starts_with(header));
        let header = header.ok_or(Malformed("it asks for a channel binding or another identity"))?;
        let client_first = &message[header.len()..];
        let mut attributes = client_first.split(',');
        attributes.next().and_then(|user| user.strip_prefix("n=")).ok_or(Malformed("it names no user"))?;
        let client_nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r=")).unwrap_or_default();
        if client_nonce.is_empty() {
            return Err(Malformed("it has no nonce"));
        }
        let nonce = format!("{client_nonce}{}", random_nonce());
        let server_first = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let (header, client_first) = (header.to_owned(), client_first.to_owned());
        Ok((server_first.clone(), Self { verifier, header, client_first, server_first, nonce }))
    }

    /// Reads the client's last message; the answer proves that the server has the keys.
    pub(super) fn end(&self, message: &[u8]) -> Result<String, ScramFailure> {
        let message = text(message)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Malformed("it has no proof"))?;
        let proof = STANDARD.decode(proof).map_err(|_| Malformed("its proof is not base64"))?;
        let mut attributes = without_proof.split(',');
        if attributes.next().and_then(|binding| binding.strip_prefix("c=")) != Some(STANDARD.encode(&self.header).as_str()) {
            return Err(Malformed("its channel binding is another one"));
        }
        if attributes.next().and_then(|nonce| nonce.strip_prefix("r=")) != Some(self.nonce.as_str()) {
            return Err(Malformed("its nonce is another one"));
        }
        let exchanged = format!("{},{},{without_proof}", self.client_first, self.server_first);
        let signature = sha256_hmac(&self.verifier.stored_key, exchanged.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(proof, signature)| proof ^ signature).collect();
        if proof.len() != signature.len() || !self.verifier.has_stored_key(&stored_key(&client_key)) {
            return Err(WrongPassword);
        }
        Ok(format!("v={}", STANDARD.encode(sha256_hmac(&self.verifier.server_key, exchanged.as_bytes()))))
    }
}

fn text(message: &[u8]) -> Result<&str, ScramFailure> {
    std::str::from_utf8(message).map_err(|_| Malformed("it is not UTF-8"))
}

/// What a client with `password` proves that it knows it with.
#[cfg(test)]
pub(super) fn client_proof(password: &str, client_first: &str, server_first: &str, without_proof: &str) -> String {
    let part = |name: &str| server_first.split(',').find_map(|part| part.strip_prefix(name)).unwrap().to_owned();
    let (salt, rounds) = (STANDARD.decode(part("s=")).unwrap(), part("i=").parse().unwrap());
    let salted = pgwire::api::auth::sasl::scram::gen_salted_password(password, &salt, rounds);
    let key = sha256_hmac(&salted, b"Client Key");
    let signature = sha256_hmac(&stored_key(&key), format!("{client_first},{server_first},{without_proof}").as_bytes());
    STANDARD.encode(key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::{new_verifier, parse_verifier};

    /// How a client with `password` fares that answers with what `change` makes of its last message.
    fn fares(password: &str, change: impl Fn(String) -> String) -> Result<String, ScramFailure> {
        let verifier = parse_verifier(&new_verifier("pässword")).unwrap();
        let (server_first, conversation) = Conversation::begin(b"y,,n=,r=abc", verifier)?;
        let nonce = server_first.split(',').next().unwrap();
        assert!(nonce.starts_with("r=abc") && nonce.len() > 20, "{server_first}");
        let without_proof = format!("c={},{nonce}", STANDARD.encode("y,,"));
        let proof = client_proof(password, "n=,r=abc", &server_first, &without_proof);
        conversation.end(change(format!("{without_proof},p={proof}")).as_bytes())
    }

    #[test]
    fn the_right_password_and_no_other_is_let_in() {
        assert!(fares("pässword", |last| last).unwrap().starts_with("v="));
        assert_eq!(fares("password", |last| last), Err(WrongPassword));
        assert_eq!(fares("", |last| last), Err(WrongPassword));
    }

    #[test]
    fn messages_of_another_conversation_are_refused() {
        assert_eq!(fares("pässword", |last| last.replace("r=abc", "r=abd")), Err(Malformed("its nonce is another one")));
        assert_eq!(
            fares("pässword", |last| last.replace("c=eSws", "c=biws")),
            Err(Malformed("its channel binding is another one"))
        );
        assert_eq!(fares("pässword", |last| last.replace(",p=", ",q=")), Err(Malformed("it has no proof")));
        assert_eq!(fares("pässword", |last| format!("{last}!")), Err(Malformed("its proof is not base64")));
        assert_eq!(fares("pässword", |last| last[..last.rfind("p=").unwrap() + 2].to_owned()), Err(WrongPassword));
        for first in ["p=tls-server-end-point,,n=,r=a", "n,a=b,n=,r=a", "n,,r=a", "n,,n=", "n,,n=,r=", ""] {
            let verifier = parse_verifier(&new_verifier("x")).unwrap();
            assert!(matches!(Conversation::begin(first.as_bytes(), verifier), Err(Malformed(_))), "{first}");
        }
    }
}
