//! The tensors of a numpy archive, `.npz`.

use std::collections::BTreeMap;

use npyz::{DType, Endianness, NpyHeader, TypeChar};
use tch::Kind;

use super::archive::{Archive, Member};
use super::{Entry, Order, Place, Type};

/// More than an array's header takes.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// Where the arrays lie, by their names without `.npy`.
pub(super) fn entries(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let mut archive = Archive::open(bytes)?;
    let mut entries = BTreeMap::new();
    for member in archive.names() {
        let name = member.strip_suffix(".npy").ok_or_else(|| format!("expected arrays (.npy) only, got {member}"))?;
        let entry = match archive.member(&member)? {
            Member::Stored { start, end } => {
                let (about, header) = header(name, &bytes[start..end])?;
                about.entry(name, Place::Mapped { start: start + header, end })?
            }
            packed @ Member::Packed { .. } => {
                let unpacked = archive.read(packed, u64::MAX)?;
                let (about, header) = header(name, &unpacked)?;
                about.entry(name, Place::Unpacked { bytes: unpacked.into(), start: header })?
            }
        };
        entries.insert(name.to_owned(), entry);
    }
    Ok(entries)
}

/// What an array's header says.
struct About {
    kind: Type,
    shape: Vec<usize>,
    order: Order,
}

/// What the header of an array says, and how long it is.
fn header(name: &str, bytes: &[u8]) -> Result<(About, usize), String> {
    let head = &bytes[..bytes.len().min(MAX_HEADER_BYTES)];
    let mut rest = head;
    let header = NpyHeader::from_reader(&mut rest).map_err(|error| format!("array {name}: {error}"))?;
    let kind = match header.dtype() {
        DType::Plain(plain) => {
            let little = plain.endianness() != Endianness::Big;
            match (plain.type_char(), plain.num_bytes(), little) {
                (TypeChar::Float, Some(4), true) => Type::Known(Kind::Float),
                (TypeChar::Float, Some(8), true) => Type::Known(Kind::Double),
                (TypeChar::Float, Some(2), true) => Type::Known(Kind::Half),
                (TypeChar::Int, Some(8), true) => Type::Known(Kind::Int64),
                (TypeChar::Int, Some(4), true) => Type::Known(Kind::Int),
                _ => Type::Other(plain.to_string()),
            }
        }
        other => Type::Other(other.descr()),
    };
    let shape = header.shape().iter().map(|&size| usize::try_from(size));
    let shape = shape.collect::<Result<Vec<_>, _>>().map_err(|error| format!("array {name}: {error}"))?;
    let order = if header.order() == npyz::Order::Fortran { Order::Columns } else { Order::Rows };
    Ok((About { kind, shape, order }, head.len() - rest.len()))
}

impl About {
    /// The array as an entry, if it is as long as its header says.
    fn entry(self, name: &str, place: Place) -> Result<Entry, String> {
        let Self { kind, shape, order } = self;
        if let Type::Known(known) = &kind {
            let expected = shape.iter().try_fold(known.elt_size_in_bytes(), |bytes, size| bytes.checked_mul(*size));
            let got = place.bytes();
            if expected != Some(got) {
                return Err(format!("array {name} of shape {shape:?} has {got} bytes, not what that takes"));
            }
        }
        Ok(Entry::Tensor { kind, shape, order, place })
    }
}
