//! Record keys: from secrets to opened records (RFC 8446 §5.2, §7; RFC 5246 §6.3; RFC 5288; RFC 7905).

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

use super::keylog::{ClientRandom, Secret};

/// AEAD and hash of a cipher suite, and how it is framed.
#[derive(Clone, Copy)]
pub(super) struct Suite {
    aead: &'static aead::Algorithm,
    hash: hmac::Algorithm,
    /// TLS 1.3's suites name no key exchange.
    pub(super) tls13: bool,
}

impl Suite {
    /// The suites that can be opened: AES-GCM and ChaCha20-Poly1305 of TLS 1.2 and 1.3 (RFC 8446
    /// §B.4, RFC 5288, 5289, 5487, 7905, 8442). CBC, CCM and the rest stay opaque.
    pub(super) fn find(number: u16) -> Option<Self> {
        let suite = |aead, hash, tls13| Some(Self { aead, hash, tls13 });
        match number {
            0x1301 => suite(&aead::AES_128_GCM, hmac::HMAC_SHA256, true),
            0x1302 => suite(&aead::AES_256_GCM, hmac::HMAC_SHA384, true),
            0x1303 => suite(&aead::CHACHA20_POLY1305, hmac::HMAC_SHA256, true),
            0x009c | 0x009e | 0x00a0 | 0x00a2 | 0x00a4 | 0x00a6 | 0x00a8 | 0x00aa | 0x00ac
            | 0xc02b | 0xc02d | 0xc02f | 0xc031 | 0xd001 => {
                suite(&aead::AES_128_GCM, hmac::HMAC_SHA256, false)
            }
            0x009d | 0x009f | 0x00a1 | 0x00a3 | 0x00a5 | 0x00a7 | 0x00a9 | 0x00ab | 0x00ad
            | 0xc02c | 0xc02e | 0xc030 | 0xc032 | 0xd002 => {
                suite(&aead::AES_256_GCM, hmac::HMAC_SHA384, false)
            }
            0xcca8..=0xccae => suite(&aead::CHACHA20_POLY1305, hmac::HMAC_SHA256, false),
            _ => None,
        }
    }

    /// Bytes of a record's body that are no content: nonce and tag, and in TLS 1.3 the content's
    /// type. Padding is not to be told from outside.
    pub(super) fn overhead_bytes(self) -> usize {
        self.explicit_bytes() + self.aead.tag_len() + usize::from(self.tls13)
    }

    /// Bytes of its hash.
    pub(super) fn hash_bytes(self) -> usize {
        self.hash.digest_algorithm().output_len()
    }

    /// Bytes of the nonce that TLS 1.2 sends in each record.
    fn explicit_bytes(self) -> usize {
        if self.tls13 || std::ptr::eq(self.aead, &aead::CHACHA20_POLY1305) { 0 } else { 8 }
    }
}

/// Opens the records of one direction.
pub(super) struct Protection {
    suite: Suite,
    key: LessSafeKey,
    iv: [u8; 12],
    /// TLS 1.3's traffic secret, for the next key.
    secret: Option<Secret>,
    seq: u64,
}

impl Protection {
    /// RFC 8446 §7.3: keys of a traffic secret. `None` where the secret is not of the suite's hash.
    pub(super) fn tls13(suite: Suite, secret: &Secret) -> Option<Self> {
        if secret.as_bytes().len() != suite.hash_bytes() {
            return None;
        }
        let prk = hmac::Key::new(suite.hash, secret.as_bytes());
        let key = expand_label(&prk, b"key", suite.aead.key_len());
        let iv = expand_label(&prk, b"iv", suite.aead.nonce_len()).try_into().ok()?;
        Self::new(suite, &key, iv, Some(secret.clone()))
    }

