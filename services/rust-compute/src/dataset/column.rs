//! One tensor of every sample: rows of equal size, in the order of the raw data.

use std::sync::Arc;

use bytemuck::cast_slice;
use pangea_shared_memory::FixedMemory;
use pangea_wire::{DType, TensorSpec};

use crate::error::ColumnError;

/// Most elements of one row.
pub const MAX_ROW_ELEMENTS: u64 = 1 << 20;

/// Elements in one of the types that this service serves. A clone shares them.
#[derive(Clone, Debug)]
pub enum Elements {
    Float32(Arc<Vec<f32>>),
    Int64(Arc<Vec<i64>>),
    /// Made by another process, which can no longer change them.
    Fixed(DType, Arc<FixedMemory>),
}

impl Elements {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Float32(values) => cast_slice(values),
            Self::Int64(values) => cast_slice(values),
            Self::Fixed(_, memory) => memory.as_slice(),
        }
    }

    fn dtype(&self) -> DType {
        match self {
            Self::Float32(_) => DType::Float32,
            Self::Int64(_) => DType::Int64,
            Self::Fixed(dtype, _) => *dtype,
        }
    }

    /// Whether both are the same memory.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        std::ptr::eq(self.bytes().as_ptr(), other.bytes().as_ptr())
    }
}

/// Consecutive rows, in memory that several columns may share.
#[derive(Debug)]
pub struct Column {
    /// Type and shape of one row.
    pub spec: TensorSpec,
    elements: Elements,
    /// Offset of the first row in the elements, in bytes.
    start: usize,
    rows: usize,
    row_bytes: usize,
}

impl Column {
    /// `rows` rows of this shape. The first one starts at element `first`; elements before and
    /// after the rows are not part of the column.
    pub fn new(
        elements: Elements,
        first: usize,
        rows: usize,
        shape: &[u64],
    ) -> Result<Self, ColumnError> {
        let spec = TensorSpec::new("", elements.dtype(), shape.to_vec())?;
        let width = row_elements(shape)?;
        // At most 8 bytes for each of `MAX_ROW_ELEMENTS`, so it fits.
        let row_bytes = spec.byte_len()? as usize;
        let start = first.saturating_mul(row_bytes / width);
        let end = start.saturating_add(rows.saturating_mul(row_bytes));
        let available = elements.bytes().len();
        if end > available {
            return Err(ColumnError::TooFewElements {
                rows,
                shape: shape.to_vec(),
                end,
                available,
            });
        }
        Ok(Self {
            spec,
            elements,
            start,
            rows,
            row_bytes,
        })
    }

    pub fn memory(&self) -> &Elements {
        &self.elements
    }

    /// The element that the first row begins with.
    pub fn first(&self) -> usize {
        self.start / self.spec.dtype.item_bytes() as usize
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// The bytes of all rows.
    pub fn bytes(&self) -> &[u8] {
        &self.elements.bytes()[self.start..][..self.rows * self.row_bytes]
    }

    /// The bytes of one sample's row.
    pub fn row(&self, id: u32) -> &[u8] {
        &self.bytes()[id as usize * self.row_bytes..][..self.row_bytes]
    }

    /// Elements of all rows together.
    pub fn elements(&self) -> usize {
        self.bytes().len() / self.spec.dtype.item_bytes() as usize
    }
}

/// Elements of a row of this shape.
pub fn row_elements(shape: &[u64]) -> Result<usize, ColumnError> {
    // The count does not depend on the type, but a `TensorSpec` needs one.
    let elements = TensorSpec::new("", DType::Int64, shape.to_vec())?.elements()?;
    match usize::try_from(elements) {
        Ok(width) if (1..=MAX_ROW_ELEMENTS).contains(&elements) => Ok(width),
        _ => Err(ColumnError::RowSize {
            shape: shape.to_vec(),
            elements,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: i64) -> Elements {
        Elements::Int64(Arc::new((0..count).collect()))
    }

    #[test]
    fn columns_may_share_elements() {
        let elements = numbers(8);
        let first = Column::new(elements.clone(), 0, 2, &[3]).expect("valid");
        let second = Column::new(elements, 1, 2, &[3]).expect("valid");
        assert_eq!(first.row(1), cast_slice::<i64, u8>(&[3, 4, 5]));
        assert_eq!(second.row(1), cast_slice::<i64, u8>(&[4, 5, 6]));
        assert_eq!(second.bytes(), cast_slice::<i64, u8>(&[1, 2, 3, 4, 5, 6]));
        assert_eq!((second.elements(), second.row_bytes()), (6, 24));
    }

    #[test]
    fn rows_beyond_the_elements_are_refused() {
        assert!(Column::new(numbers(6), 0, 2, &[3]).is_ok());
        assert!(Column::new(numbers(6), 1, 2, &[3]).is_err());
        assert!(Column::new(numbers(6), 0, 3, &[3]).is_err());
    }

    #[test]
    fn a_row_has_a_bounded_number_of_elements() {
        assert_eq!(row_elements(&[]).expect("a scalar"), 1);
        for shape in [&[0, 3][..], &[1; 9], &[1 << 10, 1 << 11]] {
            assert!(row_elements(shape).is_err(), "{shape:?}");
        }
    }
}
