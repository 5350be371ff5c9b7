//! A pickle reader that accepts only what `torch.save` writes for a dictionary of tensors.
//!
//! A pickle is a program, and this reader cannot execute one. It knows the opcodes that build numbers, strings, tuples, lists
//! and dictionaries, and a fixed set of names that it treats as data. Existing pickle crates either resolve names themselves
//! or depend on a tensor framework, so this small reader is easier to audit.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use tch::Kind;

/// Maximum nesting depth: more than any dictionary of tensors needs, and safe for the call stack.
const MOST_DEPTH: usize = 32;

/// Maximum number of opcodes: more than any dictionary of tensors needs, and a bound on the pickle stack.
const MOST_STEPS: usize = 1 << 18;

/// A number, a string or nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    None,
    Flag(bool),
    Integer(i64),
    Number(f64),
    Text(Arc<str>),
}

impl fmt::Display for Scalar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Flag(flag) => write!(formatter, "{flag}"),
            Self::Integer(integer) => write!(formatter, "{integer}"),
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Text(text) => write!(formatter, "the text {text:?}"),
        }
    }
}

/// The storage that a tensor is a view of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    pub(super) kind: Kind,
    /// Name of the archive member.
    pub(super) key: Arc<str>,
}

/// A pickle value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    Tuple(Rc<Vec<Value>>, usize),
    Dictionary(Vec<(Value, Value)>),
    Tensor {
        storage: Storage,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    },
    Storage(Storage),
    /// A known name.
    Name(Name),
    /// A list, or a memoised dictionary. Its contents are not needed.
    Other,
    Mark,
}

/// The known names, treated as data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Name {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    StorageType(Kind),
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OrderedDict => "OrderedDict",
            Self::RebuildTensor => "_rebuild_tensor_v2",
            Self::RebuildParameter => "_rebuild_parameter",
            Self::StorageType(_) => "a storage type",
        })
    }
}

/// Reads the single value of a pickle.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    Reader { bytes, at: 0, stack: Vec::new(), memo: HashMap::new() }.run()
}

struct Reader<'bytes> {
    bytes: &'bytes [u8],
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
}

