//! Header of a NumPy array file: a Python dictionary with the keys `descr`, `fortran_order` and `shape`, once each, in
//! any order.

/// The most dimensions: NumPy's own limit is 64.
const MAX_DIMENSIONS: usize = 64;

/// What a header states.
#[derive(Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The elements' type.
    pub descr: &'a str,
    /// Whether the first dimension is the fastest.
    pub fortran_order: bool,
    /// The dimensions.
    pub shape: Vec<usize>,
}

/// A part of the header, or what stands there instead.
type Parsed<T> = Result<T, String>;

impl<'a> Header<'a> {
    /// Parses the text.
    ///
    /// # Errors
    /// What was found.
    pub fn parse(text: &'a str) -> Parsed<Self> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        let mut cursor = Cursor(text);
        cursor.expect('{')?;
        while !cursor.eat('}') {
            let key = cursor.string()?;
            cursor.expect(':')?;
            let repeated = match key {
                "descr" => descr.replace(cursor.string()?).is_some(),
                "fortran_order" => fortran_order.replace(cursor.boolean()?).is_some(),
                "shape" => shape.replace(cursor.tuple()?).is_some(),
                _ => return Err(format!("the key {key:.20}")),
            };
            if repeated {
                return Err(format!("the key {key} twice"));
            }
            if !cursor.eat(',') {
                cursor.expect('}')?;
                break;
            }
        }
        if !cursor.0.trim_matches([' ', '\n']).is_empty() {
            return Err(cursor.found());
        }
        let missing = |key: &str| format!("no {key}");
        Ok(Self {
            descr: descr.ok_or_else(|| missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }
}

/// The text that is left.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    /// Takes this character, after spaces, if it is next.
    fn eat(&mut self, character: char) -> bool {
        self.0 = self.0.trim_start_matches(' ');
        let rest = self.0.strip_prefix(character);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, character: char) -> Parsed<()> {
        if self.eat(character) {
            return Ok(());
        }
        Err(self.found())
    }

    /// A string in either kind of quotes, without escapes.
    fn string(&mut self) -> Parsed<&'a str> {
        let quote = ['\'', '"'].into_iter().find(|&quote| self.eat(quote));
        let parts = quote.and_then(|quote| self.0.split_once(quote));
        let (string, rest) = parts.ok_or_else(|| self.found())?;
        if string.contains('\\') {
            return Err("a backslash".into());
        }
        self.0 = rest;
        Ok(string)
    }

    fn boolean(&mut self) -> Parsed<bool> {
        self.0 = self.0.trim_start_matches(' ');
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err(self.found())
    }

    /// A tuple of lengths; that of one has a comma.
    fn tuple(&mut self) -> Parsed<Vec<usize>> {
        let mut lengths = Vec::new();
        self.expect('(')?;
        while !self.eat(')') {
            if lengths.len() == MAX_DIMENSIONS {
                return Err(format!("more than {MAX_DIMENSIONS} dimensions"));
            }
            lengths.push(self.length()?);
            if !self.eat(',') {
                // `(3)` is a number in Python.
                if lengths.len() < 2 {
                    return Err(self.found());
                }
                self.expect(')')?;
                break;
            }
        }
        Ok(lengths)
    }

    fn length(&mut self) -> Parsed<usize> {
        self.0 = self.0.trim_start_matches(' ');
        let end = self.0.find(|c: char| !c.is_ascii_digit());
        let (digits, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        if digits.is_empty() {
            return Err(self.found());
        }
        let too_large = |_| format!("the length {digits:.30}, of more than 64 bits,");
        let length = digits.parse().map_err(too_large)?;
        self.0 = rest;
        Ok(length)
    }

    /// What is next, for a message.
    fn found(&self) -> String {
        match self.0.trim() {
            "" => "the end".into(),
            rest => format!("{rest:.20}"),
        }
    }
}
