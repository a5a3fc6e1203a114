//! What a Dockerfile says: base images, steps, and the URLs that it names.
//!
//! In: the text as uploaded, the build arguments and the target of the call. Out: facts after
//! substitution of `ARG`, `ENV` and build arguments. A broken file is read as far as it goes,
//! because whether it builds is for the daemon to decide. Nothing is run. Limits: 1 MiB of text,
//! 10,000 steps, 1,000 variables, 8 MiB of expanded text.

mod secret;
mod statement;
mod variables;
mod words;

use std::collections::{BTreeMap, HashMap};

use tw_model::{Secrets, is_secret_name, looks_secret, redact_command, redact_url};

use super::expand::expand;
use super::urls::{self, Finder};
use secret::redact_statement;
use statement::{Statement, split};
use variables::{Scope, Variables};
use words::{json_words, leading_flags, pairs};

const MAX_TEXT_BYTES: usize = 1 << 20;
const MAX_STEPS: usize = 10_000;
const MAX_BASE_IMAGES: usize = 1000;

/// Proxies of one build, and the bytes of one.
const MAX_PROXIES: usize = 16;
const MAX_PROXY_BYTES: usize = 1024;

/// Stages whose variables later stages can inherit.
const MAX_STAGES: usize = 256;

const MAX_EXPANDED_BYTES: usize = 8 << 20;

/// What was read from a Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DockerfileFacts {
    /// Images that the build takes from a registry, after substitution, in order: of `FROM`,
    /// `COPY --from` and `RUN --mount=from`. Stages and `scratch` are left out.
    pub(crate) base_images: Vec<String>,
    /// Instructions, continuation lines joined, here-documents below them, secrets removed.
    pub(crate) steps: Vec<String>,
    /// Every URL or host that is fetched from, build arguments included.
    pub(crate) urls: Vec<String>,
    /// Those of them that are proxies, at most [`MAX_PROXIES`].
    pub(crate) proxies: Vec<String>,
    /// Image of the `# syntax=` directive, which the daemon pulls too.
    pub(crate) syntax_image: Option<String>,
    /// Names of `ARG` and `ENV` whose value is a secret.
    pub(crate) exposed_secrets: Vec<String>,
    /// The text is no well-formed Dockerfile.
    pub(crate) malformed: bool,
    /// A limit was reached, and the rest left out.
    pub(crate) limit_hit: bool,
}

/// Reads a Dockerfile with the `buildargs` and `target` of its call.
///
/// Docker Engine API, `ImageBuild`; Dockerfile reference. Stages after the target are not built: they
/// add no base image and no step, but the URLs that they name. A target that names no stage is ignored.
pub(crate) fn read(
    text: &str,
    build_args: &BTreeMap<String, String>,
    target: Option<&str>,
    secrets: Secrets,
) -> DockerfileFacts {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    let text = text.get(..end).unwrap_or(text);
    let file = split(text);
    let mut reader = Reader {
        facts: DockerfileFacts {
            syntax_image: file.syntax.clone(),
            malformed: file.malformed,
            limit_hit: end < text.len(),
            ..DockerfileFacts::default()
        },
        finder: Finder::default(),
        escape: file.escape,
        secrets,
        variables: Variables::new(build_args),
        stages: 0,
        stage_names: HashMap::new(),
        scopes: HashMap::new(),
        expandable_bytes: MAX_EXPANDED_BYTES,
        past_target: false,
    };
    let last = target.and_then(|target| target_stage(&file.statements, target));
    for statement in &file.statements {
        let ends = statement.keyword == "FROM" && last.is_some_and(|last| reader.stages > last);
        reader.past_target |= ends;
        reader.statement(statement);
    }
    reader.finish(build_args)
}

/// The Dockerfile's text with its secrets replaced and everything else as it was.
pub(crate) fn printable(text: &str, secrets: Secrets) -> String {
    if secrets == Secrets::Keep {
        return text.to_owned();
    }
    let file = split(text);
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for statement in &file.statements {
        out.push_str(&redact_command(text.get(done..statement.start).unwrap_or(""), secrets));
        let source = text.get(statement.start..statement.line_end).unwrap_or("");
        out.push_str(&redact_statement(&statement.keyword, source, secrets));
        done = statement.line_end;
    }
    out.push_str(&redact_command(text.get(done..).unwrap_or(""), secrets));
    out
}

