//! An audit for a person: a block a daemon, then images and containers. Columns keep their order, have no
//! blanks inside, and `-` where nothing is known, so that a program can cut them.

use std::fmt::Write as _;

use tw_detect::audit::{
    CallerUse, Certificates, ContainerUse, Daemon, ImageUse, Inventory, KnownBy, Mitigation,
};
use tw_model::Timestamp;

use super::super::sources::Sources;
use super::incident::name;
use super::{Page, Reading, bytes, count, span, terminal, thousands};

/// Rows of a table that a person is shown.
const ROWS: usize = 200;

/// Longest cell.
const CELL: usize = 120;

/// Writes an inventory.
pub(crate) fn inventory(inventory: &Inventory, sources: &Sources, reading: &Reading) -> String {
    let mut page = Page { out: String::new(), sources };
    for daemon in &inventory.daemons {
        block(&mut page, daemon);
    }
    images(&mut page, &inventory.images);
    containers(&mut page, &inventory.containers);
    summary(&mut page, inventory, reading);
    page.out
}

fn block(page: &mut Page<'_>, daemon: &Daemon) {
    let environment = terminal(&daemon.environment);
    page.line(&format!("Docker API {} (environment {environment})", daemon.daemon));
    page.field(2, "known by", known_by(daemon.known_by));
    page.field(2, "version", &version(daemon));
    page.field(2, "spoken to", &spoken(daemon));
    if daemon.transport.tls_connections > 0 {
        page.field(2, "certificates", &certificates(daemon.client_certificates));
    }
    page.field(2, "seen", &span(daemon.first, daemon.last));
    page.field(2, "evidence", &page.places(&daemon.evidence));
    page.heading("Callers");
    callers(page, daemon);
    for mitigation in &daemon.mitigations {
        one(page, mitigation);
    }
    page.blank();
}

const fn known_by(by: KnownBy) -> &'static str {
    match by {
        KnownBy::Answers => "its answers",
        KnownBy::Requests => "requests that only a Docker client sends; no answer was captured",
        KnownBy::TlsPort => {
            "its port alone: TLS that could not be read, where a Docker API is expected"
        }
        KnownBy::FlowRecords => {
            "its port alone: flow records of conversations, where a Docker API is expected"
        }
    }
}

