//! One UDP port for everybody: raw QUIC (`moqt-18`) and WebTransport (`h3`), told apart by ALPN.
//!
//! Either way the result is one type, [`Transport`], with the same streams, so nothing above knows
//! which it was but for the path, which WebTransport brings with the request and raw QUIC with SETUP.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use tokio::time::timeout;
use url::Url;
use web_transport_quinn::proto::{ConnectRequest, ConnectResponse};
use web_transport_quinn::{Request, http::StatusCode};

use super::tls::{self, Identity, Trust};

/// A connection, whichever way it was made.
pub type Transport = web_transport_quinn::Session;

/// The ALPN of raw QUIC, and the WebTransport subprotocol: MoQT draft-18.
pub const MOQT_ALPN: &str = "moqt-18";

/// What the UDP socket asks for in each direction: 8 MiB hold 30 ms of 2 Gbit/s, the time a
/// scheduler may take; with the kernel's usual 200 KiB, 2 Mb/s streams were measured to drop.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// A QUIC handshake, and the HTTP/3 exchange after it, take three round trips; 10 s allow 3 s each.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A whole key frame of the top rung (about 100 KB) may leave at line speed before the first ACK.
const INITIAL_WINDOW_BYTES: u64 = 128 << 10;

/// Idle connections end after this; a child is lost to its parent no later.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// What may be on its way to a peer: two seconds of a 4 Mb/s stream. Handles, not copies.
const SEND_WINDOW_BYTES: u64 = 1 << 20;

/// Streams a stranger may open: eight requests at once, a control stream, and two uploads. quinn keeps
/// a slot for each, per connection; peers that may publish or carry a tree are given more.
const STREAMS: (u32, u32) = (16, 8);

/// Streams of a node or a host: 256 requests, and the open groups of as many tracks.
const STREAMS_TRUSTED: (u32, u32) = (512, 512);

/// What a stranger may have in flight towards us, all streams together: control messages only.
const RECEIVE_WINDOW_BYTES: u32 = 256 << 10;

/// The same for a host or parent: a second of 100 Mb/s.
const RECEIVE_WINDOW_TRUSTED_BYTES: u32 = 16 << 20;

/// One stream's share of it: a 2 s group of 8 Mb/s.
const STREAM_RECEIVE_WINDOW_BYTES: u32 = 2 << 20;

/// A UDP port that accepts and makes connections.
#[derive(Debug, Clone)]
pub struct Endpoint {
    quinn: quinn::Endpoint,
}

