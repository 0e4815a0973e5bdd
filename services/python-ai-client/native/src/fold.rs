//! Gradient sums for Python: `Fold`, over the memory of tensors.

use native_core::Operand;
use pangea_content_hash::{ContentHasher, Method};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Adds gradient sums that consist of the same parts.
///
/// Operands are addresses, since asking each of hundreds of tensors for its buffer would take
/// longer than adding up a small model. Only `pangea.training.sums` calls this: it holds the
/// tensors while it does, knows their sizes, and that nobody else uses what is written.
#[pyclass(module = "pangea._native", frozen)]
pub(crate) struct Fold {
    sizes: Vec<usize>,
}

/// The addresses of an operand's parts, in order; 0 for a part that is +0.0 everywhere.
type Addresses = Vec<usize>;

#[pymethods]
impl Fold {
    /// `sizes` are the elements of each part.
    #[new]
    fn new(sizes: Vec<usize>) -> Self {
        Self { sizes }
    }

    /// Writes the sum of each part over the first operand that has the part; parts that none has
    /// remain +0.0.
    fn in_place(&self, py: Python<'_>, operands: Vec<Addresses>) -> PyResult<()> {
        self.check(&operands)?;
        let outs: Addresses = (0..self.sizes.len())
            .map(|part| first_address(&operands, part))
            .collect();
        py.detach(|| self.fold(&operands, &outs));
        Ok(())
    }

    /// Writes the sum to the vector at `out`, which has all parts, one after the other. Returns the
    /// content hash (`xxh3Tree`) of the vector if `digest` asks for it, as for a slot: each piece
    /// is hashed while it is in the cache.
    #[pyo3(signature = (operands, out, digest = false))]
    fn write_vector<'py>(
        &self,
        py: Python<'py>,
        operands: Vec<Addresses>,
        out: usize,
        digest: bool,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.check(&operands)?;
        if out == 0 || out % align_of::<f32>() != 0 {
            return Err(PyValueError::new_err(format!(
                "{out:#x} is not the address of a vector of float32"
            )));
        }
        let mut next = out;
        let mut outs = Addresses::with_capacity(self.sizes.len());
        for size in &self.sizes {
            outs.push(next);
            next += size * size_of::<f32>();
        }
        if !digest {
            py.detach(|| self.fold(&operands, &outs));
            return Ok(None);
        }
        let bytes = (next - out) as u64;
        let hash = py.detach(|| {
            let mut hasher = ContentHasher::new(Method::Xxh3Tree, bytes);
            let (mut written, half) = (0, bytes / 2);
            self.fold_seen(&operands, &outs, |sum| {
                let before = written;
                written += size_of_val(sum) as u64;
                if before <= half && half < written {
                    native_core::inside_slot_write();
                }
                hasher.update(bytemuck::cast_slice(sum));
            });
            hasher.finish()
        });
        Ok(Some(PyBytes::new(py, &hash)))
    }
}

impl Fold {
    fn check(&self, operands: &[Addresses]) -> PyResult<()> {
        if operands.is_empty() {
            return Err(PyValueError::new_err("there is nothing to add"));
        }
        for operand in operands {
            if operand.len() != self.sizes.len() {
                return Err(PyValueError::new_err(format!(
                    "an operand has {} parts instead of {}",
                    operand.len(),
                    self.sizes.len()
                )));
            }
            if let Some(address) = operand
                .iter()
                .find(|address| *address % align_of::<f32>() != 0)
            {
                return Err(PyValueError::new_err(format!(
                    "{address:#x} is not the address of float32 elements"
                )));
            }
        }
        Ok(())
    }

    /// Adds part by part; a part whose address in `outs` is 0 is left out.
    fn fold(&self, operands: &[Addresses], outs: &[usize]) {
        self.each_part(operands, outs, |operands, out, size| {
            // SAFETY: the caller of the Python method holds the memory of all parts, of these
            // sizes, and lets nobody else write to it; parts overlap only if they are the same.
            unsafe { native_core::fold(operands, out, size) };
        });
    }

    /// The same, and hands each piece of the sum to `seen`, in order.
    fn fold_seen(&self, operands: &[Addresses], outs: &[usize], mut seen: impl FnMut(&[f32])) {
        self.each_part(operands, outs, |operands, out, size| {
            // SAFETY: as above.
            unsafe { native_core::fold_seen(operands, out, size, &mut seen) };
        });
    }

    fn each_part(
        &self,
        operands: &[Addresses],
        outs: &[usize],
        mut call: impl FnMut(&[Operand], *mut f32, usize),
    ) {
        let mut of_part: Vec<Operand> = vec![None; operands.len()];
        for (part, (size, out)) in self.sizes.iter().zip(outs).enumerate() {
            if *out == 0 {
                continue;
            }
            for (slot, operand) in of_part.iter_mut().zip(operands) {
                *slot = (operand[part] != 0).then(|| operand[part] as *const f32);
            }
            call(&of_part, *out as *mut f32, *size);
        }
    }
}

fn first_address(operands: &[Addresses], part: usize) -> usize {
    operands
        .iter()
        .map(|operand| operand[part])
        .find(|address| *address != 0)
        .unwrap_or(0)
}

/// Whether this thread rounds denormal numbers to zero, as after `torch.set_flush_denormal(True)`.
#[pyfunction]
pub(crate) fn flushes_denormals() -> bool {
    native_core::flushes_denormals()
}
