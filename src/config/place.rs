//! Where a mistake stands, in numbers: for programs that go there.

use super::Source;
use super::diagnostic::{Diagnostic, visible};
use super::layers::Layers;

/// A place in a file, as an editor counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path, as it is shown to a person.
    pub path: String,
    /// The line and the column in characters, both from 1; a mistake of the whole file has none.
    pub at: Option<(usize, usize)>,
}

impl Diagnostic {
    /// Where it stands.
    pub fn place(&self, source: &Source<'_>) -> Place {
        let at = self.labels.first().and_then(|label| {
            let layers = Layers::new(source.layers);
            let (layer, base) = layers.get(layers.index(label.range.start))?;
            let before = layer.text.get(..label.range.start.checked_sub(base)?)?;
            let line = before.rsplit('\n').next().unwrap_or_default();
            Some((before.matches('\n').count() + 1, line.chars().count() + 1))
        });
        Place { path: visible(self.path(source)), at }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Layer, LayerKind, Variables, load};
    use super::*;
    use crate::model::AzCurrent;

    #[test]
    fn lines_and_columns_are_counted_in_the_file_they_are_in() {
        let layers = [
            Layer { kind: LayerKind::Workspace, path: "bastion.toml", text: "name = \"é\"\n[azure]\n" },
            Layer {
                kind: LayerKind::Local, path: "bastion.local.toml", text: "# é\n[azure]\n  colud = 1\n"
            },
        ];
        let variables = Variables::default();
        let source = Source {
            layers: &layers,
            default_name: "w",
            worktree: 0,
            variables: &variables,
            az: &AzCurrent::default(),
        };
        let loaded = load(&source);
        let place = |code: &str| {
            loaded.diagnostics.iter().find(|found| found.code == code).map(|found| found.place(&source))
        };
        let at = |path: &str, line, column| Some(Place { path: path.to_owned(), at: Some((line, column)) });
        assert_eq!(place("invalid-name"), at("bastion.toml", 1, 8));
        assert_eq!(place("unknown-key"), at("bastion.local.toml", 3, 3));
    }
}
