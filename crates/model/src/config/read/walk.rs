//! Walks a parsed file and gathers every mistake on the way, where serde would stop at the first.

use std::{cell::RefCell, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::rules::Rule;
use crate::config::mistake::{Mistake, suggest};

/// For how many unknown keys of a table a near name is looked for: in a file that is something else, that takes seconds.
const SUGGESTED_MAX: usize = 100;

/// Where the mistakes go.
#[derive(Default)]
pub(super) struct Mistakes(RefCell<Vec<Mistake>>);

impl Mistakes {
    pub(super) fn add(&self, span: Range<usize>, message: String, help: impl Into<Option<String>>) {
        self.0.borrow_mut().push(Mistake {
            span,
            message,
            help: help.into(),
        });
    }

    /// Returns them in the order of the file.
    pub(super) fn sorted(self) -> Vec<Mistake> {
        let mut all = self.0.into_inner();
        all.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
        all
    }
}

/// A value of the file, and what to call it.
#[derive(Clone)]
pub(super) struct Value<'a> {
    what: String,
    raw: &'a Spanned<DeValue<'a>>,
    mistakes: &'a Mistakes,
}

impl<'a> Value<'a> {
    /// Says that this value is wrong.
    pub(super) fn refuse(&self, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.mistakes.add(self.raw.span(), message.into(), help);
    }

    fn expected(&self, wanted: &str) {
        let found = match self.raw.get_ref() {
            DeValue::Integer(_) => "an integer".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            other => format!("a {}", other.type_str()),
        };
        self.refuse(format!("{} must be {wanted}, not {found}", self.what), None);
    }

    pub(super) fn what(&self) -> &str {
        &self.what
    }

    pub(super) fn is_text(&self) -> bool {
        self.raw.get_ref().is_str()
    }

    pub(super) fn is_table(&self) -> bool {
        self.raw.get_ref().is_table()
    }

    /// Reads a string that keeps to a rule.
    pub(super) fn read<T>(&self, rule: &Rule<T>) -> Option<T> {
        let Some(text) = self.raw.get_ref().as_str() else {
            self.expected(&format!("a string such as \"{}\"", rule.example));
            return None;
        };
        match (rule.read)(text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.refuse(why, format!("write it like \"{}\"", rule.example));
                None
            }
        }
    }

    /// Reads one of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let names = || words.iter().map(|(name, _)| *name);
        let Some(text) = self.raw.get_ref().as_str() else {
            self.expected(&format!("one of {}", quoted(names())));
            return None;
        };
        let found = words.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            self.refuse(
                format!("{} cannot be `{text}`", self.what),
                suggest(text, names()),
            );
        }
        found.map(|(_, value)| *value)
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.raw.get_ref().as_bool();
        if flag.is_none() {
            self.expected("true or false");
        }
        flag
    }

    /// Reads a whole number within bounds.
    pub(super) fn number(&self, bounds: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let Some(integer) = self.raw.get_ref().as_integer() else {
            self.expected("a number");
            return None;
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| bounds.contains(number));
        if number.is_none() {
            let message = format!(
                "{} must lie between {} and {}",
                self.what,
                bounds.start(),
                bounds.end()
            );
            self.refuse(message, None);
        }
        number
    }

    /// Returns the entries of a list.
    pub(super) fn list(&self, of: &str) -> Option<Vec<Value<'a>>> {
        let Some(entries) = self.raw.get_ref().as_array() else {
            self.expected(&format!("a list of {of}"));
            return None;
        };
        let entry = |raw: &'a Spanned<DeValue<'a>>| Value {
            what: format!("an entry of {}", self.what),
            raw,
            mistakes: self.mistakes,
        };
        Some(entries.iter().map(entry).collect())
    }

    /// Reads a list of strings that keep to a rule, each only once.
    pub(super) fn list_of<T: PartialEq>(&self, of: &str, rule: &Rule<T>) -> Vec<T> {
        let mut read = Vec::new();
        for entry in self.list(of).unwrap_or_default() {
            match entry.read(rule) {
                Some(value) if read.contains(&value) => entry.refuse(
                    format!("{} appears twice", entry.what),
                    "leave one out".to_owned(),
                ),
                Some(value) => read.push(value),
                None => {}
            }
        }
        read
    }

    pub(super) fn table(&self) -> Option<Table<'a>> {
        match self.raw.get_ref() {
            DeValue::Table(table) => Some(Table::new(
                self.what.clone(),
                self.raw.span(),
                table,
                self.mistakes,
            )),
            _ => {
                self.expected("a table");
                None
            }
        }
    }
}

