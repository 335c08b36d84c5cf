//! Fetches of a small set from sources that deliver, lie, break and fill the disk.

use tempfile::TempDir;

use super::*;
use crate::data::intake::fake::Notes;
use crate::dataset::pin::{self, Spec};

const FILES: [(&str, &[u8]); 2] = [("one", b"content of one"), ("two", b"content of two")];

/// Offers what it is made of, then ends as told.
struct Shelf {
    files: Vec<(&'static str, &'static [u8])>,
    end: fn() -> Result<(), SourceError>,
}

impl Source for Shelf {
    fn describe(&self) -> String {
        format!("a shelf of {}", self.files.len())
    }

    fn supply(&self, intake: &mut Intake<'_>) -> Result<(), SourceError> {
        for (file, content) in &self.files {
            intake.offer(file, &mut &content[..])?;
        }
        (self.end)()
    }
}

fn shelf(files: &[(&'static str, &'static [u8])]) -> Box<dyn Source> {
    Box::new(Shelf { files: files.to_vec(), end: || Ok(()) })
}

fn broken(end: fn() -> Result<(), SourceError>) -> Box<dyn Source> {
    Box::new(Shelf { files: Vec::new(), end })
}

/// A cache root, and fetches into it.
struct Cache(TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn spec() -> Spec {
        pin::fake::spec("set", &FILES)
    }

    fn fetch(&self, sources: &[Box<dyn Source>]) -> (Result<Fetched, FetchError>, Vec<String>) {
        let mut notes = Notes::default();
        let fetched = Fetch { spec: Self::spec(), root: self.0.path() }.run(sources, &mut notes);
        (fetched, notes.notes)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// All that is in the root, but for the lock.
    fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != ".set.lock").collect();
        names.sort();
        names
    }

    fn holds_the_set(&self) -> bool {
        FILES.iter().all(|(file, content)| fs::read(self.path("set").join(file)).unwrap() == *content)
    }
}

#[test]
fn a_set_is_fetched_once_and_verified_ever_after() {
    let cache = Cache::new();
    let fetched = cache.fetch(&[shelf(&FILES)]).0.unwrap();
    let sources = vec!["a shelf of 2".to_owned()];
    assert_eq!(fetched, Fetched { folder: cache.path("set"), sources, set_aside: None });
    assert!(cache.holds_the_set());
    assert_eq!(cache.entries(), ["set"]);
    let again = cache.fetch(&[]).0.unwrap();
    assert_eq!(again, Fetched { sources: vec![], ..fetched });
}

#[test]
fn the_entry_can_be_read_by_others_although_temporary_folders_cannot() {
    use std::os::unix::fs::PermissionsExt as _;
    let cache = Cache::new();
    cache.fetch(&[shelf(&FILES)]).0.unwrap();
    fs::create_dir(cache.path("plain")).unwrap();
    let mode = |path| fs::metadata(cache.path(path)).unwrap().permissions().mode();
    assert_eq!(mode("set"), mode("plain"));
}

#[test]
fn files_of_one_set_may_come_from_several_sources() {
    let cache = Cache::new();
    let (fetched, notes) = cache.fetch(&[shelf(&FILES[1..]), shelf(&[]), shelf(&FILES)]);
    assert_eq!(fetched.unwrap().sources, ["a shelf of 1", "a shelf of 2"]);
    assert!(notes.contains(&"a shelf of 1: does not hold 'one'".to_owned()), "{notes:?}");
    assert!(cache.holds_the_set());
}

#[test]
fn a_source_with_wrong_content_is_noted_and_the_next_one_asked() {
    let cache = Cache::new();
    let (fetched, notes) = cache.fetch(&[shelf(&[("one", b"content of 1ne")]), shelf(&FILES)]);
    assert_eq!(fetched.unwrap().sources, ["a shelf of 2"]);
    assert!(notes.iter().any(|note| note.starts_with("a shelf of 1: 'one' has SHA-256")), "{notes:?}");
    assert!(cache.holds_the_set());
}

