//! The evidence of pages in one file, which anybody can check without the store it came from.
//!
//! A gzipped tar: the folder of pages as it is, `Cargo.lock` of the program that made them, and `sha256sums` over all of it, in the
//! form of `sha256sum`. Names are sorted and no time or owner is kept, so that the same pages give the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};

use crate::digest::Digest;
use crate::report::audit::Audit;
use crate::report::kept::index::Index;
use crate::report::kept::{self, KeptError, Kind};

/// Folder in the bundle that the pages lie in.
pub const PAGES: &str = "pages";
const SUMS: &str = "sha256sums";
const LOCK: (&str, &str) = ("Cargo.lock", include_str!("../../Cargo.lock"));
/// More is no bundle of pages, and must not fill a reviewer's disk.
const MOST_BYTES: u64 = 4 << 30;

#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    Kept(#[from] KeptError),
    #[error("cannot read '{path}': {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("'{file}' in the bundle {what}; it is not what `pinbench bundle` wrote")]
    Content { file: String, what: String },
    #[error("the bundle cannot be unpacked: {0}; expected a .tar.gz that `pinbench bundle` wrote")]
    Archive(#[source] io::Error),
    #[error(
        "'{folder}' holds one page of a report, which links to the index, the methods and the explanations in the folder above; \
         bundle that folder"
    )]
    One { folder: PathBuf },
}

impl BundleError {
    /// Whether there is no bundle and no page to bundle at the place that was named.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::One { .. } => true,
            Self::Kept(error) => error.is_usage(),
            Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

/// The bundle of the pages in `folder`; hidden files are left out, and `out`, an older bundle that may lie there.
pub fn pack(folder: &Path, out: &Path) -> Result<Vec<u8>, BundleError> {
    // What holds no page that can be checked is not worth a bundle.
    kept::tree(folder)?;
    let kind = kept::kind(folder)?;
    if kind == Some(Kind::Experiment) {
        return Err(BundleError::One { folder: folder.to_owned() });
    }
    let mut files = BTreeMap::from([(LOCK.0.to_owned(), LOCK.1.as_bytes().to_vec())]);
    collect(folder, PAGES, fs::canonicalize(out).ok().as_deref(), &mut files)?;
    if kind == Some(Kind::Index) && !kept::index::read(folder)?.neighbours.is_empty() {
        // What lies beside the folder is not in the bundle, and a link to it would lead nowhere.
        let index = kept::remake_index(folder, None, |index| Index { neighbours: Vec::new(), ..index })?;
        files.extend(index.into_iter().map(|file| (format!("{PAGES}/{}", file.name), file.bytes)));
    }
    let sums: String = files.iter().map(|(name, bytes)| format!("{}  {name}\n", Digest::of(bytes))).collect();
    files.insert(SUMS.to_owned(), sums.into_bytes());
    archive(&files).map_err(BundleError::Archive)
}

fn collect(
    folder: &Path,
    name: &str,
    out: Option<&Path>,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), BundleError> {
    let reading = |path: &Path| {
        let path = path.to_owned();
        move |source| BundleError::Read { path, source }
    };
    for entry in fs::read_dir(folder).map_err(reading(folder))? {
        let path = entry.map_err(reading(folder))?.path();
        let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{name}/{own}");
        if own.starts_with('.')
            || out.is_some_and(|out| fs::canonicalize(&path).is_ok_and(|path| path == out))
        {
            continue;
        }
        if path.is_dir() {
            collect(&path, &name, out, files)?;
        } else {
            files.insert(name, fs::read(&path).map_err(reading(&path))?);
        }
    }
    Ok(())
}

fn archive(files: &BTreeMap<String, Vec<u8>>) -> io::Result<Vec<u8>> {
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice())?;
    }
    let mut gzip = tar.into_inner()?;
    gzip.flush()?;
    gzip.finish()
}

/// What was found in a bundle.
pub struct Checked {
    /// Files with the digest that `sha256sums` has for them.
    pub files: usize,
    pub audit: Audit,
}

/// Unpacks `bundle` into `folder`, holds every file against its digest, and audits the pages.
pub fn verify(bundle: &Path, folder: &Path) -> Result<Checked, BundleError> {
    let file =
        fs::File::open(bundle).map_err(|source| BundleError::Read { path: bundle.to_owned(), source })?;
    let mut found = unpack(file, folder)?;
    let text = found.remove(SUMS).map(|(_, text)| text);
    let text = text.ok_or_else(|| content(SUMS, "is missing"))?;
    let mut files = 0;
    for line in text.lines() {
        let (expected, name) = line.split_once("  ").ok_or_else(|| content(SUMS, "is no list of digests"))?;
        match found.remove(name) {
            Some((digest, _)) if digest.to_string() == expected => files += 1,
            Some((digest, _)) => {
                return Err(content(name, &format!("has the SHA-256 {digest}, expected {expected}")));
            }
            None => return Err(content(name, "is missing")),
        }
    }
    if let Some(name) = found.keys().next() {
        return Err(content(name, &format!("is not named in {SUMS}")));
    }
    Ok(Checked { files, audit: Audit::of(&folder.join(PAGES))? })
}