    /// RFC 5246 §6.3: the client's and the server's keys out of the key block.
    pub(super) fn tls12(
        suite: Suite,
        master: &Secret,
        client_random: &ClientRandom,
        server_random: &[u8; 32],
        of_client: bool,
    ) -> Option<Self> {
        let seed = [b"key expansion", &server_random[..], &client_random.0].concat();
        let (key_len, iv_len) = (suite.aead.key_len(), 12 - suite.explicit_bytes().min(8));
        let block = p_hash(suite.hash, master.as_bytes(), &seed, 2 * (key_len + iv_len));
        let (keys, ivs) = block.split_at_checked(2 * key_len)?;
        let half = |bytes: &[u8], len: usize| -> Option<Vec<u8>> {
            let (client, server) = bytes.split_at_checked(len)?;
            Some(if of_client { client.to_vec() } else { server.to_vec() })
        };
        let mut iv = [0; 12];
        for (slot, byte) in iv.iter_mut().zip(half(ivs, iv_len)?) {
            *slot = byte;
        }
        Self::new(suite, &half(keys, key_len)?, iv, None)
    }

    fn new(suite: Suite, key: &[u8], iv: [u8; 12], secret: Option<Secret>) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(suite.aead, key).ok()?);
        Some(Self { suite, key, iv, secret, seq: 0 })
    }

    /// RFC 8446 §7.2: after a `KeyUpdate`.
    pub(super) fn next(&self) -> Option<Self> {
        let secret = self.secret.as_ref()?;
        let prk = hmac::Key::new(self.suite.hash, secret.as_bytes());
        let next = expand_label(&prk, b"traffic upd", secret.as_bytes().len());
        Self::tls13(self.suite, &Secret::new(&next))
    }

    /// See [`Suite::overhead_bytes`].
    pub(super) fn overhead_bytes(&self) -> usize {
        self.suite.overhead_bytes()
    }

    /// Opens the next record in place; `None` where it is not authentic, and the sequence number stays.
    pub(super) fn open<'b>(&mut self, header: [u8; 5], body: &'b mut [u8]) -> Option<&'b [u8]> {
        self.open_ahead(0, header, body)
    }

    /// The same for the record that is so many further on: what lies between was lost.
    pub(super) fn open_ahead<'b>(
        &mut self,
        lost_records: u64,
        header: [u8; 5],
        body: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        let seq = self.seq.checked_add(lost_records)?;
        let (explicit, sealed) = body.split_at_mut_checked(self.suite.explicit_bytes())?;
        let nonce = Nonce::assume_unique_for_key(self.nonce(seq, explicit));
        let opened = if self.suite.tls13 {
            self.key.open_in_place(nonce, Aad::from(header), sealed)
        } else {
            let len = u16::try_from(sealed.len().checked_sub(self.suite.aead.tag_len())?).ok()?;
            let [kind, major, minor, ..] = header;
            let [high, low] = len.to_be_bytes();
            let mut aad = [0; 13];
            let fields = seq.to_be_bytes().into_iter().chain([kind, major, minor, high, low]);
            for (slot, byte) in aad.iter_mut().zip(fields) {
                *slot = byte;
            }
            self.key.open_in_place(nonce, Aad::from(aad), sealed)
        };
        let plain = opened.ok()?;
        self.seq = seq.checked_add(1)?;
        Some(plain)
    }

    /// RFC 5288 §3 where a part of the nonce is sent, else RFC 8446 §5.3 and RFC 7905 §2.
    fn nonce(&self, seq: u64, explicit: &[u8]) -> [u8; 12] {
        let mut nonce = self.iv;
        let tail = nonce.iter_mut().skip(4);
        if explicit.is_empty() {
            for (slot, byte) in tail.zip(seq.to_be_bytes()) {
                *slot ^= byte;
            }
        } else {
            for (slot, byte) in tail.zip(explicit) {
                *slot = *byte;
            }
        }
        nonce
    }
}

