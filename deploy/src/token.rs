//! `stentor token`: join tokens for hosts, viewers and nodes.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use common::net::token::{self, Claims, Signer, generate_keys};

/// What a token allows, and for how long.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// The private Ed25519 key to sign with: a PEM file
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Make the key if it is not there, and its public half as FILE.pub
    #[arg(long)]
    new_key: bool,
    /// The event's id; a node's token is for all
    #[arg(long, value_name = "EVENT", required_unless_present = "new_key")]
    event: Option<String>,
    /// What its holder may do
    #[arg(long, value_enum, default_value_t = Role::Viewer)]
    role: Role,
    /// How long it holds
    #[arg(long, value_name = "TIME", default_value = "12h")]
    valid: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Watch the event
    Viewer,
    /// Publish the event
    Host,
    /// Pull every event, as a child in the tree
    Node,
}

/// Prints a token.
///
/// # Errors
/// If the key cannot be read, made or used.
pub(crate) fn run(args: &TokenArgs) -> anyhow::Result<()> {
    if args.new_key && !args.key.exists() {
        let (private, public) = generate_keys()?;
        write_secret(&args.key, &private)?;
        let mut name = args.key.clone().into_os_string();
        name.push(".pub");
        std::fs::write(&name, public).with_context(|| format!("cannot write {}", name.display()))?;
        eprintln!("made {} and {}", args.key.display(), name.display());
    }
    let event = match (&args.event, args.role) {
        (_, Role::Node) => "*".to_owned(),
        (Some(event), _) => event.clone(),
        (None, _) => return Ok(()),
    };
    let valid = humantime::parse_duration(&args.valid).context("--valid: write 12h or 30m")?;
    if valid > Duration::from_secs(366 * 24 * 60 * 60) {
        bail!("--valid: a token of more than a year cannot be taken back for as long");
    }
    let pem = std::fs::read(&args.key)
        .with_context(|| format!("cannot read {}: make one with --new-key", args.key.display()))?;
    let role = match args.role {
        Role::Viewer => token::Role::Viewer,
        Role::Host => token::Role::Host,
        Role::Node => token::Role::Node,
    };
    let exp = (SystemTime::now() + valid).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    println!("{}", Signer::from_pem(&pem)?.sign(&Claims { event, role, exp })?);
    Ok(())
}

/// Writes a file that nobody else may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}
