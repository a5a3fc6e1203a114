//! An audit for a machine: JSON lines, and comma-separated values for a spreadsheet.

use serde::Serialize;
use tw_detect::audit::{Certificates, Daemon, Inventory, Mitigation};
use tw_model::{Endpoint, Timestamp};
use tw_store::csv_field;

use super::escape::terminal;
use super::json::{About, Writer};

/// `audit_daemon`, `audit_image` and `audit_container` events, in this order.
pub(crate) fn lines(writer: &Writer<'_>, inventory: &Inventory) -> Vec<String> {
    let about =
        |event, environment, timestamp, evidence| About { event, timestamp, environment, evidence };
    let daemons = inventory.daemons.iter().map(|one| {
        let about = about("audit_daemon", &one.environment, one.first, &one.evidence);
        writer.line(&about, one)
    });
    let images = inventory.images.iter().map(|one| {
        let about = about("audit_image", &one.environment, one.first, &one.evidence);
        writer.line(&about, one)
    });
    let containers = inventory.containers.iter().map(|one| {
        let about = about("audit_container", &one.environment, one.first, &one.evidence);
        writer.line(&about, one)
    });
    daemons.chain(images).chain(containers).collect()
}

/// Names of the columns.
const COLUMNS: [&str; 18] = [
    "record",
    "environment",
    "docker_host",
    "port",
    "subject",
    "network",
    "transport",
    "kind",
    "name",
    "digest",
    "count",
    "answered",
    "refused",
    "failed",
    "first",
    "last",
    "risks",
    "detail",
];

/// One row; what does not apply stays empty.
#[derive(Default)]
struct Row<'a> {
    record: &'static str,
    environment: &'a str,
    host: String,
    port: String,
    subject: String,
    network: String,
    transport: String,
    kind: String,
    name: String,
    digest: String,
    counts: [Option<u64>; 4],
    times: Option<(Timestamp, Timestamp)>,
    risks: String,
    detail: String,
}

impl Row<'_> {
    /// RFC 4180; nothing that a spreadsheet would compute, and nothing that a terminal would obey.
    fn line(&self) -> String {
        let number = |count: &Option<u64>| count.map_or_else(String::new, |n| n.to_string());
        let (first, last) = self
            .times
            .map_or_else(Default::default, |(first, last)| (first.to_string(), last.to_string()));
        let [count, answered, refused, failed] = &self.counts;
        let fields: [String; COLUMNS.len()] = [
            self.record.to_owned(),
            self.environment.to_owned(),
            self.host.clone(),
            self.port.clone(),
            self.subject.clone(),
            self.network.clone(),
            self.transport.clone(),
            self.kind.clone(),
            self.name.clone(),
            self.digest.clone(),
            number(count),
            number(answered),
            number(refused),
            number(failed),
            first,
            last,
            self.risks.clone(),
            self.detail.clone(),
        ];
        fields.map(|field| csv_field(&terminal(&field))).join(",")
    }
}

/// A head, then rows `daemon`, `operation`, `mitigation`, `image`, `container`.
pub(crate) fn csv(inventory: &Inventory) -> String {
    let mut out = COLUMNS.join(",");
    out.push('\n');
    let mut write = |row: Row<'_>| {
        out.push_str(&row.line());
        out.push('\n');
    };
    for daemon in &inventory.daemons {
        daemon_rows(daemon, &mut write);
    }
    for one in &inventory.images {
        write(Row {
            record: "image",
            environment: &one.environment,
            host: one.docker_host.to_string(),
            subject: joined(&one.clients),
            kind: word(&one.action),
            name: one.name.clone(),
            digest: one.digest.clone().unwrap_or_default(),
            counts: [Some(one.count), None, None, Some(one.failed)],
            times: Some((one.first, one.last)),
            detail: format!(
                "registry {}; unconfirmed {}",
                one.registry.as_deref().unwrap_or("none"),
                one.unconfirmed
            ),
            ..Row::default()
        });
    }
    for one in &inventory.containers {
        let image = one.image.as_deref().unwrap_or("unknown");
        let user = one.user.as_deref().unwrap_or("not named");
        let started = if one.started { "started" } else { "start not seen" };
        let created = if one.created { "" } else { "; creation not seen, risks unknown" };
        write(Row {
            record: "container",
            environment: &one.environment,
            host: one.docker_host.to_string(),
            subject: joined(&one.clients),
            kind: one.kind.noun().to_owned(),
            name: one.name.clone().unwrap_or_default(),
            digest: one.id.clone().unwrap_or_default(),
            times: Some((one.first, one.last)),
            risks: one.risks.iter().map(word).collect::<Vec<_>>().join(" "),
            detail: format!("image {image}; user {user}; {started}; {} execs{created}", one.execs),
            ..Row::default()
        });
    }
    out
}

