//! The live table: what each node does, once a second.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use tokio::time::Instant;

use super::child::get;

/// One node, and how much it had moved when it was looked at last.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) ops: u16,
    last: Option<(Instant, f64, f64)>,
}

/// What a node said of itself.
#[derive(Debug, PartialEq)]
struct Scrape {
    viewers: f64,
    children: f64,
    received: f64,
    sent: f64,
}

impl Row {
    pub(crate) fn new(name: String, address: String, ops: u16) -> Self {
        Self { name, address, ops, last: None }
    }

    async fn line(&mut self) -> String {
        let Self { name, address, .. } = self;
        let head = format!("{name:10} {address:22}");
        let Ok(text) = get(self.ops, "/metrics").await else { return format!("{head} does not answer") };
        let now = Instant::now();
        let Scrape { viewers, children, received, sent } = Scrape::read(&text);
        let rate =
            |bytes: f64, before: f64, time: Duration| (bytes - before) * 8e-6 / time.as_secs_f64().max(0.001);
        let (input, output) = match self.last.replace((now, received, sent)) {
            Some((at, before_in, before_out)) => {
                let time = now - at;
                (rate(received, before_in, time), rate(sent, before_out, time))
            }
            None => (0.0, 0.0),
        };
        format!("{head} {children:>8} {viewers:>8} {input:>10.2} {output:>10.2}")
    }
}

impl Scrape {
    fn read(text: &str) -> Self {
        let mut values: HashMap<&str, f64> = HashMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((series, value)) = line.rsplit_once(' ') {
                values.insert(series, value.parse().unwrap_or(0.0));
            }
        }
        let sum = |name: &str| -> f64 {
            let series = values.iter().filter(|(series, _)| series.split('{').next() == Some(name));
            series.map(|(_, value)| value).sum()
        };
        let role =
            |role: &str| values.get(&*format!("stentor_sessions{{role=\"{role}\"}}")).copied().unwrap_or(0.0);
        Self {
            viewers: role("viewer"),
            children: role("node"),
            received: sum("stentor_udp_bytes_received_total") + sum("stentor_ingest_bytes_total"),
            sent: sum("stentor_udp_bytes_sent_total"),
        }
    }
}

/// Draws the table over the last one.
pub(crate) async fn draw(rows: &mut [Row], drawn: &mut bool) {
    let mut lines = vec![format!(
        "{:10} {:22} {:>8} {:>8} {:>10} {:>10}",
        "node", "address", "children", "viewers", "Mbit/s in", "Mbit/s out"
    )];
    for row in rows.iter_mut() {
        lines.push(row.line().await);
    }
    let mut out = std::io::stdout().lock();
    if *drawn {
        // Up to the first line of the last table.
        let _ = write!(out, "\x1b[{}A", lines.len());
    }
    *drawn = true;
    for line in lines {
        let _ = writeln!(out, "\x1b[2K{line}");
    }
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_read_from_the_metrics() {
        let text = "# HELP x\nstentor_sessions{role=\"viewer\"} 7\nstentor_sessions{role=\"node\"} 2\n\
                    stentor_udp_bytes_sent_total 1e3\nstentor_udp_bytes_received_total 5\n\
                    stentor_ingest_bytes_total{protocol=\"rtmp\"} 10\n";
        let expected = Scrape { viewers: 7.0, children: 2.0, received: 15.0, sent: 1_000.0 };
        assert_eq!(Scrape::read(text), expected);
    }
}
