//! Makes text from the wire safe for a terminal.

use tw_model::is_hidden;

/// Replaces what a terminal would obey or show misleadingly ([`is_hidden`]). Tabs become a blank.
pub(crate) fn terminal(text: &str) -> String {
    text.chars().map(visible).collect()
}

fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if is_hidden(c) => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::terminal;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(terminal("a\x1b[31mb\r\n\u{9b}1m\u{202e}c\td"), "a�[31mb���1m�c d");
        assert_eq!(terminal("日本 ü"), "日本 ü");
    }
}
