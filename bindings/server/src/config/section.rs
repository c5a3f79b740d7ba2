//! Walking a TOML document: which keys were taken, where each stood, and what was refused.

use std::cell::RefCell;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::Read;

/// Something in the file that cannot be had, and where.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Refusal {
    /// Byte offset in the file.
    pub(crate) at: usize,
    /// The key and what is wrong with it.
    pub(crate) text: String,
}

/// All refusals of a file.
#[derive(Debug, Default)]
pub(crate) struct Refusals(RefCell<Vec<Refusal>>);

impl Refusals {
    pub(crate) fn push(&self, at: usize, text: String) {
        self.0.borrow_mut().push(Refusal { at, text });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// In the order of the file.
    pub(crate) fn into_sorted(self) -> Vec<Refusal> {
        let mut refusals = self.0.into_inner();
        refusals.sort();
        refusals
    }
}

/// A table of the file, or its absence: every key is asked for by name, and what was not asked for is unknown.
pub(crate) struct Section<'a> {
    title: String,
    at: usize,
    table: Option<&'a DeTable<'a>>,
    known: Vec<&'static str>,
    places: BTreeMap<&'static str, usize>,
    refusals: &'a Refusals,
}

impl<'a> Section<'a> {
    pub(crate) fn new(
        title: impl Into<String>,
        at: usize,
        table: Option<&'a DeTable<'a>>,
        refusals: &'a Refusals,
    ) -> Self {
        Self { title: title.into(), at, table, known: Vec::new(), places: BTreeMap::new(), refusals }
    }

    /// How refusals call the section.
    pub(crate) fn rename(&mut self, title: String) {
        self.title = title;
    }

    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// The value of a key, remembered as known.
    pub(crate) fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        let (name, value) = self.table?.get_key_value(key)?;
        self.places.insert(key, name.span().start);
        Some(value)
    }

    /// Reads a key into `target`, which keeps its default where the key is absent or refused.
    pub(crate) fn read<T>(&mut self, key: &'static str, target: &mut T, read: Read<T>) {
        let Some(value) = self.find(key) else { return };
        match read(value.get_ref()) {
            Ok(value) => *target = value,
            Err(problem) => self.refuse(key, &problem),
        }
    }

    /// A table below this one. Where it is absent, so are its keys.
    pub(crate) fn section(&mut self, key: &'static str, title: &str) -> Section<'a> {
        let table = match self.find(key).map(Spanned::get_ref) {
            None => None,
            Some(DeValue::Table(table)) => Some(table),
            Some(_) => {
                self.refuse(key, "must be a table");
                None
            }
        };
        Section::new(title, self.place(key), table, self.refusals)
    }

    /// The tables of an array, each with its place.
    pub(crate) fn tables(&mut self, key: &'static str) -> Vec<(usize, &'a DeTable<'a>)> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let tables = value.get_ref().as_array().map(|array| {
            array.iter().map(|item| Some((item.span().start, item.get_ref().as_table()?))).collect::<Option<Vec<_>>>()
        });
        tables.flatten().unwrap_or_else(|| {
            self.refuse(key, "must be written as [[topics]], once for each topic");
            Vec::new()
        })
    }

    /// Whether the file has the key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    fn place(&self, key: &str) -> usize {
        self.places.get(key).copied().unwrap_or(self.at)
    }

    /// Refuses a key, at its place or, where it is absent, at the section's.
    pub(crate) fn refuse(&self, key: &str, problem: &str) {
        let title = &self.title;
        let text = if title.is_empty() { format!("{key}: {problem}") } else { format!("{title} {key}: {problem}") };
        self.refusals.push(self.place(key), text);
    }

    /// Refuses every key nobody asked for; says which there are.
    pub(crate) fn finish(self) -> Self {
        let Some(table) = self.table else { return self };
        for name in table.keys().filter(|name| !self.known.contains(&name.get_ref().as_ref())) {
            let (key, known) = (name.get_ref(), self.known.join(", "));
            let text = match self.title.as_str() {
                "" => format!("unknown section {key}: there are {known}"),
                title => format!("{title} {key}: unknown key; there are {known}"),
            };
            self.refusals.push(name.span().start, text);
        }
        self
    }
}
