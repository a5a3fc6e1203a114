//! x
pub(crate) fn find(text: &str) -> Vec<String> {
    text.split_whitespace().filter(|w| w.contains("://")).map(str::to_owned).collect()
}