impl Endpoint {
    /// Binds `listen` and accepts connections as `identity`.
    ///
    /// # Errors
    /// If the port cannot be bound, or the certificate cannot be used.
    pub fn serve(listen: SocketAddr, identity: &Identity) -> Result<Self, EndpointError> {
        let alpns = [MOQT_ALPN.as_bytes().to_vec(), web_transport_quinn::ALPN.as_bytes().to_vec()];
        let tls = tls::server_config(identity, &alpns)?;
        let crypto = QuicServerConfig::try_from(tls).map_err(|_| EndpointError::Cipher)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport(None)));
        Self::bind(listen, Some(config))
    }

    /// A port of the system's choice that only makes connections.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn client() -> Result<Self, EndpointError> {
        // A machine without IPv6 cannot bind the unspecified address of it.
        Self::bind((Ipv6Addr::UNSPECIFIED, 0).into(), None)
            .or_else(|_| Self::bind(SocketAddr::from(([0, 0, 0, 0], 0)), None))
    }

    fn bind(listen: SocketAddr, server: Option<quinn::ServerConfig>) -> Result<Self, EndpointError> {
        let bind = |source| EndpointError::Bind { listen, source };
        let socket = udp_socket(listen).map_err(bind)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let quinn = quinn::Endpoint::new(EndpointConfig::default(), server, socket, runtime).map_err(bind)?;
        Ok(Self { quinn })
    }

    /// The address bound: tells the port where 0 was asked for.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.quinn.local_addr()
    }

    /// The next peer that knocks; `None` once the endpoint is closed.
    pub async fn knock(&self) -> Option<quinn::Incoming> {
        self.quinn.accept().await
    }

    /// Connections that are open.
    pub fn open_connections(&self) -> usize {
        self.quinn.open_connections()
    }

    /// Connects to `url`: `moqt://` by raw QUIC, `https://` by WebTransport.
    ///
    /// # Errors
    /// Says which step failed: the URL, the name, the handshake, the request.
    pub async fn connect(
        &self,
        url: &Url,
        trust: &Trust,
        keep_alive: Option<Duration>,
    ) -> Result<Transport, ConnectError> {
        timeout(HANDSHAKE_TIMEOUT, self.dial(url, trust, keep_alive))
            .await
            .map_err(|_| ConnectError::TimedOut)?
    }

    async fn dial(
        &self,
        url: &Url,
        trust: &Trust,
        keep_alive: Option<Duration>,
    ) -> Result<Transport, ConnectError> {
        let alpn = match url.scheme() {
            "moqt" => MOQT_ALPN,
            "https" => web_transport_quinn::ALPN,
            other => return Err(ConnectError::Scheme(other.to_owned())),
        };
        let host = url.host_str().ok_or(ConnectError::NoHost)?.trim_matches(['[', ']']).to_owned();
        let addr = self.resolve(&host, url.port().unwrap_or(443)).await?;
        let tls = tls::client_config(trust, &[alpn.as_bytes().to_vec()])?;
        let crypto = QuicClientConfig::try_from(tls).map_err(|_| ConnectError::Cipher)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport(keep_alive)));
        let connection = self.quinn.connect_with(config, addr, &host)?.await?;
        trust_with_objects(&connection);
        if alpn == MOQT_ALPN {
            return Ok(Transport::raw(connection));
        }
        let request = ConnectRequest::new(url.clone()).with_protocol(MOQT_ALPN);
        let session = Transport::connect(connection, request).await?;
        match session.protocol() {
            Some(MOQT_ALPN) => Ok(session),
            other => Err(ConnectError::Protocol(other.map(str::to_owned))),
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr, ConnectError> {
        let target = (host.to_owned(), port);
        let found = tokio::task::spawn_blocking(move || target.to_socket_addrs()).await;
        let mut found: Vec<_> = found
            .map_err(|_| ConnectError::TimedOut)?
            .map_err(|source| ConnectError::Name { host: host.to_owned(), source })?
            .collect();
        // Over an IPv6 socket an IPv4 address is reached in its mapped form.
        let v6 = self.local_addr().is_ok_and(|addr| addr.is_ipv6());
        for addr in &mut found {
            if let (true, std::net::IpAddr::V4(v4)) = (v6, addr.ip()) {
                addr.set_ip(v4.to_ipv6_mapped().into());
            }
        }
        // `localhost` names both families; what binds only one of them mostly binds IPv4.
        found
            .iter()
            .find(|addr| addr.ip().to_canonical().is_ipv4())
            .or_else(|| found.first())
            .copied()
            .ok_or_else(|| ConnectError::NoAddress(host.to_owned()))
    }

    /// Closes every connection and waits until the peers have been told.
    pub async fn close(&self) {
        self.quinn.close(VarInt::from_u32(0), b"shutting down");
        // A peer that is gone does not answer; three probe times-out are enough for the others.
        let _ = timeout(Duration::from_secs(1), self.quinn.wait_idle()).await;
    }
}

/// A peer that has been let in, and where it wanted to go.
#[derive(Debug)]
pub struct Arrival {
    /// Its connection.
    pub transport: Transport,
    /// Path and query of its request; raw QUIC tells them in SETUP instead.
    pub path: Option<String>,
}

/// Finishes the handshake of a peer that knocks.
///
/// # Errors
/// Says what it did wrong; the connection is gone then.
pub async fn greet(incoming: quinn::Incoming) -> Result<Arrival, ArrivalError> {
    timeout(HANDSHAKE_TIMEOUT, shake_hands(incoming)).await.map_err(|_| ArrivalError::TimedOut)?
}

