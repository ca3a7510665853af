//! The tokens that the peer has registered, and what a message's tokens stand for (draft-18, 10.2.2).
//!
//! What a token allows is the application's business; so is whether its time is over.

use std::collections::HashMap;

use bytes::Bytes;

use super::error::PeerMisbehaved;
use crate::wire::token::Token;

/// A token by value: what an alias stands for, or what was sent without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its type; 0 where both sides know it.
    pub kind: u64,
    /// The token.
    pub value: Bytes,
}

impl Credential {
    /// As they are sent: always by value, since we send each once.
    pub(super) fn tokens(credentials: &[Self]) -> Vec<Token> {
        let token = |it: &Self| Token::UseValue { kind: it.kind, value: it.value.clone() };
        credentials.iter().map(token).collect()
    }
}

/// What the tokens of one message stand for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    Valid(Vec<Credential>),
    /// The same token twice, which refuses the message.
    Repeated,
}

/// The registered tokens of the peer.
#[derive(Debug)]
pub(super) struct TokenCache {
    tokens: HashMap<u64, Credential>,
    bytes: usize,
    bytes_max: usize,
}

/// What a registered token counts beside its value (10.3.1.3).
const TOKEN_OVERHEAD: usize = 16;

impl TokenCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { tokens: HashMap::new(), bytes: 0, bytes_max }
    }

    /// Resolves the tokens of SETUP, where nothing can be registered yet, and what does not fit into the
    /// cache is used all the same.
    pub(super) fn setup(&mut self, tokens: Vec<Token>) -> Result<Vec<Credential>, PeerMisbehaved> {
        let mut credentials = Vec::with_capacity(tokens.len());
        for token in tokens {
            let credential = match token {
                Token::Delete { .. } | Token::UseAlias { .. } => {
                    return Err(PeerMisbehaved::TokenAliasInSetup);
                }
                Token::UseValue { kind, value } => Credential { kind, value },
                Token::Register { alias, kind, value } => {
                    let credential = Credential { kind, value };
                    match self.register(alias, &credential) {
                        Ok(()) | Err(PeerMisbehaved::TokenCacheOverflow { .. }) => credential,
                        Err(error) => return Err(error),
                    }
                }
            };
            credentials.push(credential);
        }
        match unique(credentials) {
            Resolved::Valid(credentials) => Ok(credentials),
            Resolved::Repeated => Err(PeerMisbehaved::DuplicateToken),
        }
    }

    /// Resolves the tokens of a request, in order.
    pub(super) fn resolve(&mut self, tokens: &[Token]) -> Result<Resolved, PeerMisbehaved> {
        let mut credentials = Vec::with_capacity(tokens.len());
        for token in tokens {
            match token {
                Token::Delete { alias } => self.delete(*alias)?,
                Token::UseAlias { alias } => {
                    let token = self.tokens.get(alias).ok_or(PeerMisbehaved::UnknownTokenAlias(*alias))?;
                    credentials.push(token.clone());
                }
                Token::UseValue { kind, value } => {
                    credentials.push(Credential { kind: *kind, value: value.clone() });
                }
                Token::Register { alias, kind, value } => {
                    let credential = Credential { kind: *kind, value: value.clone() };
                    self.register(*alias, &credential)?;
                    credentials.push(credential);
                }
            }
        }
        Ok(unique(credentials))
    }

    fn register(&mut self, alias: u64, credential: &Credential) -> Result<(), PeerMisbehaved> {
        if self.tokens.contains_key(&alias) {
            return Err(PeerMisbehaved::DuplicateTokenAlias(alias));
        }
        let (bytes, max) = (self.bytes + TOKEN_OVERHEAD + credential.value.len(), self.bytes_max);
        if bytes > max {
            return Err(PeerMisbehaved::TokenCacheOverflow { bytes, max });
        }
        // A copy, since what is counted is the token and not the message around it.
        let value = Bytes::copy_from_slice(&credential.value);
        self.tokens.insert(alias, Credential { kind: credential.kind, value });
        self.bytes = bytes;
        Ok(())
    }

    fn delete(&mut self, alias: u64) -> Result<(), PeerMisbehaved> {
        let token = self.tokens.remove(&alias).ok_or(PeerMisbehaved::UnknownTokenAlias(alias))?;
        self.bytes -= TOKEN_OVERHEAD + token.value.len();
        Ok(())
    }
}

/// At most sixteen, so each is compared with each.
fn unique(credentials: Vec<Credential>) -> Resolved {
    let repeated = credentials.iter().enumerate().any(|(at, token)| credentials[..at].contains(token));
    if repeated { Resolved::Repeated } else { Resolved::Valid(credentials) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(alias: u64, value: &'static str) -> Token {
        Token::Register { alias, kind: 0, value: value.into() }
    }

    fn credential(value: &'static str) -> Credential {
        Credential { kind: 0, value: value.into() }
    }

    #[test]
    fn an_alias_stands_for_its_token_until_it_is_deleted() {
        let mut cache = TokenCache::new(64);
        let whole = Resolved::Valid(vec![credential("jwt")]);
        assert_eq!(cache.resolve(&[register(7, "jwt")]), Ok(whole));
        assert_eq!(cache.bytes, 19);
        let used = cache.resolve(&[Token::UseAlias { alias: 7 }, Token::Delete { alias: 7 }]);
        assert_eq!(used, Ok(Resolved::Valid(vec![credential("jwt")])));
        assert_eq!(cache.bytes, 0);
        let gone = cache.resolve(&[Token::UseAlias { alias: 7 }]);
        assert_eq!(gone, Err(PeerMisbehaved::UnknownTokenAlias(7)));
    }

    #[test]
    fn the_cache_holds_what_was_promised_and_setup_may_pass_it() {
        let mut cache = TokenCache::new(20);
        assert_eq!(cache.setup(vec![register(1, "a longer one")]), Ok(vec![credential("a longer one")]));
        assert_eq!(cache.bytes, 0);
        assert!(cache.resolve(&[register(1, "four")]).is_ok());
        let overflow = PeerMisbehaved::TokenCacheOverflow { bytes: 36, max: 20 };
        assert_eq!(cache.resolve(&[register(2, "")]), Err(overflow));
        assert_eq!(cache.resolve(&[register(1, "")]), Err(PeerMisbehaved::DuplicateTokenAlias(1)));
    }

    #[test]
    fn the_same_token_twice_refuses_the_message_and_stays_registered() {
        let mut cache = TokenCache::new(64);
        let value = Token::UseValue { kind: 0, value: "jwt".into() };
        assert_eq!(cache.resolve(&[register(1, "jwt"), value]), Ok(Resolved::Repeated));
        assert!(cache.resolve(&[Token::UseAlias { alias: 1 }]).is_ok());
    }
}
