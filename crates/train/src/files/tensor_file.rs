//! Reads and writes safetensors files.

use std::io::{self, Write};
use std::path::Path;

use hayloft_runtime::{safetensors_header, write_whole_with};
use safetensors::Dtype;
use tch::{Device, Kind, Tensor};

use crate::error::TrainError;

/// Writes tensors atomically, in the given order. They are streamed, so that at most one is copied at a time. The output is
/// deterministic.
pub(crate) fn write(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), TrainError> {
    let about = |(name, tensor): &(String, Tensor)| {
        let bytes = tensor.numel() * tensor.kind().elt_size_in_bytes();
        (name.clone(), dtype(tensor.kind()), tensor.size(), bytes)
    };
    let written = write_whole_with(path, |file| {
        file.write_all(&safetensors_header(None, tensors.iter().map(about))?)?;
        tensors.iter().try_for_each(|(_, tensor)| file.write_all(&bytes(tensor)?))
    });
    written.map_err(TrainError::write(path))
}

/// Reads all tensors of a file onto the CPU.
pub(crate) fn read(path: &Path) -> Result<Vec<(String, Tensor)>, TrainError> {
    Tensor::read_safetensors(path)
        .map_err(|error| TrainError::damaged(path, "a safetensors file as training writes it", &error))
}

fn bytes(tensor: &Tensor) -> io::Result<Vec<u8>> {
    let copy = || {
        let plain = tensor.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut bytes = vec![0; plain.numel() * plain.kind().elt_size_in_bytes()];
        plain.f_copy_data_u8(&mut bytes, plain.numel())?;
        Ok::<_, tch::TchError>(bytes)
    };
    copy().map_err(io::Error::other)
}

/// The safetensors dtype of a training tensor.
pub(crate) fn dtype(kind: Kind) -> Dtype {
    match kind {
        Kind::Double => Dtype::F64,
        Kind::Int64 => Dtype::I64,
        Kind::Int => Dtype::I32,
        _ => Dtype::F32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_come_back_with_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        let tensors = [
            ("matrix".to_owned(), Tensor::from_slice2(&[[1.5f32, f32::NAN], [-0.0, 3e-42]])),
            ("scalar".to_owned(), Tensor::from(0.1f64)),
            ("whole".to_owned(), Tensor::from_slice(&[i64::MIN, 7])),
            ("short".to_owned(), Tensor::from_slice(&[-1i32])),
        ];
        write(&path, &tensors).unwrap();
        let read = read(&path).unwrap();
        for (name, tensor) in &tensors {
            let (_, got) = read.iter().find(|(own, _)| own == name).unwrap();
            assert_eq!((got.kind(), got.size()), (tensor.kind(), tensor.size()));
            assert_eq!(bytes(got).unwrap(), bytes(tensor).unwrap(), "{name}");
        }
    }

    #[test]
    fn a_file_that_was_cut_short_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.safetensors");
        write(&path, &[("a".to_owned(), Tensor::from_slice(&[1i64, 2]))]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("state.safetensors"), "{message}");
    }
}
