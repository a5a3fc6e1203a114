//! Secrets that can be told by their shape: the documented prefixes of access tokens, JSON Web
//! Tokens (RFC 7519) and PEM private keys (RFC 7468).

/// Prefix, and how many token characters must follow at least.
const PREFIXES: [(&str, usize); 27] = [
    ("ghp_", 30),
    ("gho_", 30),
    ("ghu_", 30),
    ("ghs_", 30),
    ("ghr_", 30),
    ("github_pat_", 22),
    ("glpat-", 16),
    ("gldt-", 16),
    ("glrt-", 16),
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("npm_", 30),
    ("sk-", 20),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("hf_", 30),
    ("dckr_pat_", 20),
    ("pypi-AgE", 30),
    ("AIza", 35),
    ("ya29.", 20),
    ("SG.", 40),
    ("shpat_", 32),
    ("dop_v1_", 40),
    ("AGE-SECRET-KEY-", 40),
];

/// Does the whole value look like an access token or a private key?
///
/// Digests, image ids and base64 of unknown content do not.
#[must_use]
pub fn looks_secret(value: &str) -> bool {
    let value = value.trim();
    if value.starts_with("-----BEGIN ") {
        return value.contains("PRIVATE KEY");
    }
    if value.bytes().any(|b| !is_token_byte(b) && b != b':') {
        return false;
    }
    PREFIXES.iter().any(|(prefix, at_least)| {
        value.strip_prefix(prefix).is_some_and(|rest| rest.len() >= *at_least)
    }) || is_aws_key_id(value)
        || is_jwt(value)
        || is_bot_token(value)
}

/// The characters of which tokens are made.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'/' | b'=')
}

fn is_aws_key_id(value: &str) -> bool {
    value.strip_prefix("AKIA").or_else(|| value.strip_prefix("ASIA")).is_some_and(|rest| {
        rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    })
}

/// RFC 7519 §3: three base64url parts; the first begins with `{"`, which encodes to `eyJ`.
fn is_jwt(value: &str) -> bool {
    let mut parts = value.split('.');
    let (Some(head), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    head.starts_with("eyJ") && head.len() > 8 && claims.len() > 4 && signature.len() > 8
}

/// `bot123456789:` and 35 characters: how a chat bot's token stands in its API's path.
fn is_bot_token(value: &str) -> bool {
    let rest = value.strip_prefix("bot").unwrap_or(value);
    rest.split_once(':').is_some_and(|(id, key)| {
        (8..=10).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_digit())
            && key.len() == 35
            && key.bytes().all(is_token_byte)
    })
}

#[cfg(test)]
mod tests {
    use super::looks_secret;

    #[test]
    fn documented_prefixes_are_secrets_and_their_short_twins_are_not() {
        for value in [
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_0123456789abcdefghij0123456789abcdef",
            "glpat-0123456789abcdefghij",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
            "bot123456789:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(looks_secret(value), "{value}");
        }
        for value in [
            "AKIAIOSFODNN7EXAMPL",
            "ghp_short",
            "sk-learn",
            "eyJ.a.b",
            "-----BEGIN CERTIFICATE-----",
            "sha256:7e09446e19599751dbbd6ee3dc8b9bf8ce2009781eb10b4d269b99b8e8b20a37",
            "7e09446e19599751dbbd6ee3dc8b9bf8ce2009781eb10b4d269b99b8e8b20a37",
            "aHR0cDovLzIwMy4wLjExMy45L3htcmlnLnRhci5nego=",
            "",
        ] {
            assert!(!looks_secret(value), "{value}");
        }
    }
}
