//! Arrays that numpy takes without a copy.

use bytes::Bytes;
use hayloft_store::Dtype;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::Failure;

/// An array in memory, C order: numpy reads `__array_interface__`, and keeps this object as long as its array.
#[pyclass(frozen, module = "hayloft._hayloft")]
#[derive(Debug)]
pub(crate) struct Words {
    /// Held for the memory. Nothing here reads or writes it after the address was taken.
    _bytes: Held,
    address: usize,
    is_read_only: bool,
    shape: Vec<usize>,
    /// Byte order, kind and size, as numpy writes them: `<f4`.
    typestr: &'static str,
}

#[derive(Debug)]
enum Held {
    Copy { _bytes: Vec<u8> },
    View { _bytes: Bytes },
}

impl Words {
    pub(crate) fn new(mut bytes: Vec<u8>, shape: Vec<usize>, typestr: &'static str) -> Self {
        let address = bytes.as_mut_ptr() as usize;
        Self { _bytes: Held::Copy { _bytes: bytes }, address, is_read_only: false, shape, typestr }
    }

    /// An array over the bytes of a file, which numpy may not write to.
    pub(crate) fn view(bytes: Bytes, shape: Vec<usize>, typestr: &'static str) -> Self {
        let address = bytes.as_ptr() as usize;
        Self { _bytes: Held::View { _bytes: bytes }, address, is_read_only: true, shape, typestr }
    }

    /// 64-bit integers, `[values]`.
    pub(crate) fn of_i64(values: impl ExactSizeIterator<Item = i64>) -> Self {
        let shape = vec![values.len()];
        Self::new(values.flat_map(i64::to_le_bytes).collect(), shape, "<i8")
    }
}

#[pymethods]
impl Words {
    /// Numpy's description of the array.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let described = PyDict::new(py);
        described.set_item("version", 3)?;
        described.set_item("shape", pyo3::types::PyTuple::new(py, &self.shape)?)?;
        described.set_item("typestr", self.typestr)?;
        described.set_item("data", (self.address, self.is_read_only))?;
        Ok(described)
    }
}

/// Numpy's name of a dtype's words. It has no bfloat16, whose bits are given.
pub(crate) fn typestr(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "<f4",
        Dtype::F16 => "<f2",
        Dtype::Bf16 => "<u2",
    }
}

/// Zeroed memory for `rows` rows, or an error if there is not as much.
pub(crate) fn zeroed(rows: usize, row_bytes: usize) -> Result<Vec<u8>, Failure> {
    let too_large = || {
        let expected = format!("expected memory for {rows} rows of {row_bytes} bytes, got too little");
        Failure::new("memory", format!("{expected}. Read fewer rows at a time, or use batches()"))
    };
    let bytes = rows.checked_mul(row_bytes).ok_or_else(too_large)?;
    // The macro below ends the process if there is no memory, and asks for zeroed pages, which need no filling.
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| too_large())?;
    Ok(vec![0; bytes])
}
