//! What a file of a data set must hold: its length and SHA-256, pinned in its definition.
//!
//! Every byte that enters the cache, and every byte that leaves it, passes through [`Pin::copy_verified`].

use std::io::{self, Read, Write};

use crate::digest::{Digest, Hasher};

/// One file of a data set, decoded (no gzip, no PNG).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pin {
    pub file: &'static str,
    pub bytes: u64,
    pub sha256: &'static str,
}

/// The files of one data set, ordered by name. `set` names its cache folder and its fetch command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub set: &'static str,
    pub pins: &'static [Pin],
}

impl Spec {
    pub(crate) fn bytes(&self) -> u64 {
        self.pins.iter().map(|pin| pin.bytes).sum()
    }

    /// The SHA-256 of what `sha256sum` prints of the files.
    pub(crate) fn digest(&self) -> Digest {
        let lines = self.pins.iter().map(|pin| format!("{}  {}\n", pin.sha256, pin.file));
        Digest::of(lines.collect::<String>().as_bytes())
    }
}

/// How a file differs from its pin.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    #[error("'{file}' is cut short: {found} bytes, expected {expected}")]
    TooShort { file: &'static str, expected: u64, found: u64 },
    #[error("'{file}' is too long: more than the expected {expected} bytes")]
    TooLong { file: &'static str, expected: u64 },
    #[error("'{file}' has SHA-256 {found}, expected {expected}")]
    Content { file: &'static str, expected: &'static str, found: Digest },
}

/// Reading and writing are told apart, because another source may help with the one but not with the other.
#[derive(Debug)]
pub(crate) enum CopyError {
    Read(io::Error),
    Write(io::Error),
    Mismatch(Mismatch),
}

impl Pin {
    /// Copies `from` to `to` and fails unless it was exactly the pinned content.
    ///
    /// Reads at most one byte more than it expects, so that no source can fill memory or disk.
    pub(crate) fn copy_verified(&self, from: impl Read, mut to: impl Write) -> Result<(), CopyError> {
        let mut from = from.take(self.bytes + 1);
        let mut hasher = Hasher::new();
        let mut block = vec![0; 1 << 16];
        let mut found = 0;
        loop {
            let read = match from.read(&mut block) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::Read(error)),
            };
            hasher.update(&block[..read]);
            to.write_all(&block[..read]).map_err(CopyError::Write)?;
            found += read as u64;
        }
        self.judge(found, hasher.finish()).map_err(CopyError::Mismatch)
    }

    fn judge(&self, bytes: u64, digest: Digest) -> Result<(), Mismatch> {
        let (file, expected) = (self.file, self.bytes);
        if bytes > expected {
            Err(Mismatch::TooLong { file, expected })
        } else if bytes < expected {
            Err(Mismatch::TooShort { file, expected, found: bytes })
        } else if digest.to_string() != self.sha256 {
            Err(Mismatch::Content { file, expected: self.sha256, found: digest })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! Tiny data sets with true pins, for tests of everything that verifies.

    use super::*;

    /// A set of `files` (name and content). The strings live as long as the test process.
    pub(crate) fn spec(set: &'static str, files: &[(&'static str, &[u8])]) -> Spec {
        let pins: Vec<Pin> = files.iter().map(|(file, content)| pin(file, content)).collect();
        Spec { set, pins: pins.leak() }
    }

    pub(crate) fn pin(file: &'static str, content: &[u8]) -> Pin {
        Pin { file, bytes: content.len() as u64, sha256: Digest::of(content).to_string().leak() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(content: &[u8]) -> String {
        match fake::pin("ten", b"0123456789").copy_verified(content, io::sink()) {
            Err(CopyError::Mismatch(mismatch)) => mismatch.to_string(),
            other => panic!("expected a mismatch, found {other:?}"),
        }
    }

    #[test]
    fn the_pinned_content_is_copied_whole() {
        let mut copy = Vec::new();
        fake::pin("ten", b"0123456789").copy_verified(&b"0123456789"[..], &mut copy).unwrap();
        assert_eq!(copy, b"0123456789");
    }

    #[test]
    fn a_flipped_bit_is_refused_with_file_expected_and_found() {
        let text = refusal(b"0123456788");
        assert!(text.contains("'ten'"), "{text}");
        assert!(text.contains(&Digest::of(b"0123456788").to_string()), "{text}");
        assert!(text.contains(&format!("expected {}", Digest::of(b"0123456789"))), "{text}");
    }

    #[test]
    fn a_wrong_length_is_refused_with_both_lengths() {
        assert_eq!(refusal(b"01234"), "'ten' is cut short: 5 bytes, expected 10");
        assert_eq!(refusal(b"0123456789a"), "'ten' is too long: more than the expected 10 bytes");
    }

    #[test]
    fn an_endless_source_is_read_one_byte_past_the_pin_and_no_further() {
        let mut copy = Vec::new();
        let copied = fake::pin("ten", b"0123456789").copy_verified(io::repeat(0), &mut copy);
        assert!(matches!(copied, Err(CopyError::Mismatch(Mismatch::TooLong { .. }))));
        assert_eq!(copy.len(), 11);
    }
}
