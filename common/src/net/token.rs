//! Join tokens: who may do what at which event, signed once and verified offline by any node.
//!
//! A token is a JWT (RFC 7519) signed with Ed25519. Its header names the key, so that keys can be
//! rotated; its algorithm is not taken from the token but from the key.

use std::collections::HashSet;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// Bytes of a token at most; ours have some 250.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The event's id. A node's token is for all of them, and says `*`.
    #[serde(rename = "evt")]
    pub event: String,
    /// What its bearer is there.
    pub role: Role,
    /// Until when, in seconds since the Unix epoch.
    pub exp: u64,
}

/// What the bearer of a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Publishes the event.
    Host,
    /// Watches it.
    Viewer,
    /// Carries whatever it is asked for.
    Node,
}

/// Signs tokens.
pub struct Signer {
    key: EncodingKey,
}

/// A new pair of Ed25519 keys in PEM: the private one to sign tokens with, the public one for those who
/// check them.
///
/// # Errors
/// If there is no randomness to be had.
pub fn generate_keys() -> Result<(String, String), TokenError> {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(|_| TokenError::Key)?;
    Ok((pair.serialize_pem(), pair.public_key_pem()))
}

impl Signer {
    /// A signer with the private key in this PEM text (PKCS #8).
    ///
    /// # Errors
    /// [`TokenError::Key`] if it is not an Ed25519 key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TokenError> {
        Ok(Self { key: EncodingKey::from_ed_pem(pem).map_err(|_| TokenError::Key)? })
    }

    /// A token that says this.
    ///
    /// # Errors
    /// [`TokenError::Key`] if the key cannot sign.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &self.key).map_err(|_| TokenError::Key)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// Verifies tokens, with any of its keys.
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<DecodingKey>,
}

impl Verifier {
    /// A verifier with the public keys in these PEM texts.
    ///
    /// # Errors
    /// [`TokenError::Key`] if one is not an Ed25519 key.
    pub fn from_pems<P: AsRef<[u8]>>(pems: impl IntoIterator<Item = P>) -> Result<Self, TokenError> {
        let key = |pem: P| DecodingKey::from_ed_pem(pem.as_ref()).map_err(|_| TokenError::Key);
        Ok(Self { keys: pems.into_iter().map(key).collect::<Result<_, _>>()? })
    }

    /// What the token says, if one of the keys has signed it and its time is not over.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn verify(&self, now: SystemTime, token: &str) -> Result<Claims, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong(token.len()));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::EdDSA {
            return Err(TokenError::BadSignature);
        }
        let claims = self.signed(token)?;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        match claims.exp > now {
            true => Ok(claims),
            false => Err(TokenError::Expired { seconds: now - claims.exp }),
        }
    }

    fn signed(&self, token: &str) -> Result<Claims, TokenError> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        // Time is an argument here: checked by the caller, against its clock.
        validation.validate_exp = false;
        validation.required_spec_claims = HashSet::new();
        let mut outcome = Err(TokenError::BadSignature);
        for key in &self.keys {
            outcome = match jsonwebtoken::decode::<Claims>(token, key, &validation) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(error) => Err(match error.kind() {
                    jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::BadSignature,
                    _ => TokenError::Malformed,
                }),
            };
        }
        outcome
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// What is wrong with a token. Never says what was in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// None was shown.
    #[error("no token was shown: the link is incomplete")]
    Missing,
    /// It is longer than any of ours.
    #[error("a token of {0} bytes; at most {TOKEN_BYTES_MAX} are read")]
    TooLong(usize),
    /// It is not a token of ours.
    #[error("the token cannot be read: the link is damaged")]
    Malformed,
    /// None of the keys has signed it.
    #[error("the token is not signed by a key of this system")]
    BadSignature,
    /// Its time is over.
    #[error("the token expired {seconds} s ago")]
    Expired {
        /// How long ago.
        seconds: u64,
    },
    /// A key file holds no Ed25519 key.
    #[error("not an Ed25519 key in PEM")]
    Key,
}

impl TokenError {
    /// The label under which it is counted.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLong(_) => "too_long",
            Self::Malformed => "malformed",
            Self::BadSignature => "signature",
            Self::Expired { .. } => "expired",
            Self::Key => "key",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use jsonwebtoken::EncodingKey;
    use proptest::prelude::*;
    use rcgen::{KeyPair, PKCS_ED25519};

    fn keys() -> (Signer, Verifier, String) {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let public = pair.public_key_pem();
        let signer = Signer::from_pem(pair.serialize_pem().as_bytes()).unwrap();
        (signer, Verifier::from_pems([&public]).unwrap(), public)
    }

    fn claims() -> Claims {
        Claims { event: "hall".into(), role: Role::Viewer, exp: 1_000 }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_says_what_was_signed_until_its_time_is_over() {
        let (signer, verifier, _) = keys();
        let token = signer.sign(&claims()).unwrap();
        assert_eq!(verifier.verify(at(999), &token), Ok(claims()));
        assert_eq!(verifier.verify(at(1_000), &token), Err(TokenError::Expired { seconds: 0 }));
        assert_eq!(verifier.verify(at(1_060), &token), Err(TokenError::Expired { seconds: 60 }));
        assert_eq!(verifier.verify(at(0), ""), Err(TokenError::Missing));
    }

    #[test]
    fn any_of_the_keys_will_do_and_no_other() {
        let (old, _, old_key) = keys();
        let (new, only_new, new_key) = keys();
        let both = Verifier::from_pems([old_key, new_key]).unwrap();
        for signer in [&old, &new] {
            assert!(both.verify(at(0), &signer.sign(&claims()).unwrap()).is_ok());
        }
        let foreign = old.sign(&claims()).unwrap();
        assert_eq!(only_new.verify(at(0), &foreign), Err(TokenError::BadSignature));
    }

    #[test]
    fn the_algorithm_is_the_keys_and_not_the_tokens() {
        let (_, verifier, public) = keys();
        let secret = EncodingKey::from_secret(public.as_bytes());
        let forged = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
        assert_eq!(verifier.verify(at(0), &forged), Err(TokenError::BadSignature));
        // {"alg":"none"}.{}.
        assert_eq!(verifier.verify(at(0), "eyJhbGciOiJub25lIn0.e30."), Err(TokenError::Malformed));
    }

    #[test]
    fn claims_of_one_token_do_not_fit_the_signature_of_another() {
        let (signer, verifier, _) = keys();
        let mine = signer.sign(&claims()).unwrap();
        let host = signer.sign(&Claims { role: Role::Host, ..claims() }).unwrap();
        let part = |token: &str, at: usize| token.split('.').nth(at).unwrap().to_owned();
        let mixed = [part(&host, 0), part(&host, 1), part(&mine, 2)].join(".");
        assert_eq!(verifier.verify(at(0), &mixed), Err(TokenError::BadSignature));
    }

    proptest! {
        #[test]
        fn anything_else_is_refused(text in "[ -~]{0,300}") {
            let (_, verifier, _) = keys();
            prop_assert!(verifier.verify(at(0), &text).is_err());
        }
    }
}
