//! Reads lists row by row, and fields that may be null. Keeps out: what they mean.

use model::tags::OURS;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// The most pages of one list that are read.
pub(crate) const PAGES_MAX: u32 = 200;

/// Says that a list has no end.
pub(crate) fn endless() -> String {
    format!("its list has more than {PAGES_MAX} pages")
}

/// Reads the rows of a list. A row of somebody else's that makes no sense is left out. One that names our tag fails the
/// list: what is ours and cannot be read must not count as gone.
pub(crate) fn rows<T: DeserializeOwned>(rows: &[Value]) -> Result<Vec<T>, String> {
    let read = |row: &Value| match T::deserialize(row) {
        Ok(row) => Some(Ok(row)),
        Err(error) if row.to_string().contains(OURS) => Some(Err(error.to_string())),
        Err(_) => None,
    };
    rows.iter().filter_map(read).collect()
}

/// Reads a field whose null is its default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    field: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(field)?.unwrap_or_default())
}

/// Reads a state, whose null is one that nobody knows.
pub(crate) fn or_unknown<'de, D: Deserializer<'de>>(field: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(field)?.unwrap_or_else(unknown))
}

/// The state of a thing that does not tell any.
pub(crate) fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn odd_row_is_left_out_unless_it_may_be_ours() {
        let odd = json!({"id": null, "name": "eve's"});
        let good = json!({"id": 1, "name": "eve's"});
        #[derive(serde::Deserialize)]
        struct Row {
            id: u64,
        }
        let read = rows::<Row>(&[odd.clone(), good.clone()]).unwrap();
        assert_eq!(read.iter().map(|row| row.id).collect::<Vec<_>>(), [1]);
        let ours = json!({"id": null, "name": format!("{OURS}_lbox-1")});
        assert!(rows::<Row>(&[odd, ours, good]).is_err());
    }
}