fn daemon_rows(daemon: &Daemon, write: &mut dyn FnMut(Row<'_>)) {
    let Endpoint { ip, port } = daemon.daemon;
    let blank = |record| Row {
        record,
        environment: &daemon.environment,
        host: ip.to_string(),
        port: port.to_string(),
        ..Row::default()
    };
    let versions = [&daemon.versions, &daemon.servers, &daemon.api_versions];
    let versions: Vec<&str> = versions.into_iter().flatten().map(String::as_str).collect();
    write(Row {
        kind: word(&daemon.known_by),
        name: versions.join(" "),
        transport: transport(daemon.transport.clear_calls, tls_of(daemon)).to_owned(),
        counts: [
            Some(daemon.operations.calls()),
            Some(daemon.operations.0.values().map(|tally| tally.answered).sum()),
            Some(daemon.operations.refused()),
            Some(daemon.operations.0.values().map(|tally| tally.failed).sum()),
        ],
        times: Some((daemon.first, daemon.last)),
        detail: format!(
            "served in clear without credentials {}; TLS connections {}; conversations in flow records {}; {}",
            daemon.transport.open_calls,
            daemon.transport.tls_connections,
            daemon.transport.recorded_conversations,
            certificates(daemon.client_certificates)
        ),
        ..blank("daemon")
    });
    for caller in &daemon.callers {
        let network = caller.network.clone().unwrap_or_else(|| "outside".to_owned());
        let tls = caller.tls_calls.saturating_add(caller.tls_connections);
        let transport = transport(caller.clear_calls, tls);
        let agents: Vec<&str> = caller.user_agents.iter().map(String::as_str).collect();
        for (operation, tally) in &caller.operations.0 {
            write(Row {
                subject: caller.ip.to_string(),
                network: network.clone(),
                transport: transport.to_owned(),
                kind: operation.as_str().to_owned(),
                counts: [
                    Some(tally.calls),
                    Some(tally.answered),
                    Some(tally.refused),
                    Some(tally.failed),
                ],
                times: Some((tally.first, tally.last)),
                detail: agents.join(" | "),
                ..blank("operation")
            });
        }
        if caller.operations.0.is_empty() {
            let unread = caller.tls_connections.saturating_add(caller.recorded_conversations);
            write(Row {
                subject: caller.ip.to_string(),
                network,
                transport: transport.to_owned(),
                kind: "not_read".to_owned(),
                counts: [Some(unread), None, None, None],
                times: Some((caller.first, caller.last)),
                detail: certificates(caller.client_certificates),
                ..blank("operation")
            });
        }
    }
    for mitigation in &daemon.mitigations {
        mitigation_rows(mitigation, &blank, write);
    }
}

fn mitigation_rows<'a>(
    mitigation: &Mitigation,
    blank: &dyn Fn(&'static str) -> Row<'a>,
    write: &mut dyn FnMut(Row<'_>),
) {
    let sides = [
        ("for", &mitigation.supports),
        ("against", &mitigation.against),
        ("unseen", &mitigation.unseen),
    ];
    for (side, lines) in sides {
        for line in lines {
            write(Row {
                subject: mitigation.id.to_owned(),
                kind: side.to_owned(),
                name: mitigation.name.to_owned(),
                detail: line.clone(),
                ..blank("mitigation")
            });
        }
    }
}

const fn tls_of(daemon: &Daemon) -> u64 {
    daemon.transport.tls_calls.saturating_add(daemon.transport.tls_connections)
}

const fn transport(clear: u64, tls: u64) -> &'static str {
    match (clear > 0, tls > 0) {
        (true, true) => "clear+tls",
        (true, false) => "clear",
        (false, true) => "tls",
        (false, false) => "unknown",
    }
}

fn certificates(seen: Certificates) -> String {
    format!(
        "client certificates: {} given, {} withheld, {} asked for, {} not asked for, {} unknown",
        seen.given, seen.withheld, seen.asked, seen.not_asked, seen.unknown
    )
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}

/// The contract's own word for a value of a closed set.
fn word<T: Serialize>(value: &T) -> String {
    super::text::name(value)
}