#[cfg(test)]
thread_local! {
    static ASKED: RefCell<Vec<(String, Vec<&'static str>)>> = const { RefCell::new(Vec::new()) };
}

/// Returns which keys were asked for on this thread, by the name of their table.
#[cfg(test)]
pub(in crate::config) fn asked_keys() -> Vec<(String, Vec<&'static str>)> {
    ASKED.take()
}

/// A table of the file, of which keys are asked for one after the other. What was never asked for is a mistake.
pub(super) struct Table<'a> {
    what: String,
    span: Range<usize>,
    /// In the order of the file.
    entries: Vec<(&'a str, Range<usize>, &'a Spanned<DeValue<'a>>)>,
    asked: Vec<&'static str>,
    mistakes: &'a Mistakes,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        what: String,
        span: Range<usize>,
        table: &'a DeTable<'a>,
        mistakes: &'a Mistakes,
    ) -> Self {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
            .collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        Self {
            what,
            span,
            entries,
            asked: Vec::new(),
            mistakes,
        }
    }

    fn value(&self, key: &str, raw: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        Value {
            what: format!("`{key}`"),
            raw,
            mistakes: self.mistakes,
        }
    }

    /// Returns the value of a key that may be left out.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        let (_, _, raw) = self.entries.iter().find(|(name, ..)| *name == key)?;
        Some(self.value(key, raw))
    }

    /// Returns the value of a key that must be there.
    pub(super) fn need(&mut self, key: &'static str, example: &str) -> Option<Value<'a>> {
        let value = self.take(key);
        if value.is_none() {
            self.refuse(
                format!("{} has no `{key}`", self.what),
                format!("add `{key} = {example}`"),
            );
        }
        value
    }

    /// Says that something about the whole table is wrong.
    pub(super) fn refuse(&self, message: impl Into<String>, help: impl Into<Option<String>>) {
        self.mistakes.add(self.span.clone(), message.into(), help);
    }

    /// Points mistakes about the whole table at its name instead.
    pub(super) fn called(mut self, what: String, span: Range<usize>) -> Self {
        self.what = what;
        self.span = span;
        self
    }

    /// Ends the reading: every key that was not asked for is a mistake.
    pub(super) fn finish(self) {
        #[cfg(test)]
        ASKED.with_borrow_mut(|all| all.push((self.what.clone(), self.asked.clone())));
        let unknown = self.entries.iter().filter(|(key, ..)| !self.asked.contains(key));
        for (index, (key, span, _)) in unknown.enumerate() {
            let help = (index < SUGGESTED_MAX).then(|| suggest(key, self.asked.iter().copied()));
            self.mistakes
                .add(span.clone(), format!("{} has no key `{key}`", self.what), help);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns all entries of a table whose keys are names that the user chose. A name that breaks the rule is a mistake.
    pub(super) fn named<T>(&self, rule: &Rule<T>) -> Vec<(T, Range<usize>, Value<'a>)> {
        let mut named = Vec::new();
        for (key, span, raw) in &self.entries {
            match (rule.read)(key) {
                Ok(name) => named.push((name, span.clone(), self.value(key, raw))),
                Err(why) => self
                    .mistakes
                    .add(span.clone(), why, format!("write it like `{}`", rule.example)),
            }
        }
        named
    }
}

fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words
        .map(|word| format!("\"{word}\""))
        .collect::<Vec<_>>()
        .join(", ")
}