impl Reader<'_> {
    fn run(mut self) -> Result<Value, String> {
        for _ in 0..MOST_STEPS {
            let opcode = self.take(1)?[0];
            match opcode {
                0x80 => drop(self.take(1)?),              // PROTO
                0x95 => drop(self.take(8)?),              // FRAME
                b'.' => return self.pop(),                // STOP
                b'(' => self.stack.push(Value::Mark),     // MARK
                b'N' => self.scalar(Scalar::None),        // NONE
                0x88 => self.scalar(Scalar::Flag(true)),  // NEWTRUE
                0x89 => self.scalar(Scalar::Flag(false)), // NEWFALSE
                b'K' => self.integer(1)?,                 // BININT1
                b'M' => self.integer(2)?,                 // BININT2
                b'J' => {
                    let word = i32::from_le_bytes(self.array()?); // BININT
                    self.scalar(Scalar::Integer(word.into()));
                }
                0x8a => self.long()?, // LONG1
                b'G' => {
                    let number = f64::from_be_bytes(self.array()?); // BINFLOAT
                    self.scalar(Scalar::Number(number));
                }
                0x8c => self.text(1)?,  // SHORT_BINUNICODE
                b'X' => self.text(4)?,  // BINUNICODE
                0x8d => self.text(8)?,  // BINUNICODE8
                b')' => self.tuple(0)?, // EMPTY_TUPLE
                0x85 => self.tuple(1)?, // TUPLE1
                0x86 => self.tuple(2)?, // TUPLE2
                0x87 => self.tuple(3)?, // TUPLE3
                b't' => {
                    let items = self.marked()?; // TUPLE
                    self.push_tuple(items)?;
                }
                b'}' => self.stack.push(Value::Dictionary(Vec::new())), // EMPTY_DICT
                b']' => self.stack.push(Value::Other),                  // EMPTY_LIST
                b'a' => drop(self.pop()?),                              // APPEND
                b'e' => drop(self.marked()?),                           // APPENDS
                b's' => {
                    let value = self.pop()?; // SETITEM
                    let key = self.pop()?;
                    self.set_items(vec![key, value])?;
                }
                b'u' => {
                    let items = self.marked()?; // SETITEMS
                    self.set_items(items)?;
                }
                b'q' => {
                    let place = self.take(1)?[0].into(); // BINPUT
                    self.remember(place)?;
                }
                b'r' => {
                    let place = u32::from_le_bytes(self.array()?); // LONG_BINPUT
                    self.remember(place)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?, // MEMOIZE
                b'h' => {
                    let place = self.take(1)?[0].into(); // BINGET
                    self.recall(place)?;
                }
                b'j' => {
                    let place = u32::from_le_bytes(self.array()?); // LONG_BINGET
                    self.recall(place)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?); // GLOBAL
                    self.name(&module, &name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop_text()?, self.pop_text()?); // STACK_GLOBAL
                    self.name(&module, &name)?;
                }
                b'Q' => self.persistent()?, // BINPERSID
                b'R' => self.call()?,       // REDUCE
                b'b' => self.build()?,      // BUILD
                other => {
                    return Err(format!(
                        "opcode {other:#04x} at byte {}, which no dictionary of tensors needs and which is not carried out",
                        self.at - 1
                    ));
                }
            }
        }
        Err(format!("more than {MOST_STEPS} opcodes, which no dictionary of tensors has"))
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("the pickle ends in the middle of a value, at byte {}", self.at))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const SIZE: usize>(&mut self) -> Result<[u8; SIZE], String> {
        let mut array = [0; SIZE];
        array.copy_from_slice(self.take(SIZE)?);
        Ok(array)
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or("a name without an end")?;
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(text)
    }

    fn pop(&mut self) -> Result<Value, String> {
        match self.stack.pop() {
            None | Some(Value::Mark) => Err(format!("a value is missing before byte {}", self.at)),
            Some(value) => Ok(value),
        }
    }

    fn pop_text(&mut self) -> Result<Arc<str>, String> {
        match self.pop()? {
            Value::Scalar(Scalar::Text(text)) => Ok(text),
            _ => Err("a name that is no text".to_owned()),
        }
    }

    fn scalar(&mut self, scalar: Scalar) {
        self.stack.push(Value::Scalar(scalar));
    }

    fn integer(&mut self, bytes: usize) -> Result<(), String> {
        let value = self.take(bytes)?.iter().rev().fold(0i64, |value, &byte| value << 8 | i64::from(byte));
        self.scalar(Scalar::Integer(value));
        Ok(())
    }

    fn long(&mut self) -> Result<(), String> {
        let count = self.take(1)?[0].into();
        let bytes = self.take(count)?;
        if count > 8 {
            return Err("an integer of more than 64 bits".to_owned());
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut word = if negative { [0xff; 8] } else { [0; 8] };
        word[..count].copy_from_slice(bytes);
        self.scalar(Scalar::Integer(i64::from_le_bytes(word)));
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let length = self.take(width)?.iter().rev().fold(0u64, |length, &byte| length << 8 | u64::from(byte));
        let length = usize::try_from(length).map_err(|error| error.to_string())?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|error| error.to_string())?.into();
        self.scalar(Scalar::Text(text));
        Ok(())
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push_tuple(items)
    }

    fn push_tuple(&mut self, items: Vec<Value>) -> Result<(), String> {
        let depth = 1 + items.iter().map(depth).max().unwrap_or(0);
        if depth > MOST_DEPTH {
            return Err(format!("values within values more than {MOST_DEPTH} deep"));
        }
        self.stack.push(Value::Tuple(Rc::new(items), depth));
        Ok(())
    }

    /// Pops the values above the last mark.
    fn marked(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark)).ok_or("items without a mark")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<(), String> {
        if items.iter().map(depth).max().unwrap_or(0) >= MOST_DEPTH {
            return Err(format!("values within values more than {MOST_DEPTH} deep"));
        }
        let Some(Value::Dictionary(pairs)) = self.stack.last_mut() else {
            return Err("items for something that is no dictionary".to_owned());
        };
        let mut items = items.into_iter();
        while let Some(key) = items.next() {
            pairs.push((key, items.next().ok_or("a key without a value")?));
        }
        Ok(())
    }

    fn remember(&mut self, place: u32) -> Result<(), String> {
        let value = match self.stack.last() {
            None | Some(Value::Mark) => return Err("nothing to remember".to_owned()),
            // A container filled later is never recalled.
            Some(Value::Dictionary(_)) => Value::Other,
            Some(value) => value.clone(),
        };
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), String> {
        let value = self.memo.get(&place).cloned().ok_or_else(|| format!("nothing was remembered as {place}"))?;
        self.stack.push(value);
        Ok(())
    }

    fn name(&mut self, module: &str, name: &str) -> Result<(), String> {
        let known = match (module, name) {
            ("collections", "OrderedDict") => Name::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Name::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Name::RebuildParameter,
            ("torch", "FloatStorage") => Name::StorageType(Kind::Float),
            ("torch", "DoubleStorage") => Name::StorageType(Kind::Double),
            ("torch", "HalfStorage") => Name::StorageType(Kind::Half),
            ("torch", "BFloat16Storage") => Name::StorageType(Kind::BFloat16),
            ("torch", "LongStorage") => Name::StorageType(Kind::Int64),
            ("torch", "IntStorage") => Name::StorageType(Kind::Int),
            _ => {
                return Err(format!("{module}.{name}, which is no part of a dictionary of tensors: it could run code"));
            }
        };
        self.stack.push(Value::Name(known));
        Ok(())
    }

    /// Handles `("storage", type, key, location, elements)`.
    fn persistent(&mut self) -> Result<(), String> {
        let Value::Tuple(items, _) = self.pop()? else { return Err("a reference to no storage".to_owned()) };
        match &items[..] {
            [
                Value::Scalar(Scalar::Text(word)),
                Value::Name(Name::StorageType(kind)),
                Value::Scalar(Scalar::Text(key)),
                ..,
            ] if &**word == "storage" => {
                self.stack.push(Value::Storage(Storage { kind: *kind, key: key.clone() }));
                Ok(())
            }
            _ => Err("a reference to no storage".to_owned()),
        }
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Tuple(arguments, _), Value::Name(function)) = (arguments, function) else {
            return Err("a call of something that is no known name".to_owned());
        };
        let value = match (function, &arguments[..]) {
            (Name::OrderedDict, []) => Value::Dictionary(Vec::new()),
            (Name::RebuildTensor, [Value::Storage(storage), offset, shape, strides, ..]) => Value::Tensor {
                storage: storage.clone(),
                offset: size(offset)?,
                shape: sizes(shape)?,
                strides: sizes(strides)?,
            },
            (Name::RebuildParameter, [tensor @ Value::Tensor { .. }, ..]) => tensor.clone(),
            _ => return Err(format!("a call of {function} with arguments that torch.save does not write")),
        };
        self.stack.push(value);
        Ok(())
    }

    /// Ignores the attributes of a dictionary, in which a state dict stores its version.
    fn build(&mut self) -> Result<(), String> {
        self.pop()?;
        match self.stack.last() {
            Some(Value::Dictionary(_)) => Ok(()),
            _ => Err("attributes for something that is no dictionary".to_owned()),
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Tuple(_, depth) => *depth,
        Value::Dictionary(pairs) => {
            1 + pairs.iter().map(|(key, value)| depth(key).max(depth(value))).max().unwrap_or(0)
        }
        _ => 0,
    }
}

