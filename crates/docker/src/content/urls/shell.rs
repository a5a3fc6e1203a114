//! Just enough of the shell to see which words are hosts: words, quotes, separators, and the
//! arguments of the programs that fetch.

use std::collections::BTreeMap;

use super::host::host_port;

/// Commands kept of one text, and words of one command.
const MAX_COMMANDS: usize = 20_000;
const MAX_WORDS: usize = 4096;

/// Variables kept of one text.
const MAX_VARIABLES: usize = 1000;

/// Words kept that were put together, and places in one of them.
const MAX_JOINED: usize = 1000;
const MAX_JOINTS: usize = 64;

/// A text, split as the shell does it.
#[derive(Default)]
pub(super) struct Split {
    /// The commands, each as its words, quotes and line continuations removed.
    pub(super) commands: Vec<Vec<String>>,
    /// Words that do not stand in the text as they are meant.
    pub(super) joined: Vec<Joined>,
}

/// A word that quotes, backslashes, line ends or `$@` were taken out of.
pub(super) struct Joined {
    pub(super) word: String,
    /// Where.
    pub(super) at: Vec<usize>,
}

/// POSIX.1-2017 XCU 2.2 (quoting), as far as words need it.
pub(super) fn split(text: &str) -> Split {
    let mut splitter = Splitter::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if splitter.done.commands.len() >= MAX_COMMANDS {
            break;
        }
        match (splitter.quote, c) {
            (Some(quote), _) if c == quote => splitter.close(),
            (Some('\''), _) => splitter.push(c),
            (quote, '\\') => match chars.next() {
                Some('\r') if chars.next_if_eq(&'\n').is_some() => splitter.join(),
                Some('\n') => splitter.join(),
                None => {}
                // Between double quotes it is itself before most characters.
                Some(next) if quote.is_some() && !"$`\"\\".contains(next) => {
                    splitter.push('\\');
                    splitter.push(next);
                }
                Some(next) => {
                    splitter.join();
                    splitter.push(next);
                }
            },
            // A step's shell has no arguments.
            (_, '$') if chars.next_if(|next| matches!(next, '@' | '*')).is_some() => {
                splitter.join();
            }
            (Some(_), _) => splitter.push(c),
            (None, '"' | '\'') => splitter.open(c),
            (None, ' ' | '\t' | '\r') => splitter.end_word(),
            (None, '\n' | ';' | '|' | '&' | '(' | ')' | '`' | '<' | '>') => splitter.end_command(),
            (None, _) => splitter.push(c),
        }
    }
    splitter.end_command();
    splitter.done
}

#[derive(Default)]
struct Splitter {
    done: Split,
    words: Vec<String>,
    word: String,
    joints: Vec<usize>,
    in_word: bool,
    quote: Option<char>,
}

impl Splitter {
    fn push(&mut self, c: char) {
        self.in_word = true;
        self.word.push(c);
    }

    fn open(&mut self, quote: char) {
        self.in_word = true;
        self.join();
        self.quote = Some(quote);
    }

    fn close(&mut self) {
        self.join();
        self.quote = None;
    }

    /// Something is taken out here.
    fn join(&mut self) {
        let at = self.word.len();
        if at > 0 && self.joints.last() != Some(&at) && self.joints.len() < MAX_JOINTS {
            self.joints.push(at);
        }
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        let mut at = std::mem::take(&mut self.joints);
        at.retain(|at| *at < word.len());
        if !at.is_empty() && self.done.joined.len() < MAX_JOINED {
            self.done.joined.push(Joined { word: word.clone(), at });
        }
        if std::mem::take(&mut self.in_word) && self.words.len() < MAX_WORDS {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.words.is_empty() {
            self.done.commands.push(std::mem::take(&mut self.words));
        }
    }
}

/// `NAME=value` words, for the `$NAME` that follow; those made by running something are unknown.
pub(super) fn assignments(commands: &[Vec<String>]) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for word in commands.iter().flatten() {
        let Some((name, value)) = word.split_once('=') else { continue };
        let named = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let plain = !value.is_empty() && !value.contains(['$', '`', ' ', '\n']);
        if named && plain && !name.is_empty() && variables.len() < MAX_VARIABLES {
            variables.insert(name.to_owned(), value.to_owned());
        }
    }
    variables
}