/// The digest of every file by its name, and the text of `sha256sums`.
fn unpack(file: fs::File, folder: &Path) -> Result<BTreeMap<String, (Digest, String)>, BundleError> {
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)).take(MOST_BYTES));
    let mut found = BTreeMap::new();
    for entry in archive.entries().map_err(BundleError::Archive)? {
        let mut entry = entry.map_err(BundleError::Archive)?;
        let path = entry.path().map_err(BundleError::Archive)?.into_owned();
        let name = path.to_string_lossy().into_owned();
        // A bundle is somebody else's: no name of it may lead out of the folder.
        let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_inside || !entry.header().entry_type().is_file() {
            return Err(content(&name, "is no plain file inside the bundle"));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(BundleError::Archive)?;
        let text = if name == SUMS { String::from_utf8_lossy(&bytes).into_owned() } else { String::new() };
        let place = folder.join(&path);
        let writing = |source| BundleError::Read { path: place.clone(), source };
        fs::create_dir_all(place.parent().unwrap_or(folder)).map_err(writing)?;
        fs::write(&place, &bytes).map_err(writing)?;
        if found.insert(name.clone(), (Digest::of(&bytes), text)).is_some() {
            return Err(content(&name, "is there twice"));
        }
    }
    // What follows belongs to nothing that was checked: zeros end an archive, and the archive its file.
    let mut rest = archive.into_inner();
    let mut bytes = Vec::new();
    rest.read_to_end(&mut bytes).map_err(BundleError::Archive)?;
    let mut file = rest.into_inner().into_inner();
    if bytes.iter().any(|byte| *byte != 0) || !file.fill_buf().map_err(BundleError::Archive)?.is_empty() {
        return Err(BundleError::Archive(io::Error::other("other bytes follow the archive")));
    }
    Ok(found)
}

fn content(file: &str, what: &str) -> BundleError {
    BundleError::Content { file: file.to_owned(), what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::audit::tests::pages;

    #[test]
    fn a_bundle_is_checked_where_there_is_no_store_and_the_same_pages_give_the_same_bytes() {
        let folder = pages();
        let inside = folder.path().join("evidence.tar.gz");
        let bytes = pack(folder.path(), &inside).unwrap();
        fs::write(&inside, &bytes).unwrap();
        assert_eq!(bytes, pack(folder.path(), &inside).unwrap(), "an older bundle is not in the new one");
        let followed = folder.path().join("followed.tar.gz");
        fs::write(&followed, [&bytes[..], b"more"].concat()).unwrap();
        let error =
            verify(&followed, tempfile::tempdir().unwrap().path()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("bytes follow"), "{error}");
        fs::remove_file(followed).unwrap();
        let one = pack(&folder.path().join("m1"), &inside).unwrap_err().to_string();
        assert!(one.contains("one page of a report") && one.contains("bundle that folder"), "{one}");
        let elsewhere = tempfile::tempdir().unwrap();
        let file = elsewhere.path().join("evidence.tar.gz");
        fs::write(&file, &bytes).unwrap();
        let checked = verify(&file, &elsewhere.path().join("out")).unwrap();
        assert!(checked.audit.holds() && checked.files > 10, "{:?}", checked.audit);
    }

    #[test]
    fn an_index_leads_to_those_beside_it_and_in_a_bundle_does_without() {
        let parent = tempfile::tempdir().unwrap();
        let [full, quick] = ["full", "quick"].map(|name| parent.path().join(name));
        let copied = pages();
        for folder in [&full, &quick] {
            fs::create_dir_all(folder.join("m1")).unwrap();
            for place in ["", "m1"] {
                for entry in fs::read_dir(copied.path().join(place)).unwrap().map(Result::unwrap) {
                    if entry.path().is_file() {
                        fs::copy(entry.path(), folder.join(place).join(entry.file_name())).unwrap();
                    }
                }
            }
        }
        for file in kept::remake_index(&full, None, |index| index.with_neighbours(&full)).unwrap() {
            fs::write(full.join(&file.name), &file.bytes).unwrap();
        }
        let page = fs::read_to_string(full.join("index.html")).unwrap();
        assert!(page.contains("<a href=\"../quick/index.html\">quick</a>"), "{page}");
        assert!(Audit::of(parent.path()).unwrap().holds());
        let file = parent.path().join("evidence.tar.gz");
        fs::write(&file, pack(&full, &file).unwrap()).unwrap();
        let checked = verify(&file, &parent.path().join("out")).unwrap();
        assert!(checked.audit.holds(), "{:?}", checked.audit);
    }

    #[test]
    fn a_bundle_that_was_changed_or_leads_out_of_its_folder_is_refused() {
        let elsewhere = tempfile::tempdir().unwrap();
        let file = elsewhere.path().join("evidence.tar.gz");
        let refused = |files: &[(&str, &str)]| {
            let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
            fs::write(&file, archive(&files.collect()).unwrap()).unwrap();
            let out = tempfile::tempdir().unwrap();
            verify(&file, out.path()).err().unwrap().to_string()
        };
        let sum = format!("{}  a\n", Digest::of(b"one"));
        assert!(refused(&[("a", "one")]).contains("'sha256sums' in the bundle is missing"));
        assert!(refused(&[("a", "two"), (SUMS, &sum)]).contains("'a' in the bundle has the SHA-256"));
        assert!(refused(&[(SUMS, &sum)]).contains("'a' in the bundle is missing"));
        assert!(refused(&[("a", "one"), ("b", ""), (SUMS, &sum)]).contains("'b' in the bundle is not named"));
        fs::write(&file, "no archive").unwrap();
        let out = tempfile::tempdir().unwrap();
        assert!(verify(&file, out.path()).err().unwrap().to_string().contains("cannot be unpacked"));
    }
}
