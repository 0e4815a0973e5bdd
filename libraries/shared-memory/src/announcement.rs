//! The message `SharedRegion`, which a descriptor comes with.

use pangea_wire::schema::{message, shared_region, MessageType};
use pangea_wire::{Attachments, Frame, Limits, WireError};

/// What is said about a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Chosen by its owner, for the life of the connection.
    pub id: u32,
    pub bytes: u64,
}

impl Announcement {
    /// Its frame. The descriptor is sent with the first byte.
    pub fn to_frame(self) -> Result<Frame<&'static [u8]>, WireError> {
        let mut builder = capnp::message::Builder::new_default();
        let mut root = builder.init_root::<message::Builder<'_>>();
        root.set_type(MessageType::SharedRegion);
        let mut region = root.init_shared_region();
        region.set_id(self.id);
        region.set_bytes(self.bytes);
        Frame::new(&builder, Attachments::new(), &Limits::default())
    }

    pub fn read(reader: shared_region::Reader<'_>) -> Self {
        Self {
            id: reader.get_id(),
            bytes: reader.get_bytes(),
        }
    }
}
