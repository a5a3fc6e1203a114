//! Handshake messages, joined over records (RFC 8446 §4, §5.1).

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const ENCRYPTED_EXTENSIONS: u8 = 8;

/// Joins the handshake messages of a direction. Only the bodies that are looked at are kept.
#[derive(Debug, Default)]
pub(super) struct Messages {
    header: Vec<u8>,
    /// Bytes of the body, and those that are still to come.
    len: usize,
    left: usize,
    body: Vec<u8>,
}

impl Messages {
    /// Takes the content of a handshake record; `each` gets type, length and body of what it
    /// completes, the body empty where it is not needed or longer than `limit`.
    pub(super) fn push(
        &mut self,
        mut content: &[u8],
        limit: usize,
        each: &mut dyn FnMut(u8, usize, &[u8]),
    ) {
        while !content.is_empty() {
            if self.header.len() < 4 {
                let wanted = (4 - self.header.len()).min(content.len());
                let (taken, rest) = content.split_at_checked(wanted).unwrap_or_default();
                self.header.extend_from_slice(taken);
                content = rest;
                let [_, high, middle, low] = *self.header else { return };
                self.len = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.left = self.len;
            }
            let (taken, rest) =
                content.split_at_checked(self.left.min(content.len())).unwrap_or_default();
            let kind = self.header.first().copied().unwrap_or_default();
            let needed = matches!(kind, CLIENT_HELLO | SERVER_HELLO | ENCRYPTED_EXTENSIONS);
            if needed && self.body.len().saturating_add(self.left) <= limit {
                self.body.extend_from_slice(taken);
            }
            self.left -= taken.len();
            content = rest;
            if self.left == 0 {
                each(kind, self.len, &self.body);
                self.header.clear();
                self.body.clear();
            }
        }
    }
}