async fn shake_hands(incoming: quinn::Incoming) -> Result<Arrival, ArrivalError> {
    let connection = incoming.await?;
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    let alpn = data.and_then(|data| data.protocol).unwrap_or_default();
    if alpn == MOQT_ALPN.as_bytes() {
        return Ok(Arrival { transport: Transport::raw(connection), path: None });
    }
    let request = Request::accept(connection).await?;
    if !request.protocols.iter().any(|protocol| protocol == MOQT_ALPN) {
        request.reject(StatusCode::BAD_REQUEST).await?;
        return Err(ArrivalError::Protocol);
    }
    let mut path = request.url.path().to_owned();
    if let Some(query) = request.url.query() {
        path = format!("{path}?{query}");
    }
    let transport = request.respond(ConnectResponse::OK.with_protocol(MOQT_ALPN)).await?;
    Ok(Arrival { transport, path: Some(path) })
}

/// Gives a connection the room of one that publishes or carries a tree.
pub(super) fn trust_with_objects(connection: &quinn::Connection) {
    let (bi, uni) = STREAMS_TRUSTED;
    connection.set_max_concurrent_bi_streams(bi.into());
    connection.set_max_concurrent_uni_streams(uni.into());
    connection.set_receive_window(RECEIVE_WINDOW_TRUSTED_BYTES.into());
    connection.set_send_window(u64::from(RECEIVE_WINDOW_TRUSTED_BYTES));
}

fn transport(keep_alive: Option<Duration>) -> TransportConfig {
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW_BYTES);
    let (bi, uni) = STREAMS;
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(bi.into())
        .max_concurrent_uni_streams(uni.into())
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(keep_alive)
        .receive_window(RECEIVE_WINDOW_BYTES.into())
        .stream_receive_window(STREAM_RECEIVE_WINDOW_BYTES.into())
        .send_window(SEND_WINDOW_BYTES)
        // Round robin would make all groups late together; priorities decide instead.
        .send_fairness(false)
        .congestion_controller_factory(Arc::new(cubic));
    config
}

fn udp_socket(listen: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(listen);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if listen.is_ipv6() {
        // Browsers try ::1 first and do not fall back; everybody else may come by IPv4.
        socket.set_only_v6(false)?;
    }
    // The kernel gives what its limits allow, and says nothing: so look, and tell.
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    let granted = socket.recv_buffer_size()?.min(socket.send_buffer_size()?);
    if granted < SOCKET_BUFFER_BYTES {
        tracing::debug!(
            granted,
            wanted = SOCKET_BUFFER_BYTES,
            "small UDP buffers: raise net.core.rmem_max and net.core.wmem_max"
        );
    }
    socket.bind(&listen.into())?;
    Ok(socket.into())
}