/// RFC 8446 §7.1: `HKDF-Expand-Label` without context; RFC 5869 §2.3.
pub(crate) fn expand_label(prk: &hmac::Key, label: &[u8], len: usize) -> Vec<u8> {
    let byte = |len: usize| u8::try_from(len).unwrap_or(u8::MAX);
    let label_len = byte(label.len().saturating_add(6));
    let head = [0, byte(len), label_len];
    let info = [&head[..], b"tls13 ", label, &[0]].concat();
    let mut out: Vec<u8> = Vec::with_capacity(len);
    let mut block: Vec<u8> = Vec::new();
    for counter in 1..=u8::MAX {
        if out.len() >= len {
            break;
        }
        block = hmac::sign(prk, &[&block[..], &info, &[counter]].concat()).as_ref().to_vec();
        out.extend_from_slice(&block);
    }
    out.truncate(len);
    out
}

/// RFC 5246 §5: `P_hash`.
fn p_hash(hash: hmac::Algorithm, secret: &[u8], seed: &[u8], len: usize) -> Vec<u8> {
    let key = hmac::Key::new(hash, secret);
    let mut out = Vec::with_capacity(len);
    let mut a = hmac::sign(&key, seed);
    while out.len() < len {
        out.extend_from_slice(hmac::sign(&key, &[a.as_ref(), seed].concat()).as_ref());
        a = hmac::sign(&key, a.as_ref());
    }
    out.truncate(len);
    out
}

#[cfg(test)]
impl Protection {
    /// Seals the next record, header and all.
    pub(super) fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let seq = self.seq;
        self.seq += 1;
        let tag_len = self.suite.aead.tag_len();
        let (inner, outer_kind) = if self.suite.tls13 {
            ([content, &[kind]].concat(), 23)
        } else {
            (content.to_vec(), kind)
        };
        let explicit = vec![seq.to_le_bytes()[0]; self.suite.explicit_bytes()];
        let len = u16::try_from(explicit.len() + inner.len() + tag_len).unwrap().to_be_bytes();
        let header = [outer_kind, 3, 3, len[0], len[1]];
        let nonce = Nonce::assume_unique_for_key(self.nonce(seq, &explicit));
        let mut body = inner.clone();
        if self.suite.tls13 {
            self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut body).unwrap();
        } else {
            let inner_len = u16::try_from(inner.len()).unwrap().to_be_bytes();
            let aad = [&seq.to_be_bytes()[..], &header[..3], &inner_len].concat();
            self.key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut body).unwrap();
        }
        [&header[..], &explicit, &body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.bytes().filter_map(|b| char::from(b).to_digit(16)?.try_into().ok()).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// RFC 8448 §3: the client's application data, and its keys.
    #[test]
    fn a_record_of_rfc_8448_opens() {
        let secret = hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
        let prk = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        assert_eq!(expand_label(&prk, b"key", 16), hex("17422dda596ed5d9acd890e3c63f5051"));
        assert_eq!(expand_label(&prk, b"iv", 12), hex("5b78923dee08579033e523d9"));
        let mut record = hex(
            "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd5\
             4a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4",
        );
        let suite = Suite::find(0x1301).unwrap();
        let mut keys = Protection::tls13(suite, &Secret::new(&secret)).unwrap();
        let (header, body) = record.split_first_chunk_mut::<5>().unwrap();
        let plain = keys.open(*header, body).unwrap();
        let expected: Vec<u8> = (0..50).chain([23]).collect();
        assert_eq!(plain, expected);
    }

    /// The vector for `P_SHA256` that implementers of TLS 1.2 have exchanged.
    #[test]
    fn p_hash_of_sha256() {
        let secret = hex("9bbe436ba940f017b17652849a71db35");
        let seed = [&b"test label"[..], &hex("a0ba9f936cda311827a6f796ffd5198c")].concat();
        let out = p_hash(hmac::HMAC_SHA256, &secret, &seed, 100);
        assert_eq!(out[..16], hex("e3f229ba727be17b8d122620557cd453"));
    }

    #[test]
    fn a_secret_of_another_hash_makes_no_key() {
        let suite = Suite::find(0x1302).unwrap();
        assert!(Protection::tls13(suite, &Secret::new(&[1; 32])).is_none());
    }
}
