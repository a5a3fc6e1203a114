//! One instruction without its secrets.

use tw_model::{Secrets, redact_command, redact_value, redact_words};

use super::words::json_words;

/// One instruction without its secrets. In two forms a secret does not look like one in a command:
/// `ENV NAME value`, the old form without `=`, and the exec form, whose words have commas between.
pub(super) fn redact_statement(keyword: &str, source: &str, secrets: Secrets) -> String {
    let (head, body) = split_at_space(source);
    let redacted = match keyword {
        "ENV" => old_env(body, secrets),
        _ => exec_form(body, secrets),
    };
    match redacted {
        Some(body) => format!("{head}{body}"),
        None => redact_command(source, secrets),
    }
}

fn old_env(body: &str, secrets: Secrets) -> Option<String> {
    let trimmed = body.trim_start();
    let space = body.get(..body.len() - trimmed.len())?;
    let (name, rest) = split_at_space(trimmed);
    if name.contains('=') {
        return None;
    }
    let value = rest.trim();
    let value_at = rest.len() - rest.trim_start().len();
    let (before, after) = (rest.get(..value_at)?, rest.get(value_at + value.len()..)?);
    Some(format!("{space}{name}{before}{}{after}", redact_value(name, value, secrets)))
}

/// The words written anew, only where one of them is a secret.
fn exec_form(body: &str, secrets: Secrets) -> Option<String> {
    let array_at = body.find('[')?;
    let (before, array) = body.split_at_checked(array_at)?;
    let words = json_words(array)?;
    let redacted = redact_words(&words, secrets);
    if redacted == words {
        return Some(body.to_owned());
    }
    let array = serde_json::to_string(&redacted).ok()?;
    Some(format!("{}{array}", redact_command(before, secrets)))
}

fn split_at_space(text: &str) -> (&str, &str) {
    let at = text.find(char::is_whitespace).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, ""))
}
