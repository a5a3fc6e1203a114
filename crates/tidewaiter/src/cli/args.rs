//! Arguments, as clap reads them.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use tw_model::Severity;

use crate::report::paper::Lang;

/// Finds image builds on Docker hosts that download from a place this environment has never talked to.
#[derive(Parser, Debug)]
#[command(name = "tidewaiter", version, max_term_width = 100, propagate_version = true)]
pub struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Log more (to standard error); twice for still more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Read captures and tell what was built, by whom, from what, and which new places it fetched from
    Replay(Replay),
    /// Read captures of ordinary traffic and remember what is known here
    Learn(Learn),
    /// Take flow records (NetFlow v5, v7, v9, IPFIX) from the network and tell findings as they come
    Collector(Collector),
    /// Tell who exposes a Docker API, who calls it, what was made and deployed there, and what that says for
    /// and against the mitigations M1035, M1030, M1047 and M1026
    Audit(Audit),
    /// Print every decoded thing of one capture as a JSON line
    Dissect(Dissect),
    /// Show and change what is remembered
    Seen(Seen),
    /// Check a configuration file and say what is wrong and where
    CheckConfig(CheckConfig),
    /// Print shell completions
    Completions(Completions),
    /// Print the manual page
    Man,
}

/// Options that say where the store and the configuration are.
#[derive(clap::Args, Debug)]
pub(crate) struct Place {
    /// Folder of the store
    #[arg(long, value_name = "DIR", env = "TIDEWAITER_DATA_DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Judge all traffic as this environment's
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) environment: Option<String>,
}

