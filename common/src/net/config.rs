//! Settings of a node: a TOML file, environment variables and flags, and every mistake told at once.
//!
//! A flag wins over its environment variable, and that over the file. All three have the same names:
//! `--parent-token-file`, `STENTOR_PARENT_TOKEN_FILE`, `parent-token-file`.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use time::OffsetDateTime;
use url::Url;

use super::door::Door;
use super::log::{self, Private};
use super::node::{Bounds, NodeConfig};
use super::tls::{Identity, Trust};
use super::token::Verifier;
use super::upstream::Parent;

/// What any node can be told. Nothing is read here yet: [`NodeSettings::resolve`] does, all at once.
#[derive(Debug, Clone, Default, Args)]
pub struct NodeSettings {
    /// Settings in a TOML file, with the names of the flags
    #[arg(long, value_name = "FILE", env = "STENTOR_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where MoQT is served, over QUIC and WebTransport: UDP
    #[arg(long, value_name = "ADDRESS", env = "STENTOR_LISTEN")]
    pub listen: Option<String>,
    /// Where metrics and health are served: TCP, and not for strangers
    #[arg(long, value_name = "ADDRESS", env = "STENTOR_OPS")]
    pub ops: Option<String>,
    /// Certificates in a PEM file, the leaf first; without one, a certificate for 13 days is made
    #[arg(long, value_name = "FILE", env = "STENTOR_CERTIFICATE")]
    pub certificate: Option<String>,
    /// The certificate's key in a PEM file
    #[arg(long, value_name = "FILE", env = "STENTOR_KEY")]
    pub key: Option<String>,
    /// A public Ed25519 key in a PEM file: tokens signed with it are good. May be repeated
    #[arg(long, value_name = "FILE", env = "STENTOR_TOKEN_KEY", value_delimiter = ',')]
    pub token_key: Vec<String>,
    /// Let everybody in, without tokens: for closed networks
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "STENTOR_OPEN")]
    pub open: Option<String>,
    /// The node to pull from: moqt://HOST:PORT or https://HOST:PORT. May be repeated: the next is tried
    #[arg(long, value_name = "URL", env = "STENTOR_PARENT", value_delimiter = ',')]
    pub parent: Vec<String>,
    /// The SHA-256 of the parent's certificate, in hex
    #[arg(long, value_name = "HEX", env = "STENTOR_PARENT_SHA256")]
    pub parent_sha256: Option<String>,
    /// Roots in a PEM file under which the parent's certificate is
    #[arg(long, value_name = "FILE", env = "STENTOR_PARENT_ROOTS")]
    pub parent_roots: Option<String>,
    /// A file with the token to show to the parent
    #[arg(long, value_name = "FILE", env = "STENTOR_PARENT_TOKEN_FILE")]
    pub parent_token_file: Option<String>,
    /// How far a viewer may fall behind before pictures are left out for it [default: 2s]
    #[arg(long, value_name = "TIME", env = "STENTOR_LATENCY_MAX")]
    pub latency_max: Option<String>,
    /// How long a track is kept that nobody watches [default: 10s]
    #[arg(long, value_name = "TIME", env = "STENTOR_LINGER")]
    pub linger: Option<String>,
    /// Bytes of all tracks together [default: 1073741824]
    #[arg(long, value_name = "BYTES", env = "STENTOR_CACHE_BYTES_MAX")]
    pub cache_bytes_max: Option<String>,
    /// Connections at once [default: 16000]
    #[arg(long, value_name = "NUMBER", env = "STENTOR_CONNECTIONS_MAX")]
    pub connections_max: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or target=level with commas between [default: info]
    #[arg(long, value_name = "FILTER", env = "STENTOR_LOG")]
    pub log: Option<String>,
    /// How logs look: text or json [default: text]
    #[arg(long, value_name = "FORMAT", env = "STENTOR_LOG_FORMAT")]
    pub log_format: Option<String>,
    /// End when standard input does: for supervisors
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