/// Bare hosts that one command fetches from or connects to.
pub(super) fn hosts(words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let installs = words.iter().position(|word| matches!(word.as_str(), "install" | "add"));
    for (index, word) in words.iter().enumerate() {
        // `apk add curl node.js` fetches no `node.js`.
        if installs.is_some_and(|at| at < index) && !word.starts_with('-') {
            continue;
        }
        let args = words.get(index + 1..).unwrap_or(&[]);
        match program(word) {
            "wget" => web(args, WGET_VALUES, &mut found),
            "curl" => web(args, CURL_VALUES, &mut found),
            "fetch" | "aria2c" | "axel" | "lynx" | "lwp-download" | "http" | "https" | "xh"
            | "ftp" | "ftpget" | "tftp" => web(args, "od", &mut found),
            "nc" | "ncat" | "netcat" | "nc.traditional" | "nc.openbsd" | "telnet" => {
                netcat(args, &mut found);
            }
            "socat" => found.extend(args.iter().filter_map(|arg| socat(arg))),
            "ssh" | "scp" | "rsync" | "sftp" => {
                found.extend(args.iter().filter(|arg| is_remote(arg)).cloned());
            }
            // Without a path it is an address of `git config user.email`.
            "git" | "ADD" => {
                let remotes = args.iter().filter(|arg| is_remote(arg) && arg.contains(':'));
                found.extend(remotes.cloned());
            }
            "pip" | "pip3" | "uv" | "apk" | "npm" | "yarn" | "pnpm" | "gem" => {
                index_options(args, &mut found);
            }
            "-o" | "--url" => found.extend(args.first().filter(|arg| has_port(arg)).cloned()),
            _ => continue,
        }
        if !word.starts_with('-') && word != "git" {
            break;
        }
    }
    found
}

/// Short options that take a value, which is no URL.
const WGET_VALUES: &str = "oOPUTtweaiBQlADIXR";
const CURL_VALUES: &str = "oHdXAeubcFTmwKErCDPQUYyz";

fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn web(args: &[String], with_value: &str, found: &mut Vec<String>) {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if let Some(long) = arg.strip_prefix("--") {
            if LONG_WITH_VALUE.contains(&long) {
                args.next();
            }
        } else if let Some(short) = arg.strip_prefix('-') {
            let value_follows = short.chars().next_back().is_some_and(|c| with_value.contains(c));
            let is_first = short.chars().position(|c| with_value.contains(c));
            if value_follows && is_first == Some(short.chars().count().saturating_sub(1)) {
                args.next();
            }
        } else if is_host(arg) {
            found.push(arg.clone());
        }
    }
}

const LONG_WITH_VALUE: [&str; 22] = [
    "output",
    "output-document",
    "output-file",
    "directory-prefix",
    "header",
    "data",
    "data-raw",
    "data-binary",
    "request",
    "user-agent",
    "user",
    "cookie",
    "cookie-jar",
    "form",
    "retry",
    "max-time",
    "connect-timeout",
    "timeout",
    "tries",
    "post-data",
    "referer",
    "cacert",
];

fn netcat(args: &[String], found: &mut Vec<String>) {
    let mut plain = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.strip_prefix('-') {
            Some(short) if short.ends_with(['w', 'p', 's', 'e', 'c', 'i', 'q', 'X', 'x']) => {
                args.next();
            }
            Some(_) => {}
            None => plain.push(arg),
        }
    }
    let (Some(host), Some(port)) = (plain.first(), plain.get(1)) else { return };
    if is_host(host) && port.parse::<u16>().is_ok() {
        found.push(format!("{host}:{port}"));
    }
}

/// `TCP:host:port`, `openssl-connect:host:port,…`.
fn socat(arg: &str) -> Option<String> {
    let (kind, rest) = arg.split_once(':')?;
    let kind = kind.to_ascii_lowercase();
    let connects = ["tcp", "udp", "openssl", "ssl", "sctp"].iter().any(|k| kind.starts_with(k));
    let rest = rest.split(',').next()?;
    (connects && !kind.contains("listen") && has_port(rest)).then(|| rest.to_owned())
}

fn index_options(args: &[String], found: &mut Vec<String>) {
    const OPTIONS: [&str; 9] = [
        "-i",
        "-X",
        "-f",
        "--index-url",
        "--extra-index-url",
        "--trusted-host",
        "--repository",
        "--registry",
        "--source",
    ];
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = match arg.split_once('=') {
            Some((option, value)) if OPTIONS.contains(&option) => Some(value),
            _ if OPTIONS.contains(&arg.as_str()) => args.next().map(String::as_str),
            _ => None,
        };
        found.extend(value.filter(|value| is_host(value)).map(str::to_owned));
    }
}

/// `user@host:path` and `user@host`.
fn is_remote(arg: &str) -> bool {
    let Some((user, rest)) = arg.split_once('@') else { return false };
    let plain = !user.is_empty()
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    plain && !arg.contains("://") && is_host(rest)
}

fn has_port(arg: &str) -> bool {
    is_host(arg) && host_port(arg).is_some_and(|(_, port)| port.is_some())
}

/// Does a word without a scheme look like a host that can be reached from afar? `out.tgz` does, so
/// callers leave out the values of options; `3` and `./x` do not.
fn is_host(arg: &str) -> bool {
    if arg.contains("://") || arg.starts_with(['.', '/', '-', '@', '~']) {
        return false;
    }
    let Some((host, _)) = host_port(arg) else { return false };
    if let Ok(address) = host.parse::<std::net::IpAddr>() {
        return match address {
            std::net::IpAddr::V4(v4) => v4.octets().first() != Some(&0),
            std::net::IpAddr::V6(_) => true,
        };
    }
    let last = host.rsplit('.').next().unwrap_or("");
    let dotted = host.contains('.') && last.len() >= 2 && !last.bytes().any(|b| b.is_ascii_digit());
    dotted || (host == "localhost" && arg.len() > host.len())
}