/// Options that say how captures are read.
#[derive(clap::Args, Debug)]
pub(crate) struct Reading {
    /// TLS secrets (NSS key log, as SSLKEYLOGFILE makes it): what they open is read as in clear. Those
    /// that a pcapng capture carries are used without asking
    #[arg(long, value_name = "FILE")]
    pub(crate) keylog: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For a person
    Text,
    /// JSON lines, for a machine
    Json,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tidewaiter replay case.pcap\n  tidewaiter replay captures/ --data-dir /var/lib/tidewaiter --format json\n  tidewaiter replay case.pcap --report case.html --pcap packets --extract objects\n  zcat case.pcap.gz | tidewaiter replay - --fail-on high"
)]
pub(crate) struct Replay {
    /// Captures: pcap or pcapng, also compressed (gzip, zstd, xz, bzip2); folders; `-` for standard input.
    /// Several are read as one, in time order
    #[arg(required = true, value_name = "CAPTURE")]
    pub(crate) captures: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) reading: Reading,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Also print every call, connection, exchange, hello and answer as it is read (with `--format json`)
    #[arg(long)]
    pub(crate) all_events: bool,
    /// Remember what was seen, as `learn` does
    #[arg(long)]
    pub(crate) learn: bool,
    /// Also write a report to this file: one page in HTML (`.html`) that loads nothing, or Markdown
    /// (`.md`)
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Language of the report
    #[arg(long, value_enum, default_value_t = Lang::En, requires = "report")]
    pub(crate) lang: Lang,
    /// Also write the packets of each incident to this folder, as INCIDENT.pcapng with comments that
    /// name the findings. Reads the captures twice
    #[arg(long, value_name = "DIR")]
    pub(crate) pcap: Option<PathBuf>,
    /// Also write what the incidents' conversations carried in clear to this folder: Dockerfiles, contexts,
    /// downloads, layers, each named by its SHA-256, with a manifest. They may be malicious, and hold
    /// secrets. Reads the captures twice
    #[arg(long, value_name = "DIR")]
    pub(crate) extract: Option<PathBuf>,
    /// Put the extracted files into objects.zip (AES-256) instead
    #[arg(long, value_name = "PASSWORD", num_args = 0..=1, default_missing_value = "infected")]
    #[arg(requires = "extract", require_equals = true)]
    pub(crate) extract_archive: Option<String>,
    /// Exit with status 3 if a finding of this severity or above was made
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    pub(crate) fail_on: Option<Severity>,
    /// Name of this sensor in the output
    #[arg(long, default_value = "replay", value_name = "NAME")]
    pub(crate) sensor: String,
    /// Show secrets, and what exec and attach carried; only for text on a terminal
    #[arg(long)]
    pub(crate) show_secrets: bool,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tidewaiter learn ordinary.pcap\n  tidewaiter learn week/ --review known.txt        # then edit, and: tidewaiter seen import known.txt"
)]
pub(crate) struct Learn {
    /// Captures of ordinary traffic, as for `replay`
    #[arg(required = true, value_name = "CAPTURE")]
    pub(crate) captures: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Commit nothing: write what would be learned to this file, for editing; `seen import` takes
    /// the edited file
    #[arg(long, value_name = "FILE")]
    pub(crate) review: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuditFormat {
    /// For a person; columns that a program can cut
    Text,
    /// JSON lines, for a machine
    Json,
    /// Comma-separated values, for a spreadsheet
    Csv,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tidewaiter audit office.pcap\n  tidewaiter audit captures/ --format csv > exposure.csv"
)]
pub(crate) struct Audit {
    /// Captures, as for `replay`
    #[arg(required = true, value_name = "CAPTURE")]
    pub(crate) captures: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) reading: Reading,
    /// How to print
    #[arg(long, value_enum, default_value_t = AuditFormat::Text)]
    pub(crate) format: AuditFormat,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tidewaiter collector --listen 0.0.0.0:2055\n  tidewaiter collector --config /etc/tidewaiter.toml --format json"
)]
pub(crate) struct Collector {
    /// UDP address to take export datagrams on: `0.0.0.0:2055`, `[::]:2055`, or a port of all addresses.
    /// May be given several times [default: 2055, 4739 and 9995]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,
    /// TCP address to take IPFIX on; alone it replaces the default of `--listen`. May be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen_tcp: Vec<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Name of this sensor in the output
    #[arg(long, default_value = "collector", value_name = "NAME")]
    pub(crate) sensor: String,
    /// When stopped, exit with status 3 if a finding of this severity or above was made
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    pub(crate) fail_on: Option<Severity>,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tidewaiter dissect case.pcap | head\n  tidewaiter dissect case.pcap --keylog keys.txt | grep api_call"
)]
pub(crate) struct Dissect {
    /// The capture
    #[arg(value_name = "CAPTURE")]
    pub(crate) capture: PathBuf,
    #[command(flatten)]
    pub(crate) reading: Reading,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub(crate) format: Format,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tidewaiter seen stats\n  tidewaiter seen query cdn.example\n  tidewaiter seen accept 198.51.100.7\n  tidewaiter seen list --axis caller --host 10.10.1.5\n  tidewaiter seen export --csv > known.csv"
)]
pub(crate) struct Seen {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: SeenCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum SeenCommand {
    /// Size, fill and error probability of the store
    Stats,
    /// Why is this known? Tells who saw it first, when, on how many days, and what that makes of it
    Query {
        /// An address, a name, `host:port` of a registry, a digest; or `axis value`, such as
        /// `caller CLIENT DAEMON`
        key: String,
    },
    /// List what is remembered, as JSON lines
    List(Filter),
    /// Make something known from now on
    Accept {
        /// What, as for `query`
        key: String,
    },
    /// Take in a list (a key a line) or an export of another store; `-` for standard input
    Import {
        /// The list
        file: PathBuf,
    },
    /// Write what is remembered, for `import` or a spreadsheet
    Export {
        #[command(flatten)]
        filter: Filter,
        /// Comma-separated values instead of JSON lines
        #[arg(long)]
        csv: bool,
    },
    /// Take in another data folder, without loss and in any order
    Merge {
        /// The other folder
        from: PathBuf,
    },
    /// Forget what fits
    Forget {
        #[command(flatten)]
        filter: Filter,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
    /// Check the store against itself
    Verify,
}

/// Which records are meant; everything left open means all.
#[derive(clap::Args, Debug)]
pub(crate) struct Filter {
    /// Of this key, as for `query`
    pub(crate) key: Option<String>,
    /// Of this axis: address, name, caller, builder, registry, repository, digest, …
    #[arg(long)]
    pub(crate) axis: Option<String>,
    /// Rows of this host
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<std::net::IpAddr>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  tidewaiter check-config /etc/tidewaiter.toml")]
pub(crate) struct CheckConfig {
    /// The file
    pub(crate) file: PathBuf,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  tidewaiter completions bash > ~/.local/share/bash-completion/completions/tidewaiter\n  tidewaiter completions zsh > ~/.zfunc/_tidewaiter"
)]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

fn severity(text: &str) -> Result<Severity, String> {
    match text {
        "info" => Ok(Severity::Info),
        "low" => Ok(Severity::Low),
        "medium" => Ok(Severity::Medium),
        "high" => Ok(Severity::High),
        "critical" => Ok(Severity::Critical),
        _ => Err("expected info, low, medium, high or critical".to_owned()),
    }
}
