//! The TCP shell of RTMP: accepts hosts, runs one [`Session`] each, delivers what they send.

use std::{fmt, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    Session,
    session::{Input, Output},
};
use crate::{
    ingest::{self, Door, Gone, IngestFault, Observer, Protocol, Publisher, Stage, fault::Counted, flv},
    media,
};

/// Connections at a time at most, known or not. A known host may hold 4 MiB of an unfinished message and
/// 4 MiB of queue, so 512 MiB in all; an unknown one 72 KiB. One origin serves a handful of hosts.
pub const SESSIONS_MAX: usize = 64;

/// The RTMP ingest of one origin.
#[derive(Clone)]
pub struct Rtmp {
    door: Arc<dyn Door>,
    stage: Arc<Stage>,
    observer: Arc<dyn Observer>,
}

impl Rtmp {
    /// Hosts that `door` admits go to `stage`; `observer` counts.
    pub fn new(door: Arc<dyn Door>, stage: Arc<Stage>, observer: Arc<dyn Observer>) -> Self {
        Self { door, stage, observer }
    }

    /// Serves hosts until `end`, then drops those that are connected. Returns when all tasks have ended.
    ///
    /// Address for the encoder: `rtmp://host/ANY/KEY` or `rtmp://host/ANY/EVENT?t=TOKEN`.
    pub async fn run(self, listener: TcpListener, end: impl Future<Output = ()>) {
        let mut sessions = JoinSet::new();
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                Some(ended) = sessions.join_next() => self.ended(ended),
                accepted = listener.accept() => match accepted {
                    Ok(_) if sessions.len() >= SESSIONS_MAX => self.fault(&IngestFault::TooMany),
                    Ok((tcp, _)) => drop(sessions.spawn(self.clone().serve(tcp))),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept RTMP connections");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        sessions.shutdown().await;
    }

    async fn serve(self, tcp: TcpStream) {
        let _counted = Counted::new(&*self.observer, Protocol::Rtmp);
        if let Err(fault) = Host::new(&self, tcp).run().await {
            self.fault(&fault);
        }
    }

    fn ended(&self, ended: Result<(), JoinError>) {
        if ended.is_err_and(|error| error.is_panic()) {
            self.fault(&IngestFault::Panicked);
        }
    }

    fn fault(&self, fault: &IngestFault) {
        tracing::info!(fault = fault.label(), "RTMP host: {fault}");
        self.observer.fault(Protocol::Rtmp, fault);
    }
}

impl fmt::Debug for Rtmp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rtmp").field("stage", &self.stage).finish_non_exhaustive()
    }
}

/// One host: its socket, its session, and its place on the stage once it has one.
struct Host<'a> {
    shell: &'a Rtmp,
    tcp: TcpStream,
    session: Session,
    demuxer: flv::Demuxer,
    publisher: Option<Publisher>,
    verdict: Result<(), IngestFault>,
}

impl<'a> Host<'a> {
    fn new(shell: &'a Rtmp, tcp: TcpStream) -> Self {
        Self {
            shell,
            tcp,
            session: Session::new(now()),
            demuxer: flv::Demuxer::default(),
            publisher: None,
            verdict: Ok(()),
        }
    }

