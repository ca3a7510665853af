//! What can be asked of `stentor`, and who answers.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use edge::EdgeSettings;
use origin::OriginSettings;
use relay::RelaySettings;

use crate::publish::PublishArgs;
use crate::token::TokenArgs;
use crate::up::UpArgs;
use crate::watch::WatchArgs;

/// Self-hosted webinars for very many viewers: hosts come by RTMP or HTTP, and an origin fans them out over
/// QUIC through relays and edges.
#[derive(Debug, Parser)]
#[command(name = "stentor", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up the whole system on this machine
    #[command(after_help = "Examples:\n  stentor up --demo\n  stentor up --event town-hall --edges 4\n  \
                            stentor up --output json --any-port")]
    Up(UpArgs),
    /// Watch an event without a screen: count, check, or write a file
    #[command(
        after_help = "Examples (URL is what `stentor up` shows):\n  stentor watch URL --verify --duration 10\n  \
                            stentor watch URL --output - | ffplay -\n  \
                            stentor watch URL --output event.mp4 --report json\n\n\
                            The exit code is 0 only where nothing was missing or wrong."
    )]
    Watch(WatchArgs),
    /// Publish a file of fragmented MP4 to an origin
    #[command(
        after_help = "Example:\n  stentor publish talk.mp4 --realtime --to http://localhost:8810/ingest/live \
                            --token KEY\n\nTo make such a file:\n  ffmpeg -i talk.mov -c:v libx264 -g 60 -c:a aac \
                            -movflags frag_keyframe+empty_moov+default_base_moof talk.mp4"
    )]
    Publish(PublishArgs),
    /// Sign a join token
    #[command(
        after_help = "Example:\n  stentor token --key token.pem --new-key --event town-hall --role host"
    )]
    Token(TokenArgs),
    /// Run an origin, which hosts publish to
    Origin(OriginSettings),
    /// Run a relay between an origin and edges
    Relay(RelaySettings),
    /// Run an edge, which viewers connect to
    Edge(EdgeSettings),
}

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let outcome = runtime.block_on(run(cli.command));
    // Standard input may be waited for, which nothing can interrupt.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome.unwrap_or_else(|error| failed(&error))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(args) => crate::up::run(args).await?,
        Command::Watch(args) => return crate::watch::run(args).await,
        Command::Publish(args) => crate::publish::run(args).await?,
        Command::Token(args) => crate::token::run(&args)?,
        Command::Origin(settings) => origin::run(settings).await?,
        Command::Relay(settings) => relay::run(settings).await?,
        Command::Edge(settings) => edge::run(settings).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("stentor: {error:#}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }
}
