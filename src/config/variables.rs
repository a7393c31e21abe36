//! The variables of the environment that files may name.

use std::collections::BTreeMap;
use std::fmt;

/// Names and values of the environment, as they were when the program was started. Values may be secrets: `Debug`
/// shows the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them, for whoever loads the files in another process. They are not to be shown.
    pub fn into_all(self) -> BTreeMap<String, String> {
        self.0
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
