//! `ARG` and `ENV` as a build sees them.

use std::collections::BTreeMap;

/// Variables kept, and the bytes of their values.
const MAX_VARIABLES: usize = 1000;
const MAX_VALUE_BYTES: usize = 256 * 1024;

/// The variables of the stage that is being read, over the global ones.
///
/// Dockerfile reference, "Understand how ARG and FROM interact", "Using ARG variables": a build
/// argument beats the default; an `ENV` beats an `ARG` of the same name; an `ARG` before the first
/// `FROM` is seen in a stage only where it is declared again.
pub(super) struct Variables {
    build_args: BTreeMap<String, String>,
    global: BTreeMap<String, String>,
    scope: Scope,
    in_stage: bool,
    bytes: usize,
}

/// What a stage leaves to those that are built on it.
#[derive(Clone, Default)]
pub(super) struct Scope {
    args: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
}

impl Variables {
    pub(super) fn new(build_args: &BTreeMap<String, String>) -> Self {
        Self {
            build_args: build_args.clone(),
            global: BTreeMap::new(),
            scope: Scope::default(),
            in_stage: false,
            bytes: 0,
        }
    }

    /// A `FROM`, with what the stage that it names left.
    pub(super) fn enter_stage(&mut self, inherited: Scope) {
        self.in_stage = true;
        self.scope = inherited;
        let all = [&self.global, &self.scope.args, &self.scope.env];
        self.bytes = all.into_iter().flatten().map(|(_, value)| value.len()).sum();
    }

    pub(super) fn scope(&self) -> Scope {
        self.scope.clone()
    }

    /// An `ARG`. `false` where a limit was reached.
    pub(super) fn declare(&mut self, name: &str, default: Option<String>) -> bool {
        let given = self.build_args.get(name).cloned().or(default);
        let value =
            if self.in_stage { given.or_else(|| self.global.get(name).cloned()) } else { given };
        let Some(value) = value.filter(|value| self.has_room(value)) else {
            return !self.is_full();
        };
        self.bytes += value.len();
        let scope = if self.in_stage { &mut self.scope.args } else { &mut self.global };
        scope.insert(name.to_owned(), value);
        true
    }

    /// An `ENV`. `false` where a limit was reached.
    pub(super) fn set(&mut self, name: &str, value: String) -> bool {
        if !self.has_room(&value) {
            return false;
        }
        self.bytes += value.len();
        self.scope.env.insert(name.to_owned(), value);
        true
    }

    /// The value in the stage.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        if !self.in_stage {
            return self.global(name);
        }
        let predefined = || self.build_args.get(name).filter(|_| is_proxy(name));
        self.scope.env.get(name).or_else(|| self.scope.args.get(name)).or_else(predefined).cloned()
    }

    /// The value for a `FROM`.
    pub(super) fn global(&self, name: &str) -> Option<String> {
        self.global.get(name).cloned()
    }

    fn has_room(&self, value: &str) -> bool {
        !self.is_full() && self.bytes + value.len() <= MAX_VALUE_BYTES
    }

    fn is_full(&self) -> bool {
        self.global.len() + self.scope.args.len() + self.scope.env.len() >= MAX_VARIABLES
    }
}

/// Dockerfile reference, "Predefined ARGs": usable without being declared, and they name a proxy.
pub(super) fn is_proxy(name: &str) -> bool {
    ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY"]
        .iter()
        .any(|proxy| name.eq_ignore_ascii_case(proxy))
}
