//! The keys, tokens and certificate of a local system, in its data directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use common::net::config::write_sha256;
use common::net::tls::Identity;
use common::net::token::{Claims, Role, Signer, generate_keys};
use time::OffsetDateTime;

use crate::token::write_secret;

/// How long the tokens of a local system hold: it is for a day's work, and makes new ones when it begins.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of randomness in a stream key: nobody guesses 96 bits.
const STREAM_KEY_BYTES: usize = 12;

/// What a local system is started with.
#[derive(Debug)]
pub(crate) struct Secrets {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) sha256: String,
    pub(crate) token_key: PathBuf,
    pub(crate) node_token: PathBuf,
    pub(crate) host_token: PathBuf,
    pub(crate) viewer: String,
    pub(crate) host: String,
    pub(crate) stream_key: String,
}

impl Secrets {
    /// Makes a certificate and tokens; the keys that sign, and the event's stream key, are kept from run to
    /// run.
    pub(crate) fn make(data: &Path, event: &str) -> anyhow::Result<Self> {
        let dir = data.join("secrets");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let at = |name: &str| dir.join(name);
        let (certificate, key) = (at("certificate.pem"), at("certificate.key.pem"));
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let identity = Identity::generate(OffsetDateTime::now_utc(), &names)?;
        identity.save(&certificate, &key)?;

        let token_key = at("token.pub.pem");
        let signer = signer(&at("token.pem"), &token_key)?;
        let exp = SystemTime::now() + TOKEN_LIFE;
        let exp = exp.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let sign = |event: &str, role| signer.sign(&Claims { event: event.to_owned(), role, exp });
        let (node_token, host_token) = (at("node.token"), at("host.token"));
        let (host, viewer) = (sign(event, Role::Host)?, sign(event, Role::Viewer)?);
        write_secret(&node_token, &sign("*", Role::Node)?)?;
        write_secret(&host_token, &host)?;
        let stream_key = stream_key(&at(&format!("{event}.stream-key")))?;
        let sha256 = write_sha256(&identity.sha256());
        Ok(Self { certificate, key, sha256, token_key, node_token, host_token, viewer, host, stream_key })
    }
}

fn signer(private: &Path, public: &Path) -> anyhow::Result<Signer> {
    if !(private.exists() && public.exists()) {
        let (private_pem, public_pem) = generate_keys()?;
        write_secret(private, &private_pem)?;
        fs::write(public, public_pem).with_context(|| format!("cannot write {}", public.display()))?;
    }
    let pem = fs::read(private).with_context(|| format!("cannot read {}", private.display()))?;
    Ok(Signer::from_pem(&pem)?)
}

fn stream_key(path: &Path) -> anyhow::Result<String> {
    if let Ok(key) = fs::read_to_string(path) {
        return Ok(key.trim().to_owned());
    }
    let mut bytes = [0; STREAM_KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system has no randomness to give"))?;
    let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    write_secret(path, &key)?;
    Ok(key)
}
