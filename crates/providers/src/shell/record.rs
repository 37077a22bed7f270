//! What is kept of each box that an adapter was asked for: in `boxes/<label>/adapter-<name>` of the state directory.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    name::{Label, ProviderName, RunId},
    order::Order,
};
use serde::{Deserialize, Serialize};

use crate::local::{BoxDir, LocalError};

/// Before the adapter's name in the name of a directory.
const PREFIX: &str = "adapter-";

/// One box that was asked for. Written before `provider_up` begins, so that nothing it makes is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The form of this file.
    pub(crate) version: u32,
    /// The box's name.
    pub(crate) label: Label,
    /// The adapter: so that the box can be destroyed from any directory.
    pub(crate) file: Utf8PathBuf,
    /// Whom the box was made for.
    pub(crate) run: RunId,
    pub(crate) region: String,
    pub(crate) instance_type: String,
    pub(crate) state: State,
}

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// `provider_up` was begun, and gave no address that could be used.
    Asked,
    /// It gave an address.
    Up {
        /// Which.
        address: IpAddr,
    },
    /// It gave none, and `provider_down` has succeeded once since.
    Cleared {
        /// When it did, in seconds of Unix time.
        since: u64,
    },
}

impl Record {
    /// Makes the record of an order that is about to be carried out.
    pub(crate) fn new(file: &Utf8Path, order: &Order) -> Self {
        Self {
            version: 1,
            label: order.tags.label.clone(),
            file: file.to_owned(),
            run: order.tags.run.clone(),
            region: order.candidate.region.clone(),
            instance_type: order.candidate.instance_type.clone(),
            state: State::Asked,
        }
    }

    /// Returns what is kept of a box; none where nothing was written yet.
    pub(crate) fn of(directory: &BoxDir) -> Result<Option<Self>, LocalError> {
        let file = directory.file("box.json");
        match std::fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LocalError::system(format!("read {file}"), error)),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| LocalError::system(format!("understand {file}"), error)),
        }
    }
}

/// Returns the name of the directory of an adapter's boxes.
pub(crate) fn directory(name: &ProviderName) -> String {
    format!("{PREFIX}{name}")
}

/// Returns the labels of the boxes that an adapter was asked for.
pub(crate) fn labels(state_dir: &Utf8Path, name: &ProviderName) -> Result<Vec<Label>, LocalError> {
    let boxes = state_dir.join("boxes");
    let entries = match boxes.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LocalError::system(format!("list {boxes}"), error)),
    };
    let mut labels: Vec<Label> = entries
        .filter_map(|entry| Label::new(entry.ok()?.file_name()).ok())
        .filter(|label| BoxDir::named(state_dir, label, &directory(name)).is_there())
        .collect();
    labels.sort();
    Ok(labels)
}

/// Returns the adapters of which a box may be left, with their files: they may be of another project than this one.
pub fn recorded(state_dir: &Utf8Path) -> BTreeMap<ProviderName, Utf8PathBuf> {
    let of_box = |path: Utf8PathBuf| path.read_dir_utf8().into_iter().flatten().flatten();
    let boxes = state_dir.join("boxes").read_dir_utf8().into_iter().flatten();
    boxes
        .flatten()
        .flat_map(|entry| of_box(entry.path().to_owned()))
        .filter_map(|entry| {
            let name = ProviderName::new(entry.file_name().strip_prefix(PREFIX)?).ok()?;
            let bytes = std::fs::read(entry.path().join("box.json")).ok()?;
            let record: Record = serde_json::from_slice(&bytes).ok()?;
            Some((name, record.file))
        })
        .collect()
}

/// Returns the moment in seconds of Unix time.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
