//! Gzip streams and tar archives that nobody vouches for.
//!
//! Nothing is ever unpacked by the archive's own paths: a visitor is shown the last part of each name and
//! decides by itself what to keep and where. Memory is fixed, whatever the archive claims.

use std::io::{self, Read};
use std::ops::ControlFlow;

use flate2::read::MultiGzDecoder;
use tar::Archive;

use crate::text;

/// More than any archive here holds (CIFAR-10 has 176 MiB), and a second's work to read past.
pub const MAX_UNPACKED: u64 = 512 << 20;

/// The bytes inside a gzip stream; an error after `limit` of them.
pub fn gunzip(compressed: impl Read, limit: u64) -> impl Read {
    Capped { inner: MultiGzDecoder::new(compressed), limit, left: limit }
}

/// Shows each regular file of a tar archive to `visit`, as the last part of its name and its content.
///
/// Stops at the visitor's first error or `Break`. Names above 255 bytes come in extension entries, which
/// would have to be held in memory; no file we look for has one, so they pass as what they are.
pub fn each_file<E: From<io::Error>>(
    archive: impl Read,
    mut visit: impl FnMut(&str, &mut dyn Read) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let mut archive = Archive::new(archive);
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.header().path_bytes().into_owned();
        let path = String::from_utf8_lossy(&path);
        let file_name = path.rsplit('/').next().unwrap_or_default();
        if matches!(file_name, "" | "." | "..") {
            continue;
        }
        if visit(file_name, &mut entry)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Fails where [`Read::take`] would pretend that the input had ended.
struct Capped<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            let limit = text::bytes(self.limit);
            io::Error::other(format!("unpacks to more than {limit}, which no data set here takes"))
        })?;
        Ok(read)
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! Small archives.

    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// A tar archive with exactly these paths, even those that `tar` would refuse to write.
    pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_ustar();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Files = Vec<(String, Vec<u8>)>;

    fn files(archive: &[u8]) -> io::Result<Files> {
        let mut files = Files::new();
        each_file(archive, |name, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            files.push((name.to_owned(), bytes));
            Ok::<_, io::Error>(ControlFlow::Continue(()))
        })?;
        Ok(files)
    }

    #[test]
    fn a_visitor_sees_names_without_folders_so_none_can_lead_outside() {
        let archive = fake::tar(&[("../../etc/passwd", b"one"), ("/outside/x", b"two"), ("plain", b"")]);
        let expected = [("passwd", "one"), ("x", "two"), ("plain", "")];
        let seen = files(&archive).unwrap();
        let seen = seen.iter().map(|(name, bytes)| (name.as_str(), std::str::from_utf8(bytes).unwrap()));
        assert!(seen.eq(expected));
    }

    #[test]
    fn links_and_folders_are_not_files() {
        let mut builder = tar::Builder::new(Vec::new());
        for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory] {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(0);
            builder.append_link(&mut header, "wanted", "/etc/passwd").unwrap();
        }
        assert_eq!(files(&builder.into_inner().unwrap()).unwrap(), []);
    }

    #[test]
    fn no_truncated_or_flipped_archive_makes_it_panic() {
        let archive = fake::tar(&[("one", b"1"), ("two", b"22")]);
        for len in 0..archive.len() {
            let _ = files(&archive[..len]);
        }
        for position in 0..archive.len() {
            let mut bytes = archive.clone();
            bytes[position] ^= 0xff;
            let _ = files(&bytes);
        }
    }

    #[test]
    fn a_file_that_claims_a_giant_size_is_an_error_not_an_allocation() {
        let mut archive = fake::tar(&[("one", b"1"), ("two", b"22")]);
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..3].copy_from_slice(b"one");
        header.set_size(u64::MAX / 2);
        header.set_cksum();
        archive[..512].copy_from_slice(header.as_bytes());
        let seen = files(&archive);
        assert!(seen.is_err(), "{seen:?}");
    }

    #[test]
    fn gzip_round_trips_and_a_bomb_stops_at_the_limit() {
        let bomb = fake::gzip(&vec![0; 1 << 20]);
        let mut bytes = Vec::new();
        gunzip(&bomb[..], 1 << 20).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 1 << 20);
        let error = gunzip(&bomb[..], 1 << 16).read_to_end(&mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("more than 64.0 KiB"), "{error}");
    }

    #[test]
    fn every_truncation_of_a_gzip_stream_is_an_error() {
        let compressed =
            fake::gzip(b"some text that is long enough to be compressed, compressed, compressed");
        for len in 1..compressed.len() {
            let read = gunzip(&compressed[..len], 1 << 16).read_to_end(&mut Vec::new());
            assert!(read.is_err(), "{len} bytes were accepted");
        }
    }
}
