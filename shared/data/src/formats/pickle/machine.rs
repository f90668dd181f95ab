//! Pickle machine for plain data and NumPy arrays of bytes, protocols 0 to 4
//! (<https://docs.python.org/3/library/pickletools.html>).
//!
//! A pickle is a program for a stack machine. This one executes the opcodes that build dicts, lists, tuples, strings
//! and integers; the few callables that it knows (see [`Callable`]) are functions of its own, and every other
//! callable and opcode is refused. Values lie in an arena and refer to each other by index: nested, shared and cyclic
//! values cost neither recursion nor copies. Work and memory are bounded by [`MAX_OPCODES`] and the size of the file.

use std::{borrow::Cow, collections::HashMap};

use super::{
    PLAIN_DATA,
    input::{Input, opcode_name, printable},
    numpy, text,
    value::{Callable, Id, Pickle, Value},
};
use base::{Error, Result};

/// The most opcodes executed; the largest published file, CIFAR-100's `train`, has some 200,000.
const MAX_OPCODES: usize = 2_000_000;

/// The highest protocol that is read.
const MAX_PROTOCOL: u8 = 4;

/// Reads a pickle; `what` is the file in messages.
///
/// # Errors
/// [`Error::Data`] with the position of what is wrong or not supported.
pub fn read<'a>(what: &'a str, bytes: &'a [u8]) -> Result<Pickle<'a>> {
    let mut machine = Machine {
        input: Input::new(what, bytes),
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        decoded: 0,
    };
    for _ in 0..MAX_OPCODES {
        if let Some(root) = machine.execute()? {
            let values = machine.values;
            return Ok(Pickle { values, root });
        }
    }
    Err(machine.refused("more opcodes", &format!("at most {MAX_OPCODES}")))
}

struct Machine<'a> {
    input: Input<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Lengths of the stack where marks were set.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Bytes of strings that are no slices of the file.
    decoded: usize,
}

