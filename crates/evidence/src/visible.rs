//! Text from the network, made harmless.

use tw_model::is_hidden;

/// The text with everything in it that steers a terminal or turns the direction of writing shown as
/// `\u{…}`: controls, bidirectional marks and other characters that have no shape of their own. Line
/// feeds and tabs are controls too.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_steers_is_shown_and_letters_stay() {
        assert_eq!(visible("イメージ é \u{5d0}"), "イメージ é \u{5d0}");
        assert_eq!(visible("a\u{1b}[31mb\r\n"), "a\\u{1b}[31mb\\u{d}\\u{a}");
        assert_eq!(visible("exe\u{202e}txt\u{2066}"), "exe\\u{202e}txt\\u{2066}");
        assert_eq!(visible("\u{9b}0m\u{e0041}"), "\\u{9b}0m\\u{e0041}");
    }
}