/// Where a setting goes.
#[derive(Debug)]
pub enum Slot<'a> {
    /// One value.
    One(&'a mut Option<String>),
    /// Any number of them.
    Many(&'a mut Vec<String>),
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl NodeSettings {
    /// The settings by name, as they stand in a file.
    pub fn slots(&mut self) -> Vec<(&'static str, Slot<'_>)> {
        vec![
            ("listen", Slot::One(&mut self.listen)),
            ("ops", Slot::One(&mut self.ops)),
            ("certificate", Slot::One(&mut self.certificate)),
            ("key", Slot::One(&mut self.key)),
            ("token-key", Slot::Many(&mut self.token_key)),
            ("open", Slot::One(&mut self.open)),
            ("parent", Slot::Many(&mut self.parent)),
            ("parent-sha256", Slot::One(&mut self.parent_sha256)),
            ("parent-roots", Slot::One(&mut self.parent_roots)),
            ("parent-token-file", Slot::One(&mut self.parent_token_file)),
            ("latency-max", Slot::One(&mut self.latency_max)),
            ("linger", Slot::One(&mut self.linger)),
            ("cache-bytes-max", Slot::One(&mut self.cache_bytes_max)),
            ("connections-max", Slot::One(&mut self.connections_max)),
            ("log", Slot::One(&mut self.log)),
            ("log-format", Slot::One(&mut self.log_format)),
        ]
    }

    /// Begins to log as the settings say.
    pub fn start_log(&self, mistakes: &mut Mistakes) {
        let format = mistakes.parsed("log-format", &self.log_format).unwrap_or_default();
        if let Err(error) = log::init(format, self.log.as_deref().unwrap_or("info")) {
            mistakes.note("log", error);
        }
    }

    /// The node that the settings describe; `None` if they have mistakes, which are noted. `listen` and
    /// `ops` are where it listens if nothing else is said.
    pub fn resolve(
        &self,
        listen: SocketAddr,
        ops: SocketAddr,
        mistakes: &mut Mistakes,
    ) -> Option<NodeConfig> {
        let before = mistakes.0.len();
        let defaults = Bounds::default();
        let bounds = Bounds {
            latency_max: mistakes.time("latency-max", &self.latency_max).unwrap_or(defaults.latency_max),
            linger: mistakes.time("linger", &self.linger).unwrap_or(defaults.linger),
            cache_bytes_max: mistakes
                .parsed("cache-bytes-max", &self.cache_bytes_max)
                .unwrap_or(defaults.cache_bytes_max),
            connections_max: mistakes
                .parsed("connections-max", &self.connections_max)
                .unwrap_or(defaults.connections_max),
        };
        let listen = mistakes.parsed("listen", &self.listen).unwrap_or(listen);
        let ops = mistakes.parsed("ops", &self.ops).unwrap_or(ops);
        let (door, parents, identity) =
            (self.door(mistakes), self.parents(mistakes), self.identity(mistakes));
        let (door, identity) = (door?, identity?);
        (mistakes.0.len() == before).then_some(NodeConfig { listen, ops, identity, door, parents, bounds })
    }

    fn door(&self, mistakes: &mut Mistakes) -> Option<Door> {
        let open: bool = mistakes.parsed("open", &self.open).unwrap_or(false);
        match (open, self.token_key.is_empty()) {
            (true, true) => Some(Door::Open),
            (true, false) => mistakes.none("open", "say either whose tokens are good (token-key) or open"),
            (false, true) => mistakes.none(
                "token-key",
                "nobody could come in: name a public key, or say `open` on a closed network",
            ),
            (false, false) => Some(Door::Tokens(self.verifier(mistakes)?)),
        }
    }

    /// Who may sign tokens.
    pub fn verifier(&self, mistakes: &mut Mistakes) -> Option<Verifier> {
        let mut pems = Vec::new();
        for path in &self.token_key {
            pems.extend(mistakes.file("token-key", path));
        }
        match Verifier::from_pems(&pems) {
            Ok(verifier) => Some(verifier),
            Err(error) => mistakes.none("token-key", error),
        }
    }

    fn identity(&self, mistakes: &mut Mistakes) -> Option<Identity> {
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Identity::load(Path::new(certificate), Path::new(key)),
            (None, None) => Identity::generate(OffsetDateTime::now_utc(), &["localhost".to_owned()]),
            (Some(_), None) => return mistakes.none("key", "a certificate needs its key"),
            (None, Some(_)) => return mistakes.none("certificate", "a key needs its certificate"),
        };
        match identity {
            Ok(identity) => Some(identity),
            Err(error) => mistakes.none("certificate", error),
        }
    }

    fn parents(&self, mistakes: &mut Mistakes) -> Vec<Parent> {
        let trust = match (&self.parent_sha256, &self.parent_roots) {
            (None, None) if self.parent.is_empty() => return Vec::new(),
            (Some(hex), None) => parse_sha256(hex).map(Trust::Sha256),
            (None, Some(roots)) => Some(Trust::Roots(roots.into())),
            _ => None,
        };
        let Some(trust) = trust else {
            let how = "say whom to believe: 64 hex digits of SHA-256, or parent-roots with a PEM file";
            mistakes.note("parent-sha256", how);
            return Vec::new();
        };
        let token = self.parent_token_file.as_ref().and_then(|path| mistakes.file("parent-token-file", path));
        let token = token.map(|bytes| Private(String::from_utf8_lossy(&bytes).trim().to_owned()));
        let mut parents = Vec::new();
        for url in &self.parent {
            match url.parse::<Url>() {
                Ok(url) if ["moqt", "https"].contains(&url.scheme()) && url.host().is_some() => {
                    parents.push(Parent { url, trust: trust.clone(), token: token.clone() });
                }
                Ok(_) => {
                    mistakes.note("parent", format!("`{url}` is not moqt://HOST:PORT or https://HOST:PORT"))
                }
                Err(error) => mistakes.note("parent", format!("`{url}`: {error}")),
            }
        }
        parents
    }
}

/// Reads a file of settings into the slots that are still empty.
pub fn read_file(path: &Path, slots: Vec<(&'static str, Slot<'_>)>, mistakes: &mut Mistakes) {
    let name = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return mistakes.note("config", format!("cannot read {name}: {error}")),
    };
    match text.parse::<toml::Table>() {
        Ok(table) => fill(table, slots, mistakes),
        Err(error) => mistakes.note("config", format!("{name}: {}", error.to_string().trim_end())),
    }
}

