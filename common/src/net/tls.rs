//! Certificates: whom we are, and whom we believe. One crypto provider, aws-lc-rs.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use time::{Duration, OffsetDateTime};

/// How long a generated certificate holds. Browsers believe one by its hash only if it holds for at
/// most 14 days; a day is left for clocks that differ.
const DAYS: i64 = 13;

/// Who a server is: its certificates, the leaf first, and the leaf's key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A new identity for `names` (host names or addresses): ECDSA P-256, signed by itself, good from
    /// an hour before `now`, for clocks that differ, and for 13 days in all.
    ///
    /// # Errors
    /// If a name cannot stand in a certificate.
    pub fn generate(now: OffsetDateTime, names: &[String]) -> Result<Self, TlsError> {
        let mut params = CertificateParams::new(names)?;
        params.not_before = now - Duration::HOUR;
        params.not_after = params.not_before + Duration::days(DAYS);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = params.self_signed(&key)?.der().clone();
        Ok(Self { chain: vec![leaf], key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() })
    }

    /// The identity in two PEM files.
    ///
    /// # Errors
    /// Names the file that cannot be read, or has no certificate or key in it.
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self { chain: certificates_in(certificates)?, key: file(key, PrivateKeyDer::from_pem_file(key))? })
    }

    /// Writes it to two PEM files, the key so that only we can read it.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn save(&self, certificates: &Path, key: &Path) -> Result<(), TlsError> {
        let chain: Vec<_> = self.chain.iter().map(|der| pem::Pem::new("CERTIFICATE", der.to_vec())).collect();
        write(certificates, pem::encode_many(&chain), PUBLIC)?;
        write(key, pem::encode(&pem::Pem::new("PRIVATE KEY", self.key.secret_der())), SECRET)
    }

    /// The SHA-256 of the leaf, by which browsers and nodes can be told to believe it.
    pub fn sha256(&self) -> [u8; 32] {
        self.chain.first().map(sha256).unwrap_or_default()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Modes of files that anybody may read, and of those that nobody else may.
const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

fn write(path: &Path, text: String, mode: u32) -> Result<(), TlsError> {
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    let written = open.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| TlsError::Write { path: path.to_owned(), source })
}

/// Which servers a client believes.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those with a certificate under one of the roots in this PEM file.
    Roots(PathBuf),
    /// The one whose leaf has this SHA-256.
    Sha256([u8; 32]),
    /// Anybody: the connection is private, and nobody knows with whom. For `--insecure` only.
    Anybody,
}

/// What a server offers: TLS 1.3, these protocols.
///
/// # Errors
/// If key and certificate do not fit together.
pub fn server_config(identity: &Identity, alpns: &[Vec<u8>]) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = alpns.to_vec();
    Ok(config)
}

/// What a web server offers: TLS 1.3, and 1.2 for old devices; HTTP/2 and HTTP/1.1.
///
/// # Errors
/// If the certificate cannot be used.
pub fn web_config(identity: &Identity) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What a client offers, and whom it believes.
///
/// # Errors
/// If the roots cannot be read.
pub fn client_config(trust: &Trust, alpns: &[Vec<u8>]) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let builder =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = match trust {
        Trust::Roots(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates_in(path)? {
                roots.add(certificate)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Sha256(hash) => pinned(builder, Some(*hash), algorithms),
        Trust::Anybody => pinned(builder, None, algorithms),
    };
    config.alpn_protocols = alpns.to_vec();
    Ok(config)
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn pinned(builder: Builder, hash: Option<[u8; 32]>, algorithms: WebPkiSupportedAlgorithms) -> ClientConfig {
    let verifier = Arc::new(Pinned { hash, algorithms });
    builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
}

/// Believes a leaf by its hash, whatever name or date it bears; still sees that the peer has its key.
#[derive(Debug)]
struct Pinned {
    hash: Option<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.hash {
            Some(hash) if hash != sha256(leaf) => {
                Err(rustls::CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A PEM file cannot be read.
    #[error("{}: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// rustls refuses it.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> =
        file(path, CertificateDer::pem_file_iter(path).and_then(|found| found.collect()))?;
    match certificates.is_empty() {
        true => file(path, Err(rustls_pki_types::pem::Error::NoItemsFound)),
        false => Ok(certificates),
    }
}

fn file<T>(path: &Path, read: Result<T, rustls_pki_types::pem::Error>) -> Result<T, TlsError> {
    read.map_err(|source| TlsError::Pem { path: path.to_owned(), source })
}

fn sha256(leaf: &CertificateDer<'_>) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, leaf).as_ref());
    hash
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
