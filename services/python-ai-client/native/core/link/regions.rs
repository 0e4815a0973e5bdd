//! The memory that the peer of one connection has announced.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use pangea_shared_memory::{Announcement, PrivateRegion, ReadOnlyRegion, RegionError};
use pangea_wire::schema::message;
use pangea_wire::WireError;

use super::stream::Stream;

/// Most regions of one connection. A service lends a few at a time; each takes a mapping.
const MAX_REGIONS: usize = 4096;

/// How a region is mapped.
pub(crate) trait View: Sized {
    fn map(descriptor: BorrowedFd<'_>, bytes: u64) -> Result<Self, RegionError>;
}

impl View for ReadOnlyRegion {
    fn map(descriptor: BorrowedFd<'_>, bytes: u64) -> Result<Self, RegionError> {
        Self::map(descriptor, bytes)
    }
}

impl View for PrivateRegion {
    fn map(descriptor: BorrowedFd<'_>, bytes: u64) -> Result<Self, RegionError> {
        Self::map(descriptor, bytes)
    }
}

/// Regions by their id. They are unmapped with this, except those that are still in use.
pub(crate) struct Regions<V>(HashMap<u32, Arc<V>>);

impl<V> Default for Regions<V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<V: View> Regions<V> {
    /// Takes the region that `root`, a `SharedRegion` that was read from `stream` just now,
    /// announces.
    pub(crate) fn take(
        &mut self,
        root: message::Reader<'_>,
        stream: &Stream,
    ) -> Result<(), WireError> {
        let Ok(message::SharedRegion(region)) = root.which() else {
            return Err(malformed("is not what the union holds"));
        };
        let Announcement { id, bytes } = Announcement::read(region?);
        // First, so that the next announcement does not get it whatever is wrong with this one.
        let descriptor = stream.take_descriptor();
        let descriptor = descriptor.ok_or_else(|| malformed("came without a descriptor"))?;
        if self.0.len() >= MAX_REGIONS {
            return Err(malformed(&format!(
                "is more than the {MAX_REGIONS} of a connection"
            )));
        }
        let view = V::map(descriptor.as_fd(), bytes)?;
        if self.0.insert(id, Arc::new(view)).is_some() {
            return Err(malformed(&format!(
                "{id} was announced before on this connection"
            )));
        }
        Ok(())
    }

    pub(crate) fn find(&self, id: u32) -> Result<Arc<V>, WireError> {
        let region = self.0.get(&id).cloned();
        region.ok_or_else(|| malformed(&format!("{id} is used, but was not announced")))
    }
}

fn malformed(reason: &str) -> WireError {
    WireError::Field {
        field: "sharedRegion",
        reason: reason.to_owned(),
    }
}
