//! A disk in memory that can lose power, fill up or stop taking writes after any operation.
//!
//! It keeps what is there *now* apart from what is *durable*, and is as unkind as a file system may be: after
//! [`SimulatedDisk::power_loss`] each change of names that was not synced has happened or not, by lot and in
//! any combination (a rename as one); each file that was not synced is torn.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::record::storage::{Attempt, Lock, Storage};

/// Clones are the same disk.
#[derive(Clone)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Clone)]
struct State {
    /// By number; 0 is `/`.
    nodes: Vec<Node>,
    /// Changes of names that are not durable yet, oldest first.
    pending: Vec<Change>,
    /// Numbers of locked files.
    locked: BTreeSet<usize>,
    operations: usize,
    failure: Option<(usize, Failure)>,
}

#[derive(Clone)]
enum Node {
    File { now: Vec<u8>, synced: bool },
    Folder { now: Names, durable: Names },
}

type Names = BTreeMap<String, usize>;

/// Names that come and go together: folder, name, the node it stands for from now on.
type Change = Vec<(usize, String, Option<usize>)>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// The process is gone: nothing it tries has an effect.
    Stopped,
    /// Nothing new fits; removing and moving work.
    Full,
    /// Nothing changes any more.
    ReadOnly,
    /// The same, for want of a right.
    Denied,
}

#[derive(PartialEq, Eq)]
enum Effect {
    Look,
    /// Needs space.
    Grow,
    Change,
}

impl SimulatedDisk {
    pub(super) fn new() -> Self {
        let root = Node::Folder { now: Names::new(), durable: Names::new() };
        Self::with(State {
            nodes: vec![root],
            pending: Vec::new(),
            locked: BTreeSet::new(),
            operations: 0,
            failure: None,
        })
    }