/// Why a port cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The address is taken, or not ours.
    #[error("cannot bind UDP {listen}: {source}")]
    Bind {
        /// The address wanted.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// rustls offers no cipher suite that QUIC can use.
    #[error("the TLS configuration has no cipher suite for QUIC")]
    Cipher,
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Only `moqt` and `https` are spoken.
    #[error("a URL begins with moqt:// (raw QUIC) or https:// (WebTransport), not {0}://")]
    Scheme(String),
    /// The URL names no host.
    #[error("the URL names no host")]
    NoHost,
    /// The host's name cannot be resolved.
    #[error("cannot resolve {host}: {source}")]
    Name {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The name resolves to nothing.
    #[error("{0} has no address")]
    NoAddress(String),
    /// The trust given cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// rustls offers no cipher suite that QUIC can use.
    #[error("the TLS configuration has no cipher suite for QUIC")]
    Cipher,
    /// quinn could not begin.
    #[error("cannot begin to connect: {0}")]
    Begin(#[from] quinn::ConnectError),
    /// The handshake failed.
    #[error("cannot connect: {0}")]
    Handshake(#[from] quinn::ConnectionError),
    /// The WebTransport request failed.
    #[error("WebTransport was refused: {0}")]
    WebTransport(#[from] web_transport_quinn::ClientError),
    /// The server chose no protocol we speak.
    #[error("the server speaks {0:?}, not {MOQT_ALPN}")]
    Protocol(Option<String>),
    /// Nobody answered.
    #[error("no answer within {HANDSHAKE_TIMEOUT:?}")]
    TimedOut,
}

/// Why a peer that knocked was not let in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArrivalError {
    /// The QUIC handshake failed.
    #[error("handshake failed: {0}")]
    Handshake(#[from] quinn::ConnectionError),
    /// The HTTP/3 exchange failed.
    #[error("WebTransport request failed: {0}")]
    WebTransport(#[from] web_transport_quinn::ServerError),
    /// It offered no version of MoQT that is spoken here.
    #[error("offered no protocol that is spoken here ({MOQT_ALPN})")]
    Protocol,
    /// It was too slow.
    #[error("no handshake within {HANDSHAKE_TIMEOUT:?}")]
    TimedOut,
}

impl ArrivalError {
    /// The label under which it is counted.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Handshake(_) => "handshake",
            Self::WebTransport(_) => "webtransport",
            Self::Protocol => "protocol",
            Self::TimedOut => "timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use time::OffsetDateTime;

    /// A server on loopback, and a client that has yet to choose whom it believes.
    fn pair() -> (Endpoint, Endpoint, Trust, u16) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let identity = Identity::generate(OffsetDateTime::now_utc(), &names).unwrap();
        let server = Endpoint::serve("127.0.0.1:0".parse().unwrap(), &identity).unwrap();
        let port = server.local_addr().unwrap().port();
        (server, Endpoint::client().unwrap(), Trust::Sha256(identity.sha256()), port)
    }

    /// The client opens a stream, the server echoes it: over whatever `scheme` stands for.
    async fn echo(scheme: &str) -> Option<String> {
        let (server, client, trust, port) = pair();
        let url: Url = format!("{scheme}://127.0.0.1:{port}/hall?t=token").parse().unwrap();
        let serve = async {
            let arrival = greet(server.knock().await.unwrap()).await.unwrap();
            let (mut send, mut recv) = arrival.transport.accept_bi().await.unwrap();
            let heard = recv.read_to_end(100).await.unwrap();
            send.write_chunk(heard.into()).await.unwrap();
            send.finish().unwrap();
            arrival.transport.closed().await;
            arrival.path
        };
        let dial = async {
            let transport = client.connect(&url, &trust, None).await.unwrap();
            let (mut send, mut recv) = transport.open_bi().await.unwrap();
            send.write_chunk("good evening".into()).await.unwrap();
            send.finish().unwrap();
            assert_eq!(recv.read_to_end(100).await.unwrap(), b"good evening");
            transport.close(0, b"");
            client.close().await;
        };
        tokio::join!(serve, dial).0
    }

    #[tokio::test]
    async fn raw_quic_and_webtransport_come_in_by_one_port() {
        assert_eq!(echo("moqt").await, None, "raw QUIC tells its path in SETUP");
        assert_eq!(echo("https").await.as_deref(), Some("/hall?t=token"));
    }

    #[tokio::test]
    async fn a_server_with_another_certificate_is_not_believed() {
        let (server, client, _, port) = pair();
        let url: Url = format!("moqt://127.0.0.1:{port}/").parse().unwrap();
        let trust = Trust::Sha256([7; 32]);
        let serve = async { greet(server.knock().await.unwrap()).await };
        let (served, dialled) = tokio::join!(serve, client.connect(&url, &trust, None));
        assert!(matches!(dialled, Err(ConnectError::Handshake(_))), "{dialled:?}");
        assert_eq!(served.unwrap_err().reason(), "handshake");
    }

    #[tokio::test]
    async fn other_schemes_are_refused_by_name() {
        let (_, client, trust, _) = pair();
        let url: Url = "rtmp://127.0.0.1/live".parse().unwrap();
        let refused = client.connect(&url, &trust, None).await;
        assert!(matches!(refused, Err(ConnectError::Scheme(scheme)) if scheme == "rtmp"));
    }
}
