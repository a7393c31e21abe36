//! Azure resource IDs: kept as written, compared as ARM compares them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The ARM ID of a resource in a resource group.
///
/// ARM answers IDs in mixed case, so two are equal when they differ only in case; what is sent is what was written.
#[derive(Clone, Debug)]
pub struct ResourceId {
    text: String,
    subscription: Box<str>,
    resource_group: Box<str>,
    kind: Box<str>,
    name: Box<str>,
}

/// Why a text is not the ID of a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a resource ID looks like /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.Compute/virtualMachines/NAME"
)]
pub struct ResourceIdError;

impl ResourceId {
    /// Reads an ID as the portal's JSON view shows it.
    ///
    /// # Errors
    /// When the text does not name a resource inside a resource group.
    pub fn parse(text: &str) -> Result<Self, ResourceIdError> {
        let mut parts = text.strip_prefix('/').ok_or(ResourceIdError)?.split('/');
        let mut keyword = |word: &str| match parts.next() {
            Some(part) if part.eq_ignore_ascii_case(word) => {
                parts.next().filter(|p| is_segment(p)).ok_or(ResourceIdError)
            }
            _ => Err(ResourceIdError),
        };
        let subscription = keyword("subscriptions")?;
        let resource_group = keyword("resourceGroups")?;
        let mut kind = keyword("providers")?.to_owned();
        let rest: Vec<&str> = parts.collect();
        let mut name = None;
        for pair in rest.chunks(2) {
            let [word, value] = pair else { return Err(ResourceIdError) };
            if !is_segment(word) || !is_segment(value) {
                return Err(ResourceIdError);
            }
            kind.push('/');
            kind.push_str(word);
            name = Some(*value);
        }
        Ok(Self {
            subscription: subscription.into(),
            resource_group: resource_group.into(),
            kind: kind.into(),
            name: name.ok_or(ResourceIdError)?.into(),
            text: text.to_owned(),
        })
    }

    /// Puts an ID together; each part is checked as if it had been read.
    ///
    /// # Errors
    /// When a part cannot stand in an ID.
    pub fn compose(
        subscription: &str,
        resource_group: &str,
        kind: &str,
        name: &str,
    ) -> Result<Self, ResourceIdError> {
        Self::parse(&format!(
            "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/{kind}/{name}"
        ))
    }

    /// The ID as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The subscription's GUID.
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// The resource group's name.
    pub fn resource_group(&self) -> &str {
        &self.resource_group
    }

    /// The last segment: the resource's own name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The resource that this one is a part of: the scale set of an instance.
    pub fn parent(&self) -> Option<Self> {
        let (rest, _name) = self.text.rsplit_once('/')?;
        let (rest, _kind) = rest.rsplit_once('/')?;
        Self::parse(rest).ok()
    }

    /// Whether this is a resource of a type such as `Microsoft.Compute/virtualMachines`, whatever the case.
    pub fn is_type(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }
}

fn is_segment(part: &str) -> bool {
    !part.is_empty()
        && !part.bytes().all(|b| b == b'.')
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.()".contains(&b))
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for ResourceId {}

impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceId {
    fn cmp(&self, other: &Self) -> Ordering {
        let lower = |byte: u8| byte.to_ascii_lowercase();
        self.text.bytes().map(lower).cmp(other.text.bytes().map(lower))
    }
}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.to_ascii_lowercase().hash(state);
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
