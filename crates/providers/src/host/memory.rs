//! Which box is on which machine: one small file for each, on the disk before anything is sent.

use std::{fs, io, io::Write as _};

use camino::Utf8PathBuf;
use model::{
    host::Address,
    name::{Label, RunId},
};

use super::error::HostError;

/// What is remembered of one box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) address: Address,
    pub(crate) run: RunId,
}

impl Remembered {
    pub(crate) fn new(address: &Address, run: &RunId) -> Self {
        Self {
            address: address.clone(),
            run: run.clone(),
        }
    }
}

/// The directory of these files.
#[derive(Debug)]
pub(crate) struct Memory {
    dir: Utf8PathBuf,
}

impl Memory {
    pub(crate) fn new(state_dir: Utf8PathBuf) -> Self {
        let state_dir = camino::absolute_utf8(&state_dir).unwrap_or(state_dir);
        Self {
            dir: state_dir.join("hosts"),
        }
    }

    fn file(&self, label: &Label) -> Utf8PathBuf {
        self.dir.join(label.as_str())
    }

    /// Writes it down; it is on the disk when this returns.
    pub(crate) fn put(&self, label: &Label, remembered: &Remembered) -> Result<(), HostError> {
        let file = self.file(label);
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.dir)?;
            let mut new = tempfile::Builder::new().prefix(".").tempfile_in(&self.dir)?;
            write!(new, "{}\n{}\n", remembered.address, remembered.run)?;
            new.as_file().sync_all()?;
            new.persist(&file)?;
            fs::File::open(&self.dir)?.sync_all()
        };
        write().map_err(|error| failure("write", &file, &error))
    }

    pub(crate) fn get(&self, label: &Label) -> Result<Option<Remembered>, HostError> {
        let file = self.file(label);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failure("read", &file, &error)),
        };
        let mut lines = text.lines();
        let address = lines.next().and_then(|line| line.parse().ok());
        let run = lines.next().and_then(|line| RunId::new(line).ok());
        match (address, run) {
            (Some(address), Some(run)) => Ok(Some(Remembered { address, run })),
            // It says that there may be a box, and not where: nothing may be taken for gone.
            _ => Err(
                HostError::invalid(format!("{file} does not say on which machine box {label} is")).with_help(
                    format!("write its address and its run into {file}, each on a line of its own"),
                ),
            ),
        }
    }

    /// Returns all of them, by label.
    pub(crate) fn all(&self) -> Result<Vec<(Label, Remembered)>, HostError> {
        let entries = match self.dir.read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failure("list", &self.dir, &error)),
        };
        let mut labels: Vec<Label> = entries
            .filter_map(|entry| Label::new(entry.ok()?.file_name()).ok())
            .collect();
        labels.sort();
        let mut all = Vec::new();
        for label in labels {
            if let Some(remembered) = self.get(&label)? {
                all.push((label, remembered));
            }
        }
        Ok(all)
    }

    pub(crate) fn forget(&self, label: &Label) -> Result<(), HostError> {
        let file = self.file(label);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failure("delete", &file, &error)),
            _ => Ok(()),
        }
    }

    /// Forgets those of which that is so.
    pub(crate) fn forget_if(&self, is_gone: impl Fn(&Label, &Remembered) -> bool) -> Result<(), HostError> {
        for (label, remembered) in self.all()? {
            if is_gone(&label, &remembered) {
                self.forget(&label)?;
            }
        }
        Ok(())
    }
}

fn failure(verb: &str, path: &camino::Utf8Path, error: &io::Error) -> HostError {
    HostError::invalid(format!("cannot {verb} {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_outlives_the_process() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        let memory = Memory::new(dir.clone());
        let label = |text: &str| Label::new(text).unwrap();
        let remembered = Remembered::new(&"eve@desk:22".parse().unwrap(), &RunId::new("r1").unwrap());
        assert_eq!(memory.all(), Ok(Vec::new()));
        memory.put(&label("m1"), &remembered).unwrap();
        memory.put(&label("m2"), &remembered).unwrap();
        let again = Memory::new(dir);
        assert_eq!(again.get(&label("m1")), Ok(Some(remembered)));
        again.forget_if(|label, _| label.as_str() == "m1").unwrap();
        assert_eq!(again.get(&label("m1")), Ok(None));
        assert_eq!(again.all().unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_no_box() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        fs::create_dir(dir.join("hosts")).unwrap();
        fs::write(dir.join("hosts/m1"), "").unwrap();
        assert!(Memory::new(dir).get(&Label::new("m1").unwrap()).is_err());
    }
}
