//! Literals of pickle protocol 0: numbers and escaped strings, each on a line of its own.

use super::value::Value;

/// An integer, which may end in `L`, or, as `00` and `01`, a truth value.
pub fn integer(line: &[u8]) -> Option<Value<'static>> {
    match line {
        b"00" => Some(Value::Bool(false)),
        b"01" => Some(Value::Bool(true)),
        _ => {
            let digits = std::str::from_utf8(line.strip_suffix(b"L").unwrap_or(line)).ok()?;
            digits.parse().ok().map(Value::Int)
        }
    }
}

/// A quoted byte string as `repr` of Python 2 writes it.
pub fn quoted(line: &[u8]) -> Option<Vec<u8>> {
    let (&quote, rest) = line.split_first()?;
    let (&end, content) = rest.split_last()?;
    if quote != end || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let mut bytes = Vec::with_capacity(content.len());
    let mut content = content.iter().copied();
    while let Some(byte) = content.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match content.next()? {
            escaped @ (b'\\' | b'\'' | b'"') => escaped,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => u8::try_from(hex(&mut content, 2)?).ok()?,
            _ => return None,
        });
    }
    Some(bytes)
}

/// Text as the codec `raw-unicode-escape` writes it: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub fn raw_unicode_escape(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let digits = match (byte, bytes.peek()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                text.push(char::from(byte));
                continue;
            }
        };
        bytes.next();
        text.push(char::from_u32(hex(&mut bytes, digits)?)?);
    }
    Some(text)
}

/// The next `digits` hexadecimal digits.
fn hex(bytes: &mut impl Iterator<Item = u8>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0, |value: u32, _| {
        let digit = char::from(bytes.next()?).to_digit(16)?;
        Some((value << 4) | digit)
    })
}
