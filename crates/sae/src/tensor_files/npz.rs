//! The tensors of a numpy archive, `.npz`.

use std::collections::BTreeMap;

use tch::Kind;

use super::archive::{Archive, Member};
use super::{Entry, Order, Place, Type};

/// Upper bound on an array's header.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// Returns the arrays, by their names without `.npy`.
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

/// The contents of an array's header.
struct About {
    kind: Type,
    shape: Vec<usize>,
    order: Order,
}

/// Parses an array's header and returns its length too. The header is a magic number, two version bytes, the length of the
/// text, and the text, a Python dictionary literal. Sizes are not multiplied here; the npy reader of an existing crate
/// multiplies them without overflow checks.
fn header(name: &str, bytes: &[u8]) -> Result<(About, usize), String> {
    let unsound = |problem: &str| format!("array {name}: {problem}");
    let fixed = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(|| unsound("expected an array of numpy's"))?;
    let (length, start) = match *fixed {
        [1, _, low, high, ..] => (usize::from(u16::from_le_bytes([low, high])), 10),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, 12),
        _ => return Err(unsound("a header of another version than 1 to 3")),
    };
    let end = start + length;
    let text = bytes.get(start..end).filter(|_| length <= MAX_HEADER_BYTES);
    let text =
        text.and_then(|text| std::str::from_utf8(text).ok()).ok_or_else(|| unsound("a header that is no text"))?;
    let value = |key: &str| {
        let rest = text.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
        rest.ok_or_else(|| unsound(&format!("no {key} in its header")))
    };
    let descr = value("descr")?;
    let descr = descr.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).map_or(descr, |(descr, _)| descr);
    let kind = match descr {
        "<f4" => Type::Known(Kind::Float),
        "<f8" => Type::Known(Kind::Double),
        "<f2" => Type::Known(Kind::Half),
        "<i8" => Type::Known(Kind::Int64),
        "<i4" => Type::Known(Kind::Int),
        other => Type::Other(other.chars().take(20).collect()),
    };
    let order = match value("fortran_order")? {
        rest if rest.starts_with("False") => Order::Rows,
        rest if rest.starts_with("True") => Order::Columns,
        _ => return Err(unsound("a fortran_order that is neither True nor False")),
    };
    let shape = value("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(shape, _)| shape);
    let shape = shape.ok_or_else(|| unsound("a shape that is no tuple"))?;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().map_err(|_| unsound(&format!("a size of {size}"))));
    Ok((About { kind, shape: shape.collect::<Result<_, String>>()?, order }, end))
}

impl About {
    /// Converts the array to an entry, checking its length against the header.
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
