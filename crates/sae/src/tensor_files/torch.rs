//! The tensors of a `torch.save` file: a zip archive with one pickle, which describes the contents, and raw storages.
//!
//! The pickle is parsed, never executed: see [`super::pickle`].

use std::collections::BTreeMap;

use super::archive::{Archive, Member};
use super::pickle::{self, Scalar, Storage, Value};
use super::{Entry, Order, Place, Type};

/// Upper bound on the pickle of an SAE. Tensor data is stored outside it.
const MAX_PICKLE_BYTES: u64 = 16 << 20;

const PICKLE: &str = "/data.pkl";

/// Whether an archive was written by `PyTorch`.
pub(super) fn is_one(names: &[String]) -> bool {
    names.iter().any(|name| name.ends_with(PICKLE))
}

/// Returns the entries of the file's dictionary. Names of nested dictionaries are joined by dots.
pub(super) fn entries(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let mut archive = Archive::open(bytes)?;
    let names = archive.names();
    let pickles: Vec<&String> = names.iter().filter(|name| name.ends_with(PICKLE)).collect();
    let [pickle] = pickles[..] else { return Err(format!("expected one pickle, got {}", pickles.len())) };
    let folder = pickle.strip_suffix(PICKLE).unwrap_or_default().to_owned();
    if let Ok(member) = archive.member(&format!("{folder}/byteorder"))
        && archive.read(member, 16)? != b"little"
    {
        return Err("numbers of a big-endian machine".to_owned());
    }
    let member = archive.member(pickle)?;
    let value = pickle::read(&archive.read(member, MAX_PICKLE_BYTES)?)?;
    let mut entries = BTreeMap::new();
    collect(&mut archive, &folder, "", value, &mut entries)?;
    Ok(entries)
}

fn collect(
    archive: &mut Archive<'_>,
    folder: &str,
    prefix: &str,
    value: Value,
    into: &mut BTreeMap<String, Entry>,
) -> Result<(), String> {
    let Value::Dictionary(pairs) = value else {
        return Err("expected a dictionary of tensors (state_dict)".to_owned());
    };
    for (key, value) in pairs {
        let Value::Scalar(Scalar::Text(key)) = key else { return Err("a key that is no text".to_owned()) };
        let name = format!("{prefix}{key}");
        let entry = match value {
            Value::Dictionary(_) => {
                collect(archive, folder, &format!("{name}."), value, into)?;
                continue;
            }
            Value::Scalar(scalar) => Entry::Scalar(scalar),
            Value::Tensor { storage, offset, shape, strides } => {
                tensor(archive, folder, &name, &storage, (offset, shape, &strides))?
            }
            _ => return Err(format!("{name} is neither a tensor nor a number nor a text")),
        };
        if into.insert(name.clone(), entry).is_some() {
            return Err(format!("{name} twice"));
        }
    }
    Ok(())
}

fn tensor(
    archive: &mut Archive<'_>,
    folder: &str,
    name: &str,
    storage: &Storage,
    (offset, shape, strides): (usize, Vec<usize>, &[usize]),
) -> Result<Entry, String> {
    let member = format!("{folder}/data/{}", storage.key);
    let Member::Stored { start, end } = archive.member(&member)? else {
        return Err(format!("member {member} is compressed, which PyTorch never does"));
    };
    let order = order(&shape, strides)
        .ok_or_else(|| format!("{name} of shape {shape:?} and strides {strides:?} is a view; save it contiguous"))?;
    let width = storage.kind.elt_size_in_bytes();
    let bytes = |elements: usize| elements.checked_mul(width);
    let elements = shape.iter().try_fold(1usize, |elements, size| elements.checked_mul(*size));
    let range = elements.and_then(bytes).zip(bytes(offset)).and_then(|(length, before)| {
        let first = start.checked_add(before)?;
        Some((first, first.checked_add(length).filter(|last| *last <= end)?))
    });
    let Some((start, end)) = range else {
        return Err(format!("{name} of shape {shape:?} lies beyond the {} bytes of {member}", end - start));
    };
    Ok(Entry::Tensor { kind: Type::Known(storage.kind), shape, order, place: Place::Mapped { start, end } })
}

/// The memory order of a contiguous tensor; `None` if there are gaps.
fn order(shape: &[usize], strides: &[usize]) -> Option<Order> {
    if strides.len() != shape.len() {
        return None;
    }
    let gapless = |places: &mut dyn Iterator<Item = usize>| {
        let mut next = 1usize;
        for place in places {
            // The stride of a dimension with at most one element is irrelevant.
            if shape[place] > 1 && strides[place] != next {
                return false;
            }
            next = next.saturating_mul(shape[place].max(1));
        }
        true
    };
    if gapless(&mut (0..shape.len()).rev()) {
        Some(Order::Rows)
    } else if gapless(&mut (0..shape.len())) {
        Some(Order::Columns)
    } else {
        None
    }
}
