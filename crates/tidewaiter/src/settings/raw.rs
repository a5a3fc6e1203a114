//! The file as it is written. Values keep their place, so that an error can name the line.

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default)]
    pub(super) policy: Policy,
    #[serde(default)]
    pub(super) environment: Vec<Environment>,
    #[serde(default)]
    pub(super) docker_host: Vec<DockerHost>,
    #[serde(default)]
    pub(super) collector: Collector,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Collector {
    pub(super) listen: Option<Vec<Spanned<String>>>,
    pub(super) listen_tcp: Option<Vec<Spanned<String>>>,
    pub(super) exporters: Option<Vec<Spanned<String>>>,
    pub(super) lateness: Option<Spanned<String>>,
    pub(super) stats_every: Option<Spanned<String>>,
    pub(super) save_every: Option<Spanned<String>>,
    pub(super) receive_buffer_bytes: Option<Spanned<u64>>,
    pub(super) tcp_connections: Option<Spanned<u32>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Policy {
    pub(super) time_window: Option<Spanned<String>>,
    pub(super) deploy_window: Option<Spanned<String>>,
    pub(super) known_after: Option<Spanned<String>>,
    pub(super) learning_period: Option<Spanned<String>>,
    pub(super) forget_after: Option<Spanned<String>>,
    pub(super) inferred_window_max: Option<Spanned<String>>,
    pub(super) new_image_threshold: Option<Spanned<u32>>,
    pub(super) registry_allow_list: Option<Spanned<Vec<String>>>,
    pub(super) proxies: Option<Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Environment {
    pub(super) name: Spanned<String>,
    pub(super) networks: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) vlans: Vec<u16>,
    #[serde(default)]
    pub(super) vnis: Vec<u32>,
    #[serde(default)]
    pub(super) interfaces: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DockerHost {
    pub(super) address: Spanned<String>,
    pub(super) environment: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) aliases: Vec<Spanned<String>>,
}
