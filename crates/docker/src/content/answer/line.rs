//! The sentences of Docker and Podman in the `stream` field.

/// One sentence, and whether only Podman says it like this.
pub(super) struct Line<'a> {
    pub(super) said: Said<'a>,
    pub(super) by_podman: bool,
}

/// What it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// A step begins; its instruction.
    Step(&'a str),
    /// It runs in this container.
    RunningIn(&'a str),
    /// The image made: short or full.
    Built(String),
    Tagged(&'a str),
    Loaded(&'a str),
    Nothing,
}

impl<'a> Line<'a> {
    /// Observed: dockerd 20.10.24, podman 4.3.1. A line of 64 hexadecimal digits alone is an image
    /// where Podman speaks; anywhere else it is what a step printed.
    pub(super) fn read(text: &'a str, is_podman: bool) -> Self {
        if let Some(instruction) = docker_step(text) {
            return Self { said: Said::Step(instruction), by_podman: false };
        }
        if let Some(instruction) = podman_step(text) {
            return Self { said: Said::Step(instruction), by_podman: true };
        }
        let text = text.trim();
        let after = |prefix: &str| text.strip_prefix(prefix).map(str::trim);
        let said = if let Some(id) = after("---> Running in ").filter(|id| is_hex(id)) {
            Said::RunningIn(id)
        } else if let Some(id) = after("Successfully built ").filter(|id| is_hex(id)) {
            Said::Built(full_id(id).unwrap_or_else(|| id.to_owned()))
        } else if let Some(tag) = after("Successfully tagged ").filter(|tag| is_name(tag)) {
            Said::Tagged(tag)
        } else if let Some(id) = after("Loaded image ID: ") {
            Said::Loaded(id)
        } else if let Some(name) = after("Loaded image: ").filter(|name| is_name(name)) {
            Said::Loaded(name)
        } else if let Some(id) = full_id(text).filter(|_| is_podman || text.contains(':')) {
            Said::Built(id)
        } else {
            Said::Nothing
        };
        Self { said, by_podman: false }
    }
}

/// `Step 2/3 : RUN …`.
fn docker_step(text: &str) -> Option<&str> {
    let (count, instruction) = text.strip_prefix("Step ")?.split_once(" : ")?;
    is_count(count).then(|| instruction.trim_end())
}

/// `STEP 2/3: RUN …`, `STEP 2: RUN …`, and `[1/2] STEP 2/3: RUN …` where there are stages.
fn podman_step(text: &str) -> Option<&str> {
    let text = match text.strip_prefix('[') {
        Some(stage) => stage.split_once("] ").filter(|(count, _)| is_count(count))?.1,
        None => text,
    };
    let (count, instruction) = text.strip_prefix("STEP ")?.split_once(": ")?;
    is_count(count).then(|| instruction.trim_end())
}

/// `2/3` or `2`.
fn is_count(text: &str) -> bool {
    text.len() <= 21
        && text.split('/').count() <= 2
        && text.split('/').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn is_hex(id: &str) -> bool {
    (7..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// One word, as image references are.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(char::is_whitespace)
}

/// `sha256:` and 64 digits, from either form.
pub(super) fn full_id(text: &str) -> Option<String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    (digits.len() == 64 && is_hex(digits))
        .then(|| format!("sha256:{}", digits.to_ascii_lowercase()))
}
