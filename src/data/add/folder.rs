//! Class folders: a folder a class, in it a file a picture.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::data::add::picture::{Picture, Size};
use crate::data::add::{AddError, Broken, Read, Watch};

pub(super) const FORMAT: &str = "class folders";

/// A file in a class folder.
struct Candidate {
    /// Its path below the user's folder, with `/` between the parts.
    name: String,
    path: PathBuf,
    label: u16,
    bytes: u64,
}

/// What came of a file.
enum Outcome {
    Picture(Picture),
    /// It has another size than the first picture, where all must have one.
    Odd(String, Size),
    Broken(Broken),
}

/// Reads the pictures of `folder` in the order of their classes' names, then of their own. Those of a test part have the
/// `classes` of the training part.
pub(super) fn read(
    folder: &Path,
    classes: Option<&[String]>,
    size: Option<Size>,
    watch: &mut Watch<'_>,
) -> Result<Read, AddError> {
    let (own, files, mut broken) = list(folder, classes)?;
    let first = match size {
        Some(_) => None,
        None => files.iter().find_map(|file| match outcome(file, None, None) {
            Outcome::Picture(picture) => Some((file.name.clone(), picture.size)),
            _ => None,
        }),
    };
    let fits = first.as_ref().map(|(_, size)| *size);
    let outcomes = decode(&files, size, fits, watch)?;
    let (mut pictures, mut odd) = (Vec::with_capacity(files.len()), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Picture(picture) => pictures.push(picture),
            Outcome::Odd(name, size) => odd.push((name, size)),
            Outcome::Broken(file) => broken.push(file),
        }
    }
    match (first, odd.first()) {
        (Some(first), Some(other)) => {
            Err(AddError::Sizes { first, other: other.clone(), count: odd.len(), of: files.len() })
        }
        _ => {
            let classes = classes.map_or(own, <[String]>::to_vec);
            Ok(Read { format: FORMAT, classes: Some(classes), pictures, test: None, broken })
        }
    }
}

/// Classes, files in their order, and what lies beside class folders.
type Listed = (Vec<String>, Vec<Candidate>, Vec<Broken>);

fn list(folder: &Path, classes: Option<&[String]>) -> Result<Listed, AddError> {
    let (mut own, mut files, mut stray) = (Vec::new(), Vec::new(), Vec::new());
    let entries = entries(folder)?;
    let folders: Vec<&DirEntry> = entries.iter().filter(|entry| entry.path().is_dir()).collect();
    if folders.is_empty() {
        return Err(AddError::Nothing(folder.to_owned()));
    }
    for entry in entries.iter().filter(|entry| !entry.path().is_dir()) {
        let (name, reason) = (name_of(entry), "lies in no class folder".to_owned());
        stray.push(Broken { name, reason });
    }
    for class in folders {
        let name = name_of(class);
        let known =
            classes.map_or(Some(own.len()), |classes| classes.iter().position(|class| *class == name));
        let Some(label) = known else {
            return Err(AddError::OtherClass { class: name, folder: folder.to_owned() });
        };
        // Below MAX_CLASSES, which is checked before anything is decoded.
        files.extend(candidates(&class.path(), &name, label.min(u16::MAX.into()) as u16)?);
        own.push(name);
    }
    if classes.is_none() {
        super::check_classes(own.len(), folder)?;
    }
    Ok((own, files, stray))
}

fn candidates(folder: &Path, class: &str, label: u16) -> Result<Vec<Candidate>, AddError> {
    let mut files = Vec::new();
    for entry in entries(folder)? {
        let (path, file) = (entry.path(), name_of(&entry));
        if path.is_dir() {
            return Err(AddError::Nested { class: class.to_owned(), folder: path });
        }
        let bytes = fs::metadata(&path).map_or(0, |file| file.len());
        files.push(Candidate { name: format!("{class}/{file}"), path, label, bytes });
    }
    Ok(files)
}

/// What is in a folder by name, whatever order the file system has; hidden files are none of the user's.
fn entries(folder: &Path) -> Result<Vec<DirEntry>, AddError> {
    let failed = |source| AddError::Read { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let mut entries: Vec<DirEntry> =
        entries.into_iter().filter(|entry| !name_of(entry).starts_with('.')).collect();
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

fn name_of(entry: &DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

fn outcome(file: &Candidate, size: Option<Size>, fits: Option<Size>) -> Outcome {
    let broken = |reason| Outcome::Broken(Broken { name: file.name.clone(), reason });
    // A pipe would be waited for.
    if fs::metadata(&file.path).is_ok_and(|found| !found.is_file()) {
        return broken("is no file".to_owned());
    }
    let bytes = match fs::read(&file.path) {
        Ok(bytes) => bytes,
        Err(error) => return broken(error.to_string()),
    };
    match Picture::decode(file.name.clone(), file.label, &bytes) {
        Err(reason) => broken(reason),
        Ok(picture) => match (size, fits) {
            (Some(size), _) => Outcome::Picture(picture.resized(size)),
            (None, Some(fits)) if picture.size != fits => Outcome::Odd(picture.name, picture.size),
            _ => Outcome::Picture(picture),
        },
    }
}

/// Decodes on all cores; the order is that of `files`.
fn decode(
    files: &[Candidate],
    size: Option<Size>,
    fits: Option<Size>,
    watch: &mut Watch<'_>,
) -> Result<Vec<Outcome>, AddError> {
    let total = files.iter().map(|file| file.bytes).sum();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut outcomes: Vec<Option<Outcome>> = Vec::new();
    outcomes.resize_with(files.len(), || None);
    thread::scope(|scope| {
        let (sender, made) = mpsc::sync_channel(64);
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(index) else { break };
                    if sender.send((index, outcome(file, size, fits))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut done = 0;
        for (index, outcome) in made {
            done += files[index].bytes;
            outcomes[index] = Some(outcome);
            watch.observer.progress("pictures", done, Some(total));
            if (watch.is_stopped)() {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    // All are there unless it was stopped.
    outcomes.into_iter().collect::<Option<Vec<_>>>().ok_or(AddError::Interrupted)
}