/// Index of the stage that `target=` names, by name without regard to case, or by number.
fn target_stage(statements: &[Statement], target: &str) -> Option<usize> {
    let stages = || statements.iter().filter(|statement| statement.keyword == "FROM");
    let named = stages().position(|statement| {
        stage_name(&statement.body).is_some_and(|name| name.eq_ignore_ascii_case(target))
    });
    named.or_else(|| target.parse().ok().filter(|index| *index < stages().count()))
}

/// `FROM image AS name`.
fn stage_name(body: &str) -> Option<&str> {
    let mut words = body.split_whitespace().skip_while(|word| word.starts_with("--")).skip(1);
    words.next().filter(|word| word.eq_ignore_ascii_case("as"))?;
    words.next()
}

struct Reader {
    facts: DockerfileFacts,
    finder: Finder,
    escape: char,
    secrets: Secrets,
    variables: Variables,
    /// Stages begun, the number of each name in lower case, and the variables that some of them left.
    stages: usize,
    stage_names: HashMap<String, usize>,
    scopes: HashMap<usize, Scope>,
    expandable_bytes: usize,
    past_target: bool,
}

impl Reader {
    fn statement(&mut self, statement: &Statement) {
        self.step(statement);
        let body = statement.body.as_str();
        match statement.keyword.as_str() {
            "FROM" => self.from(body),
            "ARG" => self.arg(body),
            "ENV" => self.env(body),
            "COPY" => self.copy_from(body),
            "RUN" => {
                self.mounts(body);
                self.command("", body);
            }
            "ADD" => self.command("ADD ", body),
            "LABEL" | "MAINTAINER" | "EXPOSE" | "VOLUME" | "USER" | "WORKDIR" | "STOPSIGNAL" => {}
            _ => self.command("", body),
        }
        for document in &statement.here_documents {
            let text = self.expanded(&document.text);
            self.finder.read(&text);
        }
    }

    fn step(&mut self, statement: &Statement) {
        if self.past_target {
            return;
        }
        if self.facts.steps.len() >= MAX_STEPS {
            self.facts.limit_hit = true;
            return;
        }
        let mut step = redact_statement(&statement.keyword, &statement.line, self.secrets);
        for document in &statement.here_documents {
            step.push('\n');
            step.push_str(redact_command(&document.text, self.secrets).trim_end());
        }
        self.facts.steps.push(step);
    }

    fn from(&mut self, body: &str) {
        let body = self.expanded_by_global(body);
        let (_, rest) = leading_flags(&body);
        let image = rest.split_whitespace().next().unwrap_or("").trim_matches(['"', '\'']);
        self.keep_scope();
        let parent = self.stage(image);
        let inherited = parent.and_then(|index| self.scopes.get(&index).cloned());
        self.variables.enter_stage(inherited.unwrap_or_default());
        if parent.is_none() {
            self.base_image(image);
        }
        if let Some(name) = stage_name(&body) {
            self.stage_names.insert(name.to_lowercase(), self.stages);
        }
        self.stages += 1;
    }

    /// The stage that ends may be the base of a later one, which then inherits its variables.
    fn keep_scope(&mut self) {
        let Some(index) = self.stages.checked_sub(1) else { return };
        if index >= MAX_STAGES {
            self.facts.limit_hit = true;
            return;
        }
        self.scopes.insert(index, self.variables.scope());
    }

    fn stage(&self, name: &str) -> Option<usize> {
        self.stage_names.get(&name.to_lowercase()).copied()
    }

    fn base_image(&mut self, image: &str) {
        let is_image = !image.is_empty() && image != "scratch";
        if !is_image || self.past_target || self.facts.base_images.iter().any(|i| i == image) {
            return;
        }
        if self.facts.base_images.len() >= MAX_BASE_IMAGES {
            self.facts.limit_hit = true;
            return;
        }
        self.facts.base_images.push(image.to_owned());
    }

    /// `--from=` names a stage, by name or number, or an image.
    fn image_or_stage(&mut self, name: &str) {
        let numbered = name.parse::<usize>().is_ok();
        if !numbered && self.stage(name).is_none() {
            self.base_image(name);
        }
    }

    fn copy_from(&mut self, body: &str) {
        let body = self.expanded(body);
        for flag in leading_flags(&body).0 {
            if let Some(name) = flag.strip_prefix("--from=") {
                self.image_or_stage(name);
            }
        }
    }