impl<'a> Machine<'a> {
    /// Executes the next opcode; the result of the pickle once it is complete.
    fn execute(&mut self) -> Result<Option<Id>> {
        let [opcode] = self.input.fixed()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            0x80 => self.protocol()?,
            // A frame only says how much to read ahead.
            0x95 => drop(self.input.take(8)?),
            b'(' => self.marks.push(self.stack.len()),

            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'I' | b'L' => {
                let line = self.input.line()?;
                self.literal(text::integer(line))?;
            }
            b'J' => {
                let value = i32::from_le_bytes(self.input.fixed()?);
                self.push(Value::Int(value.into()));
            }
            b'K' | b'M' => {
                let value = self.input.length(if opcode == b'K' { 1 } else { 2 })?;
                self.push(Value::Int(value as i64));
            }
            0x8a => {
                let value = self.input.long()?;
                self.push(Value::Int(value));
            }

            b'S' => {
                let line = self.input.line()?;
                let bytes = text::quoted(line);
                self.decoded(bytes.as_ref().map_or(0, Vec::len))?;
                self.literal(bytes.map(|bytes| Value::Bytes(Cow::Owned(bytes))))?;
            }
            b'U' | b'C' => self.byte_string(1)?,
            b'T' | b'B' => self.byte_string(4)?,
            0x8e => self.byte_string(8)?,
            b'V' => {
                let line = self.input.line()?;
                let text = text::raw_unicode_escape(line);
                self.decoded(text.as_ref().map_or(0, String::len))?;
                self.literal(text.map(|text| Value::Text(Cow::Owned(text))))?;
            }
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,

            b')' => self.push(Value::Tuple(Vec::new())),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push(Value::Tuple(items));
            }
            b']' => self.push(Value::List(Vec::new())),
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items));
            }
            b'a' => {
                let items = self.pop_many(1)?;
                self.append(items)?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()));
                self.insert(&items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.insert(&items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(&items)?;
            }

            b'p' | b'g' => {
                let line = self.input.line()?;
                let key = std::str::from_utf8(line).ok().and_then(|s| s.parse().ok());
                let key = key.ok_or_else(|| self.refused("a broken memo key", "a number"))?;
                self.put_or_get(opcode == b'p', key)?;
            }
            b'q' | b'h' => {
                let key = self.input.length(1)?;
                self.put_or_get(opcode == b'q', key)?;
            }
            b'r' | b'j' => {
                let key = self.input.length(4)?;
                self.put_or_get(opcode == b'r', key)?;
            }
            0x94 => self.put_or_get(true, self.memo.len() as u64)?,

            b'c' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.callable(module, name)?;
            }
            0x93 => {
                let names = self.pop_many(2)?;
                let names = [names[0], names[1]].map(|id| self.values[id].string());
                let [module, name] = names.map(|name| name.unwrap_or_default().to_vec());
                self.callable(&module, &name)?;
            }
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            _ => return Err(self.refused(&opcode_name(opcode), PLAIN_DATA)),
        }
        Ok(None)
    }

    fn protocol(&mut self) -> Result<()> {
        let [protocol] = self.input.fixed()?;
        if protocol > MAX_PROTOCOL {
            let found = format!("pickle protocol {protocol}");
            return Err(self.refused(&found, &format!("0 to {MAX_PROTOCOL}")));
        }
        Ok(())
    }

    /// Bytes after a length of `width` bytes.
    fn byte_string(&mut self, width: usize) -> Result<()> {
        let length = self.input.length(width)?;
        let bytes = self.input.take(length)?;
        self.push(Value::Bytes(Cow::Borrowed(bytes)));
        Ok(())
    }

    /// UTF-8 text after a length of `width` bytes.
    fn text(&mut self, width: usize) -> Result<()> {
        let length = self.input.length(width)?;
        let text = std::str::from_utf8(self.input.take(length)?).ok();
        self.literal(text.map(|text| Value::Text(Cow::Borrowed(text))))
    }

    fn literal(&mut self, value: Option<Value<'a>>) -> Result<()> {
        let value = value.ok_or_else(|| self.refused("a broken literal", "a number or a string"));
        self.push(value?);
        Ok(())
    }

    /// Appends to the list on top of the stack.
    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(list) => list.extend(items),
            _ => return Err(self.refused("items for no list", "a list")),
        }
        Ok(())
    }

    /// Inserts keys and values, in turn, into the dict on top of the stack.
    fn insert(&mut self, items: &[Id]) -> Result<()> {
        let top = self.top()?;
        match (&mut self.values[top], items.as_chunks()) {
            (Value::Dict(entries), (pairs, [])) => {
                entries.extend(pairs.iter().map(|[key, value]| (*key, *value)));
            }
            _ => return Err(self.refused("items for no dict", "a dict, keys and values")),
        }
        Ok(())
    }

    /// Puts the top of the stack into the memo, or pushes what was put there.
    fn put_or_get(&mut self, put: bool, key: u64) -> Result<()> {
        if put {
            let top = self.top()?;
            self.memo.insert(key, top);
        } else {
            let id = self.memo.get(&key).copied();
            let id = id.ok_or_else(|| self.refused("an empty memo entry", "an earlier value"));
            self.stack.push(id?);
        }
        Ok(())
    }

    /// Pushes the callable of this name; every unknown one is refused before it could be called.
    fn callable(&mut self, module: &[u8], name: &[u8]) -> Result<()> {
        let callable = Callable::named(module, name).ok_or_else(|| {
            let [module, name] = [module, name].map(printable);
            self.refused(&format!("the callable {module}.{name}"), PLAIN_DATA)
        })?;
        self.push(Value::Callable(callable));
        Ok(())
    }

    /// Replaces a callable and its arguments by the result of the call.
    fn reduce(&mut self) -> Result<()> {
        let call = self.pop_many(2)?;
        let result = numpy::call(&self.values, call[0], call[1]);
        let result = result.map_err(|(found, expected)| self.refused(&found, expected))?;
        if let Value::Bytes(bytes) = &result {
            self.decoded(bytes.len())?;
        }
        self.push(result);
        Ok(())
    }

    /// Sets the state of the array or dtype on top of the stack.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let top = self.top()?;
        let array = match (&self.values[top], &self.values[state]) {
            (Value::ByteType, Value::Tuple(_)) => return Ok(()),
            (Value::Array(None), Value::Tuple(state)) => numpy::array(&self.values, state),
            _ => return Err(self.refused("a state of no array or dtype", PLAIN_DATA)),
        };
        let array = array.map_err(|(found, expected)| self.refused(&found, expected))?;
        self.values[top] = Value::Array(Some(array));
        Ok(())
    }
}

/// Memory and stack.
impl<'a> Machine<'a> {
    /// Counts bytes that are decoded into memory of their own. What is written once is decoded at most twice, as
    /// UTF-8 text and then as Latin-1; more is a value that is decoded again and again.
    fn decoded(&mut self, bytes: usize) -> Result<()> {
        self.decoded += bytes;
        if self.decoded > 4 * self.input.len() {
            return Err(self.refused("strings that grow", "at most four times the file"));
        }
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    /// Values on the stack above the last mark.
    fn depth(&self) -> usize {
        self.stack.len() - self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id> {
        let top = self.stack.last().filter(|_| self.depth() > 0).copied();
        top.ok_or_else(|| self.refused("an empty stack", "a value"))
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The last `count` values.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>> {
        if self.depth() < count {
            return Err(self.refused("an empty stack", "a value"));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop();
        let mark = mark.ok_or_else(|| self.refused("no mark", "the start of the items"))?;
        Ok(self.stack.split_off(mark))
    }

    fn refused(&self, found: &str, expected: &str) -> Error {
        self.input.refused(found, expected)
    }
}
