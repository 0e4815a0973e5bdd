//! The wire of Pangea: Cap'n Proto stream frames with tensor bytes that are never copied on the
//! way.
//!
//! Responsible for: framing under explicit limits, pooled and aligned memory, tensors in messages,
//! and cutting a flat gradient into pieces and reassembling it. Not responsible for: sockets and
//! reconnecting, what messages mean, Python.
//!
//! The core does no input or output: [`FrameDecoder`] says which bytes it needs next,
//! [`FrameCursor`] which bytes to send next. [`blocking`] and [`nonblocking`] are thin shells over
//! `std::io` and tokio.

pub mod blocking;
mod decode;
mod dtype;
mod encode;
mod envelope;
mod error;
mod layout;
mod limits;
mod machine;
mod memory;
mod names;
pub mod nonblocking;
mod received;
mod tensor;

pub use decode::FrameDecoder;
pub use dtype::DType;
pub use encode::{data_slot, Attachments, DataSlot, Frame, FrameCursor};
pub use envelope::message_type;
pub use error::WireError;
pub use layout::{FlatAssembler, FlatLayout, Piece, FRAME_BYTES, MAX_PIECES};
pub use limits::Limits;
pub use machine::available_memory;
pub use memory::{AlignedBuffer, Pool, Reservation, SharedSlice, ALIGNMENT};
pub use names::SchemaName;
pub use received::{DataLocation, ReceivedFrame};
pub use tensor::{write_tensor, write_tensor_bytes, TensorData, TensorSpec};

/// The schema's bindings, so that users of this crate agree on one copy.
pub use tensor_rust_capnp::tensor_capnp as schema;

#[cfg(not(target_endian = "little"))]
compile_error!("tensor elements are little-endian on the wire and are used in place: this needs a little-endian machine");
