//! x
use std::collections::BTreeMap;
use tw_model::Secrets;
pub(crate) struct DockerfileFacts {
    pub(crate) base_images: Vec<String>,
    pub(crate) steps: Vec<String>,
    pub(crate) urls: Vec<String>,
    pub(crate) syntax_image: Option<String>,
}
pub(crate) fn read(
    text: &str,
    _: &BTreeMap<String, String>,
    _: Option<&str>,
    _: Secrets,
) -> DockerfileFacts {
    DockerfileFacts {
        base_images: text
            .lines()
            .filter_map(|l| l.strip_prefix("FROM "))
            .map(str::to_owned)
            .collect(),
        steps: text.lines().map(str::to_owned).collect(),
        urls: super::urls::find(text),
        syntax_image: None,
    }
}
pub(crate) fn printable(t: &str, _: Secrets) -> String {
    t.to_owned()
}