    async fn run(mut self) -> Result<(), IngestFault> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let deadline = self.session.poll_timeout().map_or_else(Instant::now, Instant::from_std);
            let result = tokio::select! {
                biased;
                gone = gone(self.publisher.as_ref()) => {
                    self.refuse(gone.into());
                    Ok(())
                }
                read = timeout_at(deadline, self.tcp.read(&mut buffer)) => match read {
                    Ok(Ok(0)) => self.session.handle(now(), Input::Closed),
                    Ok(Ok(count)) => {
                        self.shell.observer.bytes(Protocol::Rtmp, count);
                        self.session.handle(now(), Input::Bytes(&buffer[..count]))
                    }
                    Ok(Err(error)) => return Err(error.into()),
                    Err(_) => self.session.handle(now(), Input::Timeout),
                },
            };
            while let Some(output) = self.session.poll() {
                if let Output::Finished = output {
                    self.close().await?;
                    return self.verdict;
                }
                self.perform(output).await?;
            }
            result?;
        }
    }

    async fn perform(&mut self, output: Output) -> Result<(), IngestFault> {
        match output {
            Output::Send(bytes) => write(&mut self.tcp, &bytes).await?,
            Output::Publish { key } => match self.enter(&key) {
                Ok(publisher) => {
                    self.publisher = Some(publisher);
                    self.session.handle(now(), Input::Accept)?;
                }
                Err(fault) => self.refuse(fault),
            },
            Output::Video { timestamp, body } => {
                let input = self.demuxer.video(timestamp, body);
                self.deliver(input).await;
            }
            Output::Audio { timestamp, body } => {
                let input = self.demuxer.audio(timestamp, body);
                self.deliver(input).await;
            }
            Output::Finished => {}
        }
        Ok(())
    }

    fn enter(&self, key: &str) -> Result<Publisher, IngestFault> {
        let (event, key) = claim(key);
        let event = ingest::admit(&*self.shell.door, event, key)?;
        let publisher = self.shell.stage.publish(&event)?;
        tracing::info!(%event, "a host publishes over RTMP");
        Ok(publisher)
    }

    async fn deliver(&mut self, input: Result<Option<media::Input>, flv::FlvError>) {
        // After a refusal the tags behind it have nowhere to go.
        let Some(publisher) = self.publisher.as_mut().filter(|_| self.verdict.is_ok()) else { return };
        match input {
            Ok(None) => {}
            Ok(Some(input)) => {
                let kind = kind_of(&input);
                match publisher.send(input).await {
                    Ok(()) => kind.into_iter().for_each(|kind| self.shell.observer.sample(kind)),
                    Err(gone) => self.refuse(gone.into()),
                }
            }
            Err(error @ flv::FlvError::BeforeHeader) => {
                self.shell.observer.fault(Protocol::Rtmp, &error.into());
            }
            Err(error) => self.refuse(error.into()),
        }
    }

    /// Tells the encoder why, and ends the session with `fault` once it has been told.
    fn refuse(&mut self, fault: IngestFault) {
        // Refusing only appends outputs, so it cannot fail in a way that matters more than the fault.
        let _ = self.session.handle(now(), Input::Refuse(&fault.to_string()));
        self.verdict = Err(fault);
    }

    /// Closes so that what was written arrives: a socket closed with unread bytes is reset, and a reset
    /// throws away what the encoder has not read yet.
    async fn close(&mut self) -> io::Result<()> {
        self.publisher = None;
        self.tcp.shutdown().await?;
        let mut rest = vec![0; READ_BYTES];
        let _ =
            timeout(LINGER_MAX, async { while matches!(self.tcp.read(&mut rest).await, Ok(1..)) {} }).await;
        Ok(())
    }
}

/// The event a key names, if it names one, and what is to be checked.
fn claim(key: &str) -> (Option<&str>, &str) {
    match key.split_once('?').map(|(event, query)| (event, ingest::token_in_query(query))) {
        Some((event, Some(token))) => (Some(event), token),
        _ => (None, key),
    }
}

async fn write(tcp: &mut TcpStream, bytes: &[u8]) -> Result<(), IngestFault> {
    match timeout(WRITE_MAX, tcp.write_all(bytes)).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(IngestFault::TooSlow(WRITE_MAX.as_secs())),
    }
}

async fn gone(publisher: Option<&Publisher>) -> Gone {
    match publisher {
        Some(publisher) => publisher.gone().await,
        None => std::future::pending().await,
    }
}

fn kind_of(input: &media::Input) -> Option<media::Kind> {
    match input {
        media::Input::Sample(sample) => Some(sample.kind),
        media::Input::Video(_) | media::Input::Audio(_) | media::Input::Break => None,
    }
}

/// Tokio's clock, so that a test can turn it.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// 130 ms of a 4 Mb/s host.
const READ_BYTES: usize = 64 << 10;
/// Our answers are a few hundred bytes: who does not take them in this time is not there.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// A round trip and the encoder's own reading.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// Out of file descriptors: trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_name_its_event() {
        assert_eq!(claim("event?t=a.b.c"), (Some("event"), "a.b.c"));
        assert_eq!(claim("plain-key"), (None, "plain-key"));
        assert_eq!(claim("key?with=query"), (None, "key?with=query"));
    }
}
