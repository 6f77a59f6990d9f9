//! JSON by the grammar of RFC 8259, as a tree that keeps the text and repeated names.

/// A value.
#[derive(Debug)]
pub enum Value {
    Null,
    Bool(bool),
    /// As it is in the text.
    Number(String),
    Text(Text),
    Array(Vec<Value>),
    Object(Object),
}

/// A string.
#[derive(Debug)]
pub struct Text {
    /// As it is in the text, with its quotes.
    pub raw: String,
    /// Its meaning.
    pub text: String,
}

/// Members in the order of the text.
pub type Object = Vec<(Text, Value)>;

/// How deep values may be nested.
const DEPTH: usize = 127;

/// A text that is one object.
pub fn object(bytes: &[u8]) -> Option<Object> {
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    let mut parser = Parser { text: text.chars().collect(), at: 0 };
    let value = parser.value(0)?;
    if parser.at != parser.text.len() {
        return None;
    }
    if let Value::Object(members) = value { Some(members) } else { None }
}

impl Value {
    /// The string, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(&text.text) } else { None }
    }
}

/// The values of all members of that name.
pub fn all<'o>(object: &'o Object, name: &str) -> Vec<&'o Value> {
    object.iter().filter(|(it, _)| it.text == name).map(|(_, value)| value).collect()
}

struct Parser {
    text: Vec<char>,
    at: usize,
}

impl Parser {
    /// A value with the white space around it.
    fn value(&mut self, depth: usize) -> Option<Value> {
        self.space();
        let value = match self.peek()? {
            'n' => self.word("null", Value::Null)?,
            't' => self.word("true", Value::Bool(true))?,
            'f' => self.word("false", Value::Bool(false))?,
            '"' => Value::Text(self.string()?),
            '[' => Value::Array(self.list(depth, ']', |parser| parser.value(depth + 1))?),
            '{' => Value::Object(self.list(depth, '}', |parser| parser.member(depth + 1))?),
            _ => Value::Number(self.number()?),
        };
        self.space();
        Some(value)
    }

    fn list<T>(
        &mut self,
        depth: usize,
        end: char,
        item: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        if depth == DEPTH {
            return None;
        }
        self.at += 1;
        self.space();
        let mut items = Vec::new();
        if self.take(end) {
            return Some(items);
        }
        loop {
            items.push(item(self)?);
            if self.take(end) {
                return Some(items);
            }
            self.expect(',')?;
        }
    }

    fn member(&mut self, depth: usize) -> Option<(Text, Value)> {
        self.space();
        let name = self.string()?;
        self.space();
        self.expect(':')?;
        Some((name, self.value(depth)?))
    }

    fn string(&mut self) -> Option<Text> {
        let start = self.at;
        self.expect('"')?;
        let mut units = Vec::new();
        loop {
            let unit = match self.next()? {
                '"' => break,
                '\\' => match self.next()? {
                    'b' => 0x08,
                    't' => 0x09,
                    'n' => 0x0a,
                    'f' => 0x0c,
                    'r' => 0x0d,
                    it @ ('"' | '\\' | '/') => it as u16,
                    'u' => self.hex()?,
                    _ => return None,
                },
                '\0'..='\x1f' => return None,
                plain => {
                    units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
                    continue;
                }
            };
            units.push(unit);
        }
        let raw = self.text[start..self.at].iter().collect();
        Some(Text { raw, text: String::from_utf16(&units).ok()? })
    }

    fn hex(&mut self) -> Option<u16> {
        (0..4).try_fold(0, |sum, _| Some(sum << 4 | self.next()?.to_digit(16)? as u16))
    }

    /// Nothing that a double cannot hold.
    fn number(&mut self) -> Option<String> {
        let start = self.at;
        self.take('-');
        if !self.take('0') {
            self.digits()?;
        }
        if self.take('.') {
            self.digits()?;
        }
        if self.take('e') || self.take('E') {
            let _ = self.take('+') || self.take('-');
            self.digits()?;
        }
        let number: String = self.text[start..self.at].iter().collect();
        number.parse::<f64>().ok()?.is_finite().then_some(number)
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|it| it.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        word.chars().try_for_each(|it| self.expect(it))?;
        Some(value)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: char) -> Option<()> {
        self.take(wanted).then_some(())
    }
}
