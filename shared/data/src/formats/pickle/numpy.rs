//! Calls in a pickle by which NumPy rebuilds an array, and by which Python 3 writes bytes in protocols 0 to 2.

use std::borrow::Cow;

use super::{
    PLAIN_DATA,
    value::{ByteArray, Callable, Id, Value},
};

/// What was found and what was expected.
type Refusal = (String, &'static str);

/// The result of calling the value `callable` with the tuple `arguments`.
pub fn call<'a>(
    values: &[Value<'a>],
    callable: Id,
    arguments: Id,
) -> std::result::Result<Value<'a>, Refusal> {
    let (Value::Callable(callable), Value::Tuple(arguments)) =
        (&values[callable], &values[arguments])
    else {
        return Err(("a call of no callable".into(), PLAIN_DATA));
    };
    let argument = |index: usize| arguments.get(index).map(|&id| &values[id]);
    match (callable, argument(0), argument(1)) {
        (Callable::Reconstruct, Some(Value::Callable(Callable::Ndarray)), _) => {
            Ok(Value::Array(None))
        }
        (Callable::Dtype, Some(name), _) => match name.string() {
            Some(b"u1" | b"|u1") => Ok(Value::ByteType),
            name => {
                let name = String::from_utf8_lossy(name.unwrap_or(b"?"));
                let name: String = name.chars().take(20).collect();
                Err((format!("the dtype {name}"), "u1 (uint8)"))
            }
        },
        (Callable::Encode, Some(Value::Text(text)), Some(codec))
            if codec.string() == Some(b"latin1") =>
        {
            let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
            let bytes = bytes.ok_or_else(|| ("text beyond Latin-1".into(), "Latin-1"))?;
            Ok(Value::Bytes(Cow::Owned(bytes)))
        }
        _ => Err((format!("{callable:?} with other arguments"), PLAIN_DATA)),
    }
}

/// The array of a state: version, shape, dtype, whether in Fortran order, bytes.
pub fn array(values: &[Value], state: &[Id]) -> std::result::Result<ByteArray, Refusal> {
    let &[version, shape, dtype, fortran, data] = state else {
        let found = format!("an array state of {} parts", state.len());
        return Err((found, "5 parts"));
    };
    let Some([rows, columns]) = dimensions(values, shape) else {
        return Err(("an array of another shape".into(), "2 dimensions"));
    };
    let parts = [version, dtype, fortran, data].map(|id| &values[id]);
    let [Value::Int(1), Value::ByteType, order, Value::Bytes(bytes)] = parts else {
        return Err(("an array of other than bytes".into(), "dtype u1 (uint8)"));
    };
    if !matches!(order, Value::Bool(false) | Value::Int(0)) {
        return Err(("an array in Fortran order".into(), "C order"));
    }
    if rows.checked_mul(columns) != Some(bytes.len()) {
        let found = format!("{} bytes of a {rows}x{columns} array", bytes.len());
        return Err((found, "a byte for each element"));
    }
    let shape = [rows, columns];
    Ok(ByteArray { shape, data })
}

/// The dimensions of a shape, if they are two.
fn dimensions(values: &[Value], shape: Id) -> Option<[usize; 2]> {
    let Value::Tuple(lengths) = &values[shape] else {
        return None;
    };
    let &[rows, columns] = lengths.as_slice() else {
        return None;
    };
    match (&values[rows], &values[columns]) {
        (Value::Int(rows), Value::Int(columns)) => Some([
            usize::try_from(*rows).ok()?,
            usize::try_from(*columns).ok()?,
        ]),
        _ => None,
    }
}
