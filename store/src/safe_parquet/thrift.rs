//! Reads what must be known of Thrift before the Parquet crate decodes it.
//!
//! The compact protocol: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// Types in the headers of fields and lists.
mod kind {
    pub(super) const STOP: u8 = 0;
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const I8: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const DOUBLE: u8 = 7;
    pub(super) const BINARY: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const SET: u8 = 10;
    pub(super) const STRUCTURE: u8 = 12;
}

/// `SchemaElement.num_children` in parquet.thrift.
const NUM_CHILDREN: i64 = 5;

/// Nesting of values within a `SchemaElement`. Those of parquet.thrift take three levels.
const MOST_NESTED: usize = 8;

/// The size that a footer declares for its schema.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SchemaSize {
    /// Elements of the schema: groups, columns and the root.
    pub fields: u64,
    /// Children that its elements declare, in all. In a valid schema every element but the root is one.
    pub children: u64,
}

impl SchemaSize {
    /// Reads the schema at the start of a footer, after the version. Returns `None` for other bytes. Every writer writes
    /// the fields of a Thrift structure in order.
    pub(super) fn of(footer: &[u8]) -> Option<Self> {
        /// Headers of a field with the next id.
        const VERSION: u8 = 0x10 | kind::I32;
        const SCHEMA: u8 = 0x10 | kind::LIST;
        let mut thrift = Thrift(footer.strip_prefix(&[VERSION])?);
        u32::try_from(thrift.varint()?).ok()?;
        thrift.0 = thrift.0.strip_prefix(&[SCHEMA])?;
        let (fields, kind::STRUCTURE) = thrift.list()? else { return None };
        let mut children = 0_u64;
        for _ in 0..fields {
            thrift.structure(|thrift, id, kind| match (id, kind) {
                (NUM_CHILDREN, kind::I32) => {
                    children = children.saturating_add(u64::try_from(thrift.integer()?).ok()?);
                    Some(())
                }
                (NUM_CHILDREN, _) => None,
                _ => thrift.skip(kind, MOST_NESTED),
            })?;
        }
        Some(Self { fields, children })
    }
}

/// The length of the structure that these bytes begin with; `None` if they end before it does. It takes no more steps than there
/// are bytes.
pub(super) fn structure_bytes(bytes: &[u8]) -> Option<usize> {
    /// Those of parquet.thrift take nine levels.
    const MOST_NESTED: usize = 16;
    let mut thrift = Thrift(bytes);
    thrift.skip(kind::STRUCTURE, MOST_NESTED)?;
    Some(bytes.len() - thrift.0.len())
}

/// The bytes that are not read yet.
struct Thrift<'bytes>(&'bytes [u8]);

impl<'bytes> Thrift<'bytes> {
    fn take(&mut self, count: u64) -> Option<&'bytes [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// Seven bits per byte, the lowest first.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A signed integer in zigzag form.
    fn integer(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The header of a list: its length, and the type of its elements.
    fn list(&mut self) -> Option<(u64, u8)> {
        const LENGTH_FOLLOWS: u8 = 15;
        let header = self.byte()?;
        let length = match header >> 4 {
            LENGTH_FOLLOWS => self.varint()?,
            length => u64::from(length),
        };
        Some((length, header & 0x0f))
    }

    /// Calls `field` with the id and the type of each field of a structure. It reads the field's value.
    fn structure(&mut self, mut field: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut id = 0;
        loop {
            let header = self.byte()?;
            let kind = header & 0x0f;
            if kind == kind::STOP {
                return Some(());
            }
            id = match header >> 4 {
                0 => self.integer()?,
                delta => i64::checked_add(id, delta.into())?,
            };
            field(self, id, kind)?;
        }
    }

    fn skip(&mut self, kind: u8, nested: usize) -> Option<()> {
        let nested = nested.checked_sub(1)?;
        match kind {
            // The type is the value.
            kind::TRUE | kind::FALSE => {}
            kind::I8 => _ = self.byte()?,
            kind::I16 | kind::I32 | kind::I64 => _ = self.varint()?,
            kind::DOUBLE => _ = self.take(8)?,
            kind::BINARY => {
                let length = self.varint()?;
                self.take(length)?;
            }
            kind::LIST | kind::SET => match self.list()? {
                (length, kind::TRUE | kind::FALSE) => _ = self.take(length)?,
                (length, kind) => {
                    for _ in 0..length {
                        self.skip(kind, nested)?;
                    }
                }
            },
            kind::STRUCTURE => self.structure(|thrift, _, kind| thrift.skip(kind, nested))?,
            // Maps: parquet.thrift has none.
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, UInt64Array};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn a_writers_schema_has_one_parent_for_every_field_but_the_root() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["hay"]));
        let number: ArrayRef = Arc::new(UInt64Array::from(vec![7]));
        let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![7]).with_timezone("UTC"));
        let group: ArrayRef =
            Arc::new(StructArray::try_from(vec![("text", text.clone()), ("number", number.clone())]).unwrap());
        let columns = [("text", text), ("number", number), ("time", time), ("group", group)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
        let footer = &bytes[bytes.len() - 8 - length..];
        assert_eq!(SchemaSize::of(footer), Some(SchemaSize { fields: 7, children: 6 }));
        // Cut anywhere in the schema.
        let whole = (1..footer.len()).find(|end| SchemaSize::of(&footer[..*end]).is_some()).unwrap();
        assert!((1..whole).all(|end| SchemaSize::of(&footer[..end]).is_none()) && whole < footer.len());
    }

    #[test]
    fn values_of_every_type_are_skipped() {
        let schema = |field: &[u8]| {
            let mut footer = vec![0x15, 2, 0x19, 0x1c];
            footer.extend_from_slice(field);
            // Ten children, zigzag, by an id that is written out.
            footer.extend([0x05, 10, 20, 0]);
            SchemaSize::of(&footer).map(|size| size.children)
        };
        let fields: [&[u8]; 8] = [
            &[0x11],
            &[0x13, 0xff],
            &[0x15, 0x80, 1],
            &[0x17, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x18, 2, b'a', b'b'],
            &[0x19, 0x21, 1, 2],
            &[0x19, 0x25, 2, 4],
            &[0x1c, 0x15, 2, 0x1c, 0x12, 0, 0],
        ];
        for field in fields {
            assert_eq!(schema(field), Some(10), "{field:?}");
        }
        assert_eq!(schema(&[0x1b, 0]), None, "a map");
        assert_eq!(schema(&[0x1c; 9]), None, "nested without end");
    }
}