    fn with(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Operations so far that had an effect.
    pub(super) fn operations(&self) -> usize {
        self.state().operations
    }

    /// From so many operations on, `failure` happens to each.
    pub(super) fn fail_after(&self, operations: usize, failure: Failure) {
        self.state().failure = Some((operations, failure));
    }

    pub(super) fn heal(&self) {
        self.state().failure = None;
    }

    /// The disk as another process finds it after this one was killed.
    pub(super) fn killed(&self) -> Self {
        let mut state = self.state().clone();
        state.locked.clear();
        state.failure = None;
        Self::with(state)
    }

    /// The disk after the power came back; `seed` decides what of the unsynced survived.
    pub(super) fn power_loss(&self, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut state = self.state().clone();
        for change in std::mem::take(&mut state.pending) {
            if random.next_u32() % 2 == 0 {
                state.make_durable(&change);
            }
        }
        for node in &mut state.nodes {
            match node {
                Node::Folder { now, durable } => now.clone_from(durable),
                Node::File { now, synced: false } => tear(now, &mut random),
                Node::File { .. } => {}
            }
        }
        Self::with(state).killed()
    }
}

/// Cut short, full of zeros, or both.
fn tear(content: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    let mut part = |length: usize| (random.next_u64() % (length as u64 + 1)) as usize;
    content.truncate(part(content.len()));
    let kept = part(content.len());
    content[kept..].fill(0);
}

impl State {
    fn operate(&mut self, effect: Effect) -> io::Result<()> {
        if let Some((after, failure)) = self.failure
            && self.operations >= after
        {
            match failure {
                Failure::Stopped => return Err(io::Error::other("stopped")),
                Failure::Full if effect == Effect::Grow => return Err(io::ErrorKind::StorageFull.into()),
                Failure::ReadOnly if effect != Effect::Look => {
                    return Err(io::ErrorKind::ReadOnlyFilesystem.into());
                }
                Failure::Denied if effect != Effect::Look => {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                _ => {}
            }
        }
        self.operations += usize::from(effect != Effect::Look);
        Ok(())
    }

    fn names(&mut self, folder: usize) -> io::Result<&mut Names> {
        match &mut self.nodes[folder] {
            Node::Folder { now, .. } => Ok(now),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn find(&mut self, path: &Path) -> io::Result<usize> {
        let mut node = 0;
        for component in path.components() {
            if let Component::Normal(name) = component {
                let name = name.to_str().unwrap();
                node = *self.names(node)?.get(name).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(node)
    }

    fn place(&mut self, path: &Path) -> io::Result<(usize, String)> {
        let folder = self.find(path.parent().unwrap())?;
        Ok((folder, path.file_name().unwrap().to_str().unwrap().to_owned()))
    }

    fn create(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let (folder, name) = self.place(path)?;
        if self.names(folder)?.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.operate(Effect::Grow)?;
        self.nodes.push(node);
        let created = self.nodes.len() - 1;
        self.change(vec![(folder, name, Some(created))])?;
        Ok(created)
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        for (folder, name, node) in &change {
            set(self.names(*folder)?, name, *node);
        }
        self.pending.push(change);
        Ok(())
    }

    fn make_durable(&mut self, change: &Change) {
        for (folder, name, node) in change {
            if let Node::Folder { durable, .. } = &mut self.nodes[*folder] {
                set(durable, name, *node);
            }
        }
    }

    fn write(&mut self, file: usize, bytes: &[u8]) -> io::Result<()> {
        self.operate(Effect::Grow)?;
        if let Node::File { now, .. } = &mut self.nodes[file] {
            now.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Space may turn out to be missing only now: file systems allocate late.
    fn sync_file(&mut self, file: usize) -> io::Result<()> {
        self.operate(Effect::Grow)?;
        if let Node::File { synced, .. } = &mut self.nodes[file] {
            *synced = true;
        }
        Ok(())
    }

    fn content(&self, file: usize) -> io::Result<Vec<u8>> {
        match &self.nodes[file] {
            Node::File { now, .. } => Ok(now.clone()),
            Node::Folder { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (node, (folder, name)) = (self.find(path)?, self.place(path)?);
        let inside: Vec<_> = self.names(node).map_or(Vec::new(), |names| names.keys().cloned().collect());
        for child in inside {
            self.remove(&path.join(child))?;
        }
        self.operate(Effect::Change)?;
        self.change(vec![(folder, name, None)])
    }
}

/// What a sync of `folder` makes durable and what it leaves: a rename by the sync of the folder it goes to.
///
/// With a change go the earlier ones of the same names: undone later than it was done, an old name would come
/// back beside the new one.
fn split_off(pending: Vec<Change>, folder: usize) -> (Vec<Change>, Vec<Change>) {
    let (mut durable, mut left, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for change in pending.into_iter().rev() {
        let touched: Vec<_> = change.iter().map(|(folder, name, _)| (*folder, name.clone())).collect();
        // The last name of a rename is the new one.
        let synced = change.last().is_some_and(|(changed, ..)| *changed == folder);
        if synced || touched.iter().any(|name| names.contains(name)) {
            names.extend(touched);
            durable.insert(0, change);
        } else {
            left.insert(0, change);
        }
    }
    (durable, left)
}

fn set(names: &mut Names, name: &str, node: Option<usize>) {
    match node {
        Some(node) => names.insert(name.to_owned(), node),
        None => names.remove(name),
    };
}

impl Storage for SimulatedDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let folder = Node::Folder { now: Names::new(), durable: Names::new() };
        self.state().create(path, folder).map(drop)
    }

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let file = state.create(path, Node::File { now: Vec::new(), synced: false })?;
        let (first, second) = bytes.split_at(bytes.len() / 2);
        state.write(file, first)?;
        state.write(file, second)?;
        state.sync_file(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (node, (folder, name)) = (state.find(from)?, state.place(from)?);
        let (new_folder, new_name) = state.place(to)?;
        if let Ok(target) = state.find(to)
            && state.names(target).is_ok_and(|names| !names.is_empty())
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.operate(Effect::Change)?;
        state.change(vec![(folder, name, None), (new_folder, new_name, Some(node))])
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let folder = state.find(path)?;
        state.operate(Effect::Change)?;
        let (durable, pending) = split_off(std::mem::take(&mut state.pending), folder);
        state.pending = pending;
        durable.iter().for_each(|change| state.make_durable(change));
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.operate(Effect::Look)?;
        let file = state.find(path)?;
        state.content(file)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.operate(Effect::Look)?;
        let folder = state.find(path)?;
        Ok(state.names(folder)?.keys().cloned().collect())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.state().remove(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.state().remove(path)
    }

    fn try_lock(&self, path: &Path, note: &[u8]) -> io::Result<Attempt> {
        let mut state = self.state();
        let file = match state.find(path) {
            Ok(file) => file,
            Err(_) => state.create(path, Node::File { now: Vec::new(), synced: false })?,
        };
        if state.locked.contains(&file) {
            return state.content(file).map(Attempt::Busy);
        }
        state.write(file, note)?;
        state.locked.insert(file);
        Ok(Attempt::Taken(Lock::new(Guard { disk: self.clone(), file })))
    }

    fn lock_note(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.state();
        state.operate(Effect::Look)?;
        match state.find(path) {
            Ok(file) if state.locked.contains(&file) => state.content(file).map(Some),
            _ => Ok(None),
        }
    }
}

struct Guard {
    disk: SimulatedDisk,
    file: usize,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with_a_file() -> SimulatedDisk {
        let disk = SimulatedDisk::new();
        disk.create_dir(Path::new("/a")).unwrap();
        disk.write_new(Path::new("/a/file"), b"content").unwrap();
        disk
    }

    #[test]
    fn names_that_were_not_synced_may_be_lost_and_synced_ones_are_not() {
        let disk = disk_with_a_file();
        let lost = (0..50).filter(|&seed| disk.power_loss(seed).list(Path::new("/a")).is_err()).count();
        assert!(0 < lost && lost < 50, "{lost} of 50");
        disk.sync_dir(Path::new("/a")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        for seed in 0..50 {
            assert_eq!(disk.power_loss(seed).read(Path::new("/a/file")).unwrap(), b"content");
        }
    }

    #[test]
    fn a_file_whose_sync_was_cut_off_is_torn() {
        let disk = disk_with_a_file();
        let begun = disk.operations();
        disk.fail_after(begun + 3, Failure::Stopped);
        disk.write_new(Path::new("/a/second"), &[7; 100]).unwrap_err();
        disk.heal();
        disk.sync_dir(Path::new("/a")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let torn = |&seed: &u64| disk.power_loss(seed).read(Path::new("/a/second")).unwrap() != [7; 100];
        assert!((0..50).filter(torn).count() > 25);
    }

    #[test]
    fn a_rename_happens_as_one() {
        let disk = disk_with_a_file();
        disk.sync_dir(Path::new("/a")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.rename(Path::new("/a/file"), Path::new("/moved")).unwrap();
        for seed in 0..50 {
            let disk = disk.power_loss(seed);
            let there = [Path::new("/a/file"), Path::new("/moved")].map(|path| disk.read(path).is_ok());
            assert_eq!(there.iter().filter(|&&there| there).count(), 1);
        }
    }
}
