//! Tensors in messages: checked when read, written without copying their bytes.

use crate::schema::{tensor, tensor_spec, MAX_DIMENSIONS, MAX_TENSOR_NAME_BYTES};
use crate::{data_slot, Attachments, DType, WireError};

/// Index of `Tensor.data` among the pointer fields of `Tensor`: name, shape, data.
const TENSOR_DATA_POINTER: usize = 2;

/// What a tensor looks like, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    pub dtype: DType,
    /// Elements per dimension, outermost first.
    pub shape: Vec<u64>,
}

impl TensorSpec {
    /// A spec that keeps the rules of the schema: at most `MAX_DIMENSIONS` dimensions, byte length
    /// in 63 bits.
    pub fn new(name: impl Into<String>, dtype: DType, shape: Vec<u64>) -> Result<Self, WireError> {
        let spec = Self {
            name: name.into(),
            dtype,
            shape,
        };
        spec.byte_len()?;
        Ok(spec)
    }

    /// Elements of the whole tensor.
    pub fn elements(&self) -> Result<u64, WireError> {
        Ok(self.byte_len()? / self.dtype.item_bytes())
    }

    /// Bytes of the whole tensor.
    pub fn byte_len(&self) -> Result<u64, WireError> {
        byte_len(&self.name, self.dtype, &self.shape)
    }

    pub fn read(reader: tensor_spec::Reader<'_>) -> Result<Self, WireError> {
        let name = read_name(reader.get_name()?)?;
        let shape = read_shape(name, reader.get_shape()?)?;
        Self::new(name, DType::from_schema(reader.get_dtype())?, shape)
    }

    pub fn write(&self, mut builder: tensor_spec::Builder<'_>) -> Result<(), WireError> {
        builder.set_name(self.name.as_str());
        builder.set_dtype(self.dtype.into());
        builder.set_shape(self.shape.as_slice())?;
        Ok(())
    }
}

/// A checked tensor, or a piece of one, of a received message. `data` borrows from the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorData<'a> {
    pub name: &'a str,
    pub dtype: DType,
    pub shape: Vec<u64>,
    pub byte_offset: u64,
    pub data: &'a [u8],
    /// Bytes of the whole tensor, of which `data` is all or a piece.
    pub total_bytes: u64,
}

impl<'a> TensorData<'a> {
    /// Reads a tensor or a piece of one: whole elements, inside the tensor.
    pub fn read(reader: tensor::Reader<'a>) -> Result<Self, WireError> {
        let name = read_name(reader.get_name()?)?;
        let dtype = DType::from_schema(reader.get_dtype())?;
        let shape = read_shape(name, reader.get_shape()?)?;
        let total_bytes = byte_len(name, dtype, &shape)?;
        let byte_offset = reader.get_byte_offset();
        let data = reader.get_data()?;
        let item = dtype.item_bytes();
        let len = data.len() as u64;
        if byte_offset % item != 0 || len % item != 0 {
            return Err(WireError::tensor(
                name,
                format!("{len} bytes at byte {byte_offset} are not whole elements of {item} bytes"),
            ));
        }
        if byte_offset
            .checked_add(len)
            .is_none_or(|end| end > total_bytes)
        {
            return Err(WireError::tensor(
                name,
                format!("{len} bytes at byte {byte_offset} reach beyond its {total_bytes} bytes"),
            ));
        }
        Ok(Self {
            name,
            dtype,
            shape,
            byte_offset,
            data,
            total_bytes,
        })
    }

    /// Reads a tensor that must be complete.
    pub fn read_whole(reader: tensor::Reader<'a>) -> Result<Self, WireError> {
        let tensor = Self::read(reader)?;
        let len = tensor.data.len() as u64;
        if len != tensor.total_bytes {
            return Err(WireError::tensor(
                tensor.name,
                format!(
                    "has {len} bytes, its shape and dtype need {}",
                    tensor.total_bytes
                ),
            ));
        }
        Ok(tensor)
    }
}

/// Writes the complete tensor `spec`; `data` is sent without a copy.
pub fn write_tensor<P: AsRef<[u8]>>(
    builder: tensor::Builder<'_>,
    spec: &TensorSpec,
    data: P,
    attachments: &mut Attachments<P>,
) -> Result<(), WireError> {
    let (len, total) = (data.as_ref().len() as u64, spec.byte_len()?);
    if len != total {
        return Err(WireError::tensor(
            &spec.name,
            format!("has {len} bytes, its shape and dtype need {total}"),
        ));
    }
    write_tensor_bytes(builder, spec, 0, data, attachments)
}

/// Writes the piece of the tensor `spec` that starts at `byte_offset`; `data` is sent without a
/// copy.
pub fn write_tensor_bytes<P: AsRef<[u8]>>(
    mut builder: tensor::Builder<'_>,
    spec: &TensorSpec,
    byte_offset: u64,
    data: P,
    attachments: &mut Attachments<P>,
) -> Result<(), WireError> {
    if !spec.name.is_empty() {
        builder.set_name(spec.name.as_str());
    }
    builder.set_dtype(spec.dtype.into());
    builder.set_shape(spec.shape.as_slice())?;
    builder.set_byte_offset(byte_offset);
    let slot = data_slot(builder.reborrow_as_reader(), TENSOR_DATA_POINTER);
    let slot = slot.ok_or(WireError::MalformedHeader(
        "a tensor without a data pointer",
    ))?;
    attachments.push(slot, data);
    Ok(())
}

fn read_name(name: capnp::text::Reader<'_>) -> Result<&str, WireError> {
    if name.len() > MAX_TENSOR_NAME_BYTES as usize {
        return Err(WireError::LimitExceeded {
            what: "bytes of a tensor name",
            asked: name.len() as u64,
            limit: u64::from(MAX_TENSOR_NAME_BYTES),
        });
    }
    name.to_str().map_err(|_| WireError::NotUtf8 {
        field: "the name of a tensor",
    })
}

fn read_shape(
    name: &str,
    shape: capnp::primitive_list::Reader<'_, u64>,
) -> Result<Vec<u64>, WireError> {
    check_dimensions(name, u64::from(shape.len()))?;
    Ok(shape.iter().collect())
}

fn check_dimensions(name: &str, dimensions: u64) -> Result<(), WireError> {
    if dimensions > u64::from(MAX_DIMENSIONS) {
        let reason = format!("has {dimensions} dimensions, the limit is {MAX_DIMENSIONS}");
        return Err(WireError::tensor(name, reason));
    }
    Ok(())
}

/// product(shape) * itemsize, where it fits 63 bits. A zero anywhere makes it 0, whatever the other
/// dimensions are.
fn byte_len(name: &str, dtype: DType, shape: &[u64]) -> Result<u64, WireError> {
    check_dimensions(name, shape.len() as u64)?;
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(dtype.item_bytes(), |product, size| {
            product.checked_mul(*size)
        })
        .filter(|bytes| *bytes <= i64::MAX as u64)
        .ok_or_else(|| {
            WireError::tensor(
                name,
                format!("shape {shape:?} does not fit 63 bits of bytes"),
            )
        })
}