#[test]
fn when_all_sources_fail_the_error_says_why_each_did_and_what_to_do() {
    let cache = Cache::new();
    let no_network = broken(|| Err(SourceError::Refused("no network".to_owned())));
    let error = cache.fetch(&[shelf(&FILES[..1]), no_network]).0.unwrap_err().to_string();
    let expected = "no source has the whole data set 'set':\n  \
        a shelf of 1: does not hold 'two'\n  \
        a shelf of 0: no network\n\
        put 'two' (raw or .gz) in a folder, or in a .tar.gz, and run `pinbench data fetch set --from PATH`";
    assert_eq!(error, expected);
    assert_eq!(cache.entries(), [""; 0]);
}

#[test]
fn a_full_disk_ends_the_fetch_with_the_bytes_it_needs() {
    let cache = Cache::new();
    let full = broken(|| {
        Err(SourceError::Cache { path: "/cache/one".into(), error: io::ErrorKind::StorageFull.into() })
    });
    let error = cache.fetch(&[full, shelf(&FILES)]).0.unwrap_err().to_string();
    let expected = format!("no space left at '{}': 'set' needs about 56 B", cache.0.path().display());
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.ends_with("run `pinbench data fetch set`"), "{error}");
    assert_eq!(cache.entries(), [""; 0]);
}

#[test]
fn a_damaged_entry_is_set_aside_and_fetched_anew() {
    let cache = Cache::new();
    for n in 1..=2 {
        cache.fetch(&[shelf(&FILES)]).0.unwrap();
        fs::write(cache.path("set/two"), b"content of 2wo").unwrap();
        let (fetched, notes) = cache.fetch(&[shelf(&FILES)]);
        let aside = cache.path(&format!("set.bad-{n}"));
        assert_eq!(fetched.unwrap().set_aside, Some(aside.clone()));
        assert_eq!(fs::read(aside.join("two")).unwrap(), b"content of 2wo");
        assert!(notes[0].starts_with("'two' has SHA-256") && notes[0].contains("set.bad-"), "{notes:?}");
        assert!(cache.holds_the_set());
    }
}

#[test]
fn an_entry_that_lacks_a_file_or_is_no_folder_is_set_aside_too() {
    let cache = Cache::new();
    fs::write(cache.path("set"), b"not a folder").unwrap();
    cache.fetch(&[shelf(&FILES)]).0.unwrap();
    fs::remove_file(cache.path("set/one")).unwrap();
    cache.fetch(&[shelf(&FILES)]).0.unwrap();
    assert_eq!(cache.entries(), ["set", "set.bad-1", "set.bad-2"]);
    assert!(cache.holds_the_set());
}

#[test]
fn what_a_killed_fetch_left_behind_is_removed_and_never_read() {
    let cache = Cache::new();
    fs::create_dir_all(cache.path(".set.tmp-killed/staging")).unwrap();
    fs::write(cache.path(".set.tmp-killed/staging/one"), b"half").unwrap();
    fs::create_dir_all(cache.path(".set.parts")).unwrap();
    fs::create_dir_all(cache.path(".other.tmp-alive")).unwrap();
    cache.fetch(&[shelf(&FILES)]).0.unwrap();
    assert_eq!(cache.entries(), [".other.tmp-alive", "set"]);
}

#[test]
fn two_fetches_of_one_set_wait_for_each_other() {
    let cache = Cache::new();
    let lock = File::create(cache.path(".set.lock")).unwrap();
    lock.lock().unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| cache.fetch(&[shelf(&FILES)]));
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!cache.path("set").exists());
        drop(lock);
        let (fetched, notes) = second.join().unwrap();
        fetched.unwrap();
        assert_eq!(notes[0], "another process is fetching 'set'; waiting for it");
    });
}

#[test]
fn a_root_that_cannot_be_made_is_an_error_with_its_path_and_the_way_out() {
    let cache = Cache::new();
    fs::write(cache.path("file"), b"").unwrap();
    let mut notes = Notes::default();
    let root = cache.path("file/root");
    let error = Fetch { spec: Cache::spec(), root: &root }.run(&[], &mut notes).unwrap_err().to_string();
    assert!(error.starts_with("cannot create '") && error.contains("PINBENCH_DATA"), "{error}");
}
