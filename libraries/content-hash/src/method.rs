//! The methods of content hashes.

use pangea_wire::schema::ContentHash;
use pangea_wire::SchemaName;

/// How the tensors of a run are hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// That of runs that began before there was another one.
    Sha256,
    #[default]
    Xxh3Tree,
}

impl Method {
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Xxh3Tree];

    /// The name in the schema, which is also that in the files of a run and in Python.
    pub fn name(self) -> &'static str {
        ContentHash::from(self).schema_name()
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

impl From<ContentHash> for Method {
    fn from(method: ContentHash) -> Self {
        match method {
            ContentHash::Sha256 => Self::Sha256,
            ContentHash::Xxh3Tree => Self::Xxh3Tree,
        }
    }
}

impl From<Method> for ContentHash {
    fn from(method: Method) -> Self {
        match method {
            Method::Sha256 => Self::Sha256,
            Method::Xxh3Tree => Self::Xxh3Tree,
        }
    }
}
