//! Deterministic safetensors files of plain numbers.
//!
//! The writer of the `safetensors` crate keeps metadata in a hash map, whose order changes from run to run.

use std::io;

use safetensors::Dtype;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A tensor: name, type, shape, and little-endian elements.
pub type TensorBytes<'data> = (String, Dtype, Vec<usize>, &'data [u8]);

/// Header entry of a tensor: name, type, shape and size in bytes.
pub type TensorEntry<Size> = (String, Dtype, Vec<Size>, usize);

/// Serialises these tensors, in this order, with metadata.
pub fn safetensors(metadata: &[(&str, String)], tensors: &[TensorBytes<'_>]) -> io::Result<Vec<u8>> {
    let metadata: Map<String, Value> =
        metadata.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect();
    let about = |(name, dtype, shape, bytes): &TensorBytes<'_>| (name.clone(), *dtype, shape.clone(), bytes.len());
    let mut file = safetensors_header(Some(metadata), tensors.iter().map(about))?;
    for (.., bytes) in tensors {
        file.extend(*bytes);
    }
    Ok(file)
}

/// The header of a safetensors file: everything before the bytes of the first tensor.
pub fn safetensors_header<Size: Serialize>(
    metadata: Option<Map<String, Value>>,
    tensors: impl Iterator<Item = TensorEntry<Size>>,
) -> io::Result<Vec<u8>> {
    let mut header: Map<String, Value> =
        metadata.map(|metadata| ("__metadata__".to_owned(), Value::Object(metadata))).into_iter().collect();
    let mut end = 0;
    for (name, dtype, shape, bytes) in tensors {
        let start = end;
        end += bytes;
        let about = json!({"dtype": serde_json::to_value(dtype)?, "shape": shape, "data_offsets": [start, end]});
        header.insert(name, about);
    }
    let mut header = serde_json::to_vec(&header)?;
    // Pads the header so that the data start at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut beginning = (header.len() as u64).to_le_bytes().to_vec();
    beginning.extend(header);
    Ok(beginning)
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn the_crate_reads_what_is_written() {
        let numbers: Vec<u8> = [7u64, 1 << 40].iter().flat_map(|number| number.to_le_bytes()).collect();
        let tensors = [
            ("numbers".to_owned(), Dtype::U64, vec![2], numbers.as_slice()),
            ("none".to_owned(), Dtype::F32, vec![0, 16], [].as_slice()),
            ("text".to_owned(), Dtype::U8, vec![3], b"hay".as_slice()),
        ];
        let metadata = [("b", "\"\u{e9}".to_owned()), ("a", String::new())];
        let file = safetensors(&metadata, &tensors).unwrap();
        assert_eq!(file, safetensors(&metadata, &tensors).unwrap());
        let read = SafeTensors::deserialize(&file).unwrap();
        for (name, dtype, shape, bytes) in tensors {
            let view = read.tensor(&name).unwrap();
            assert_eq!((view.dtype(), view.shape(), view.data()), (dtype, shape.as_slice(), bytes));
        }
        let (_, read) = SafeTensors::read_metadata(&file).unwrap();
        assert_eq!(read.metadata().as_ref().unwrap()["b"], "\"\u{e9}");
    }
}