    fn mounts(&mut self, body: &str) {
        let (flags, _) = leading_flags(body);
        for flag in flags {
            let Some(mount) = flag.strip_prefix("--mount=") else { continue };
            let mount = self.expanded(mount);
            for name in mount.split(',').filter_map(|field| field.strip_prefix("from=")) {
                self.image_or_stage(name);
            }
        }
    }

    fn arg(&mut self, body: &str) {
        for (name, default) in pairs(body, self.escape) {
            let default = default.map(|value| self.expanded(&value));
            if let Some(value) = &default {
                self.value(&name, value);
            }
            let kept = self.variables.declare(&name, default);
            self.facts.limit_hit |= !kept;
        }
    }

    fn env(&mut self, body: &str) {
        let (first, rest) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
        let pairs = if first.contains('=') {
            pairs(body, self.escape)
        } else {
            vec![(first.to_owned(), Some(rest.trim().to_owned()))]
        };
        for (name, value) in pairs {
            let value = self.expanded(&value.unwrap_or_default());
            self.value(&name, &value);
            let kept = self.variables.set(&name, value);
            self.facts.limit_hit |= !kept;
        }
    }

    /// The value of a variable may be a URL, and is, without a scheme, for a proxy.
    fn value(&mut self, name: &str, value: &str) {
        self.finder.read(value);
        if variables::is_proxy(name) {
            self.finder.add(value);
            add_proxy(&mut self.facts.proxies, value);
        }
        let secret = !value.is_empty() && (is_secret_name(name) || looks_secret(value));
        let known = self.facts.exposed_secrets.iter().any(|known| known == name);
        if secret && !known && self.facts.exposed_secrets.len() < MAX_BASE_IMAGES {
            self.facts.exposed_secrets.push(name.to_owned());
        }
    }

    fn command(&mut self, program: &str, body: &str) {
        let body = self.expanded(body);
        let (_, rest) = leading_flags(&body);
        let text = json_words(rest).map_or_else(|| rest.to_owned(), |words| words.join(" "));
        self.finder.read(&format!("{program}{text}"));
    }

    fn expanded(&mut self, text: &str) -> String {
        let variables = &self.variables;
        let out = expanded(text, self.escape, self.expandable_bytes, &|name| variables.value(name));
        self.spend(text, out)
    }

    fn expanded_by_global(&mut self, text: &str) -> String {
        let variables = &self.variables;
        let out =
            expanded(text, self.escape, self.expandable_bytes, &|name| variables.global(name));
        self.spend(text, out)
    }

    /// Takes the result off what may be expanded; when that is used up, texts stay as they are.
    fn spend(&mut self, text: &str, out: Option<String>) -> String {
        let Some(out) = out else { return text.to_owned() };
        if out.len() >= self.expandable_bytes {
            self.expandable_bytes = 0;
            self.facts.limit_hit = true;
            return text.to_owned();
        }
        self.expandable_bytes -= out.len();
        out
    }

    fn finish(mut self, build_args: &BTreeMap<String, String>) -> DockerfileFacts {
        for (name, value) in build_args {
            self.value(name, value);
        }
        self.facts.urls = self.finder.into_urls();
        self.facts
    }
}

/// Proxies among the build arguments of a call.
pub(crate) fn proxies_of(build_args: &BTreeMap<String, String>) -> Vec<String> {
    let mut proxies = Vec::new();
    for (_, value) in build_args.iter().filter(|(name, _)| variables::is_proxy(name)) {
        add_proxy(&mut proxies, value);
    }
    proxies
}

/// Adds what is a URL or host, once.
pub(crate) fn add_proxy(proxies: &mut Vec<String>, value: &str) {
    let usable = value.len() <= MAX_PROXY_BYTES && urls::host_port(value).is_some();
    let proxy = redact_url(value, Secrets::Redact);
    if usable && proxies.len() < MAX_PROXIES && !proxies.contains(&proxy) {
        proxies.push(proxy);
    }
}

/// `None` where there is nothing to expand.
fn expanded(
    text: &str,
    escape: char,
    limit: usize,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    text.contains('$').then(|| expand(text, escape, limit.min(MAX_TEXT_BYTES), lookup))
}

#[cfg(test)]
mod tests;
