//! Characters that text from the network must not reach a person with.

/// Does it steer a terminal, turn the direction of writing, or have no shape of its own? Controls,
/// Unicode's format characters (general category Cf) with the separators that break lines, all language
/// tags and variation selectors, and the private use area, whose shapes are anybody's.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{e000}'..='\u{f8ff}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::is_hidden;

    #[test]
    fn letters_marks_and_blanks_are_shown_and_what_steers_is_not() {
        assert!("aé 日本 \u{5d0}\u{301}🦀".chars().all(|c| !is_hidden(c)));
        let hidden = "\u{1b}\n\t\u{9b}\u{61c}\u{202e}\u{2029}\u{2066}\u{e000}\u{feff}\u{e0041}";
        assert!(hidden.chars().all(is_hidden));
    }
}
