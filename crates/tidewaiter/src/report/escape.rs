//! Makes text from the wire safe for a terminal.

/// Replaces what a terminal would obey or show misleadingly: C0 and C1 controls, DEL, and the
/// bidirectional and invisible formatting characters. Tabs become a blank.
pub(crate) fn terminal(text: &str) -> String {
    text.chars().map(visible).collect()
}

fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
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