fn size(value: &Value) -> Result<usize, String> {
    match value {
        Value::Scalar(Scalar::Integer(size)) => usize::try_from(*size).map_err(|_| format!("a size of {size}")),
        _ => Err("a size that is no integer".to_owned()),
    }
}

fn sizes(value: &Value) -> Result<Vec<usize>, String> {
    match value {
        Value::Tuple(items, _) if items.len() <= 8 => items.iter().map(size).collect(),
        _ => Err("a shape that is no tuple of up to eight sizes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        read(bytes).unwrap_err()
    }

    #[test]
    fn a_pickle_that_would_run_a_command_is_refused_by_name() {
        // What pickle.dumps writes for an object whose __reduce__ is (os.system, ("id",)).
        assert!(refused(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.").contains("posix.system"));
        assert!(refused(b"cos\nsystem\n(X\x02\x00\x00\x00idtR.").contains("os.system"));
        assert!(refused(b"cbuiltins\neval\n.").contains("builtins.eval"));
    }

    #[test]
    fn opcodes_that_are_not_needed_are_refused_by_number() {
        for opcode in [b'i', b'o', 0x81, 0x92, b'P', 0x8f, b'V', b'I'] {
            assert!(refused(&[opcode, 0, 0]).contains(&format!("{opcode:#04x}")), "{opcode:#04x}");
        }
    }

    #[test]
    fn what_is_cut_short_or_nested_without_end_is_refused() {
        for bytes in [
            &b""[..],
            b"\x80",
            b"X\xff\xff\xff\xff",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa",
            b"h\x07.",
            b"u.",
            b"}(K\x01u.",
        ] {
            refused(bytes);
        }
        let mut deep = b")".to_vec();
        deep.extend([0x85].repeat(1_000_000));
        assert!(refused(&deep).contains("deep"));
        let mut wide = b"}".to_vec();
        wide.extend(b"}K\x01".repeat(10_000));
        refused(&wide);
    }

    #[test]
    fn dictionaries_of_numbers_and_texts_are_read() {
        // {"k": 300, "activation": "TopK", "x": 0.5, "y": -1, "z": {}}
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00kq\x01M,\x01X\x0a\x00\x00\x00activationq\x02X\x04\x00\x00\x00TopKq\x03\
                      X\x01\x00\x00\x00xG\x3f\xe0\x00\x00\x00\x00\x00\x00X\x01\x00\x00\x00y\x8a\x01\xffX\x01\x00\x00\x00z}u.";
        let Value::Dictionary(pairs) = read(bytes).unwrap() else { panic!("expected a dictionary") };
        let scalars: Vec<_> = pairs
            .iter()
            .filter_map(|(_, value)| if let Value::Scalar(scalar) = value { Some(scalar.clone()) } else { None })
            .collect();
        let text = Scalar::Text("TopK".into());
        assert_eq!(scalars, [Scalar::Integer(300), text, Scalar::Number(0.5), Scalar::Integer(-1)]);
    }
}