fn fill(table: toml::Table, mut slots: Vec<(&'static str, Slot<'_>)>, mistakes: &mut Mistakes) {
    let known = slots.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    for (key, value) in table {
        let slot = slots.iter_mut().find(|(name, _)| *name == key.replace('_', "-"));
        let Some((name, slot)) = slot else {
            mistakes.note(&key, format!("there is no such setting; there are {known}"));
            continue;
        };
        match (slot, value) {
            (Slot::Many(values), toml::Value::Array(array)) => {
                let given: Option<Vec<_>> = array.iter().map(plain).collect();
                match given {
                    Some(given) if values.is_empty() => **values = given,
                    Some(_) => {}
                    None => mistakes.note(name, "wants a list of texts"),
                }
            }
            (Slot::Many(values), value) => match plain(&value) {
                Some(given) if values.is_empty() => values.push(given),
                Some(_) => {}
                None => mistakes.note(name, "wants a list of texts"),
            },
            (Slot::One(one), value) => match plain(&value) {
                Some(given) => drop(one.get_or_insert(given)),
                None => mistakes.note(name, "wants one value"),
            },
        }
    }
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The 32 bytes that 64 hex digits stand for; colons between them are passed over.
pub fn parse_sha256(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hex.bytes().filter(|&byte| byte != b':').collect();
    let mut hash = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        let text = std::str::from_utf8(pair).ok().filter(|text| !text.contains('+'))?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(hash)
}

/// 64 hex digits.
pub fn write_sha256(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Mistakes {
    /// Notes what is wrong with a setting.
    pub fn note(&mut self, setting: &str, what: impl Display) {
        self.0.push(format!("{setting}: {what}"));
    }

    fn none<T>(&mut self, setting: &str, what: impl Display) -> Option<T> {
        self.note(setting, what);
        None
    }

    /// A setting as what it has to be; `None` if it is not set, or not that.
    pub fn parsed<T: FromStr>(&mut self, setting: &str, value: &Option<String>) -> Option<T>
    where
        T::Err: Display,
    {
        let value = value.as_ref()?;
        match value.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => self.none(setting, format!("`{value}`: {error}")),
        }
    }

    /// A time such as `500ms` or `2s`.
    pub fn time(&mut self, setting: &str, value: &Option<String>) -> Option<Duration> {
        let value = value.as_ref()?;
        match humantime::parse_duration(value) {
            Ok(time) => Some(time),
            Err(error) => self.none(setting, format!("`{value}`: {error}; write 500ms or 2s")),
        }
    }

    fn file(&mut self, setting: &str, path: &str) -> Option<Vec<u8>> {
        match std::fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) => self.none(setting, format!("cannot read {path}: {error}")),
        }
    }

    /// Whether there is none.
    ///
    /// # Errors
    /// All of them.
    pub fn check(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings cannot be used:")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str, mut settings: NodeSettings) -> (NodeSettings, Mistakes) {
        let mut mistakes = Mistakes::default();
        fill(text.parse().unwrap(), settings.slots(), &mut mistakes);
        (settings, mistakes)
    }

    fn resolve(settings: &NodeSettings) -> (Option<NodeConfig>, String) {
        let mut mistakes = Mistakes::default();
        let ports = ["[::]:4450".parse().unwrap(), "127.0.0.1:9410".parse().unwrap()];
        let config = settings.resolve(ports[0], ports[1], &mut mistakes);
        (config, mistakes.to_string())
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = NodeSettings { listen: Some("[::]:1".into()), ..NodeSettings::default() };
        let (settings, mistakes) =
            from_file("listen = '[::]:2'\nops = '127.0.0.1:3'\nopen = true\nlinger = '1m'", flags);
        assert_eq!(mistakes, Mistakes::default());
        let (config, _) = resolve(&settings);
        let config = config.unwrap();
        assert_eq!((config.listen.port(), config.ops.port()), (1, 3));
        assert_eq!(config.bounds.linger, Duration::from_secs(60));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let (settings, mut mistakes) = from_file(
            "lisen = 'x'\nlisten = 'nowhere'\nlinger = 'long'\nconnections_max = -1\nparent = ['rtmp://x', 'y']\n\
             parent-sha256 = 'zz'\ncertificate = '/none.pem'\nops = {}",
            NodeSettings::default(),
        );
        let config = settings.resolve("[::]:1".parse().unwrap(), "[::]:2".parse().unwrap(), &mut mistakes);
        assert!(config.is_none());
        let told = mistakes.check().unwrap_err().to_string();
        for setting in [
            "lisen:",
            "listen:",
            "linger:",
            "connections-max:",
            "parent-sha256:",
            "key:",
            "ops:",
            "token-key:",
        ] {
            assert!(told.contains(setting), "{setting} is missing in {told}");
        }
    }

    #[test]
    fn a_node_that_lets_everybody_in_has_to_say_so() {
        let (config, told) = resolve(&NodeSettings::default());
        assert!(config.is_none() && told.contains("open"));
    }

    #[test]
    fn hashes_are_written_and_read() {
        let hash: [u8; 32] = std::array::from_fn(|at| at as u8 * 7);
        assert_eq!(parse_sha256(&write_sha256(&hash)), Some(hash));
        assert_eq!(parse_sha256("12"), None);
        assert_eq!(parse_sha256(&"+1".repeat(32)), None);
    }
}