fn version(daemon: &Daemon) -> String {
    let joined = |set: &std::collections::BTreeSet<String>| {
        set.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let mut parts = Vec::new();
    if !daemon.versions.is_empty() {
        parts.push(joined(&daemon.versions));
    }
    if !daemon.servers.is_empty() {
        parts.push(format!("calls itself {}", joined(&daemon.servers)));
    }
    if !daemon.api_versions.is_empty() {
        parts.push(format!("API {}", joined(&daemon.api_versions)));
    }
    if parts.is_empty() { "unknown: no answer told it".to_owned() } else { parts.join("; ") }
}

fn spoken(daemon: &Daemon) -> String {
    let transport = &daemon.transport;
    let mut parts = Vec::new();
    if transport.clear_calls > 0 {
        let open = match transport.open_calls {
            0 if daemon.known_by == KnownBy::Requests => "no answer was captured".to_owned(),
            0 => "none of them served without credentials".to_owned(),
            all if all == transport.clear_calls => "all served without credentials".to_owned(),
            some => format!("{} served without credentials", thousands(some)),
        };
        parts.push(format!("in clear, {}, {open}", calls(transport.clear_calls)));
    }
    if transport.tls_connections > 0 {
        let versions: Vec<&str> = transport.tls_versions.iter().map(String::as_str).collect();
        let read = match transport.tls_calls {
            0 => "not decrypted".to_owned(),
            some => format!("{} decrypted", calls(some)),
        };
        let connections = thousands(transport.tls_connections);
        let noun = if transport.tls_connections == 1 { "connection" } else { "connections" };
        parts.push(format!("TLS ({}), {connections} {noun}, {read}", versions.join(", ")));
    } else if transport.tls_calls > 0 {
        parts.push(format!("TLS, {} decrypted", calls(transport.tls_calls)));
    }
    if transport.recorded_conversations > 0 {
        let text = thousands(transport.recorded_conversations);
        parts.push(format!("{text} in flow records, in clear or not"));
    }
    parts.join("; ")
}

fn certificates(seen: Certificates) -> String {
    let all = [
        (seen.given, "given"),
        (seen.withheld, "asked for, not given"),
        (seen.asked, "asked for, answer not seen"),
        (seen.not_asked, "not asked for"),
        (seen.unknown, "unknown"),
    ];
    let told = all.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> =
        told.map(|(count, what)| format!("{what} in {}", thousands(*count))).collect();
    format!("of clients, by handshake: {}", told.join("; "))
}

fn callers(page: &mut Page<'_>, daemon: &Daemon) {
    let mut rows = vec![header(&[
        "CALLER",
        "NETWORK",
        "HOW",
        "OPERATION",
        "CALLS",
        "ANSWERED",
        "REFUSED",
        "FAILED",
        "FIRST",
        "LAST",
    ])];
    for caller in &daemon.callers {
        rows.extend(caller_rows(caller));
    }
    table(page, &rows);
    if daemon.callers_not_listed > 0 {
        let more = thousands(daemon.callers_not_listed);
        page.field(4, "", &format!("and {more} callers beyond the limit"));
    }
}

fn caller_rows(caller: &CallerUse) -> Vec<Vec<String>> {
    let network = caller.network.as_deref().unwrap_or("outside");
    let how = match (caller.clear_calls > 0, caller.tls_calls > 0) {
        (true, true) => "clear+tls",
        (true, false) => "clear",
        _ => "tls",
    };
    let row = |how: &str, what: &str, counts: [u64; 4], first, last| {
        let mut row = vec![caller.ip.to_string(), network.to_owned(), how.to_owned()];
        row.push(what.to_owned());
        row.extend(counts.iter().map(u64::to_string));
        row.extend([moment(first), moment(last)]);
        row
    };
    let mut rows = Vec::new();
    for (operation, tally) in &caller.operations.0 {
        let counts = [tally.calls, tally.answered, tally.refused, tally.failed];
        rows.push(row(how, operation.as_str(), counts, tally.first, tally.last));
    }
    let unread = [
        ("tls", caller.tls_connections, caller.tls_calls == 0),
        ("records", caller.recorded_conversations, true),
    ];
    for (how, connections, shown) in unread {
        if shown && connections > 0 {
            let counts = [connections, 0, 0, 0];
            rows.push(row(how, "(not_read)", counts, caller.first, caller.last));
        }
    }
    rows
}

fn one(page: &mut Page<'_>, mitigation: &Mitigation) {
    page.heading(&format!("{} {}", mitigation.id, mitigation.name));
    for (label, lines) in [
        ("for", &mitigation.supports),
        ("against", &mitigation.against),
        ("not seen", &mitigation.unseen),
    ] {
        match lines.as_slice() {
            [] => page.field(4, label, "nothing"),
            lines => lines.iter().for_each(|line| page.field(4, label, line)),
        }
    }
}

fn images(page: &mut Page<'_>, images: &[ImageUse]) {
    if images.is_empty() {
        return;
    }
    page.line("Images");
    let mut rows = vec![header(&[
        "HOST", "ACTION", "COUNT", "FAILED", "UNSURE", "BY", "FIRST", "IMAGE", "DIGEST", "REGISTRY",
    ])];
    rows.extend(images.iter().map(|one| {
        let by: Vec<String> = one.clients.iter().map(ToString::to_string).collect();
        vec![
            one.docker_host.to_string(),
            name(&one.action),
            one.count.to_string(),
            one.failed.to_string(),
            one.unconfirmed.to_string(),
            by.join(","),
            moment(one.first),
            one.name.clone(),
            one.digest.clone().unwrap_or_default(),
            one.registry.clone().unwrap_or_default(),
        ]
    }));
    table(page, &rows);
    page.blank();
}

fn containers(page: &mut Page<'_>, containers: &[ContainerUse]) {
    if containers.is_empty() {
        return;
    }
    page.line("Containers, services and plugins");
    let mut rows = vec![header(&[
        "HOST", "KIND", "STARTED", "EXECS", "BY", "FIRST", "NAME", "IMAGE", "USER", "RISKS",
    ])];
    rows.extend(containers.iter().map(|one| {
        let by: Vec<String> = one.clients.iter().map(ToString::to_string).collect();
        let risks: Vec<String> = one.risks.iter().map(name).collect();
        let id = one.id.as_deref().map(|id| id.get(..12).unwrap_or(id));
        vec![
            one.docker_host.to_string(),
            one.kind.noun().to_owned(),
            if one.started { "yes" } else { "unseen" }.to_owned(),
            one.execs.to_string(),
            by.join(","),
            moment(one.first),
            one.name.as_deref().or(id).unwrap_or_default().to_owned(),
            one.image.clone().unwrap_or_default(),
            one.user.clone().unwrap_or_default(),
            if one.created { risks.join(",") } else { "unknown".to_owned() },
        ]
    }));
    table(page, &rows);
    page.blank();
}

fn summary(page: &mut Page<'_>, inventory: &Inventory, reading: &Reading) {
    page.line("Summary");
    let daemons = count(inventory.daemons.len(), "Docker API");
    let containers = inventory.containers.len();
    let found = match inventory.daemons.len() {
        0 => "no Docker API; that is no proof that there is none".to_owned(),
        _ => format!(
            "{daemons}; {} of images; {containers} containers, services and plugins",
            count(inventory.images.len(), "use")
        ),
    };
    page.field(2, "found", &found);
    let when =
        reading.span.map_or_else(String::new, |(first, last)| format!(", {}", span(first, last)));
    let frames = reading.counters.frames;
    let frames = format!("{} frame{}", thousands(frames), if frames == 1 { "" } else { "s" });
    let read = bytes(reading.counters.bytes);
    page.field(2, "read", &format!("{frames}, {read}{when}"));
    page.field(2, "countries", "not told: there is no database of addresses");
    let lost = inventory.counters;
    let lost = [
        (lost.daemons_lost, "calls of daemons beyond the limit"),
        (lost.callers_lost, "calls of callers beyond the limit"),
        (lost.handshakes_lost, "handshakes of daemons beyond the limit"),
        (lost.images_lost, "uses of images beyond the limit"),
        (lost.containers_lost, "actions on containers beyond the limit"),
    ];
    for (count, what) in lost.into_iter().filter(|(count, _)| *count > 0) {
        page.field(2, "left out", &format!("{} {what}", thousands(count)));
    }
    if reading.counters.stream.gaps > 0 {
        let gaps = thousands(reading.counters.stream.gaps);
        let missing = bytes(reading.counters.stream.gap_bytes);
        page.field(2, "lost", &format!("{gaps} gaps, {missing} missing from connections"));
    }
    for warning in &reading.warnings {
        page.field(2, "warning", warning);
    }
    page.field(
        2,
        "note",
        "what crossed no captured network (the local socket, ssh) is not here; `replay` tells of findings",
    );
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Columns as wide as their widest cell; the last is not padded.
fn table(page: &mut Page<'_>, rows: &[Vec<String>]) {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in rows.iter().take(ROWS) {
        for (i, text) in row.iter().enumerate() {
            let width = text.chars().count();
            match widths.get_mut(i) {
                Some(widest) => *widest = (*widest).max(width),
                None => widths.push(width),
            }
        }
    }
    for row in rows.iter().take(ROWS) {
        let mut line = String::from("   ");
        for (text, width) in row.iter().zip(&widths) {
            let _ = write!(line, " {text:<width$} ");
        }
        page.line(line.trim_end());
    }
    if rows.len() > ROWS {
        let more = rows.len().saturating_sub(ROWS);
        page.line(&format!("    … {more} more rows (--format json and csv have them)"));
    }
}

/// One word for one cell.
fn cell(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let safe = terminal(text);
    safe.chars().take(CELL).map(|c| if c.is_whitespace() { '_' } else { c }).collect()
}

/// `2026-11-24T14:44:25Z`.
fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..19).map_or_else(|| text.clone(), |second| format!("{second}Z"))
}

fn calls(number: u64) -> String {
    format!("{} call{}", thousands(number), if number == 1 { "" } else { "s" })
}
