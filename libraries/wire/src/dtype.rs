//! Element types of tensors.

use crate::schema::DataType;
use crate::{SchemaName, WireError};

/// The element type of a tensor, in the names of torch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    Float32,
    Float64,
    BFloat16,
    Float16,
    Int32,
    Int64,
    UInt8,
    Bool,
    Int8,
    Int16,
}

impl DType {
    pub const ALL: [Self; 10] = [
        Self::Float32,
        Self::Float64,
        Self::BFloat16,
        Self::Float16,
        Self::Int32,
        Self::Int64,
        Self::UInt8,
        Self::Bool,
        Self::Int8,
        Self::Int16,
    ];

    /// Bytes of one element.
    pub const fn item_bytes(self) -> u64 {
        match self {
            Self::Float64 | Self::Int64 => 8,
            Self::Float32 | Self::Int32 => 4,
            Self::BFloat16 | Self::Float16 | Self::Int16 => 2,
            Self::UInt8 | Self::Bool | Self::Int8 => 1,
        }
    }

    /// The name, which is the same in torch and in the schema.
    pub fn name(self) -> &'static str {
        DataType::from(self).schema_name()
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }
}

impl From<DType> for DataType {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::Float32 => Self::Float32,
            DType::Float64 => Self::Float64,
            DType::BFloat16 => Self::Bfloat16,
            DType::Float16 => Self::Float16,
            DType::Int32 => Self::Int32,
            DType::Int64 => Self::Int64,
            DType::UInt8 => Self::Uint8,
            DType::Bool => Self::Bool,
            DType::Int8 => Self::Int8,
            DType::Int16 => Self::Int16,
        }
    }
}

impl DType {
    /// From a field of a message: `unspecified` and values of a newer schema are errors.
    pub fn from_schema(value: Result<DataType, capnp::NotInSchema>) -> Result<Self, WireError> {
        match value {
            Ok(DataType::Float32) => Ok(Self::Float32),
            Ok(DataType::Float64) => Ok(Self::Float64),
            Ok(DataType::Bfloat16) => Ok(Self::BFloat16),
            Ok(DataType::Float16) => Ok(Self::Float16),
            Ok(DataType::Int32) => Ok(Self::Int32),
            Ok(DataType::Int64) => Ok(Self::Int64),
            Ok(DataType::Uint8) => Ok(Self::UInt8),
            Ok(DataType::Bool) => Ok(Self::Bool),
            Ok(DataType::Int8) => Ok(Self::Int8),
            Ok(DataType::Int16) => Ok(Self::Int16),
            Ok(DataType::Unspecified) => Err(WireError::Unsupported {
                what: "dtype",
                value: DataType::Unspecified as u16,
            }),
            Err(capnp::NotInSchema(value)) => Err(WireError::Unsupported {
                what: "dtype",
                value,
            }),
        }
    }
}
