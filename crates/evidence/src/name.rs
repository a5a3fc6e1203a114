//! Names of files.

/// Longest stem, so that every file system takes it with a suffix.
const MAX_CHARS: usize = 100;

/// An id of ours as the stem of a file's name: what is no ASCII letter, digit or hyphen becomes an
/// underscore, so that no id can name another folder, a hidden file or an option of a command.
#[must_use]
pub fn file_stem(id: &str) -> String {
    let stem: String = id
        .chars()
        .take(MAX_CHARS)
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .collect();
    match stem.chars().next() {
        None => "_".to_owned(),
        Some('-') => format!("_{stem}"),
        Some(_) => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::file_stem;

    #[test]
    fn ids_stay_and_paths_do_not() {
        assert_eq!(file_stem("incident-0f3a"), "incident-0f3a");
        assert_eq!(file_stem("../../etc/passwd"), "______etc_passwd");
        assert_eq!(file_stem("-rf"), "_-rf");
        assert_eq!(file_stem(""), "_");
        assert_eq!(file_stem("a\0\u{202e}\n"), "a___");
        assert_eq!(file_stem(&"x".repeat(5_000)).len(), MAX_LEN);
    }

    const MAX_LEN: usize = super::MAX_CHARS;
}
