//! Messages of the D-Bus wire protocol: writing calls, and reading replies and signals. Calls are little-endian;
//! messages that are read may have either byte order. The format is in the D-Bus specification, section "Message
//! Protocol".
//!
//! Received bytes are not trusted: every length is checked against the available bytes before anything is read.

/// The largest message that is read, in bytes. The state of a thousand units takes 300 KB.
pub(super) const MESSAGE_LIMIT: usize = 8 * 1024 * 1024;

/// The length of the fixed start of a message. It ends with the length of the header fields.
pub(super) const START: usize = 16;

const METHOD_CALL: u8 = 1;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A message that breaks the protocol, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message is malformed: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The kinds of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The answer to a call.
    Reply,
    /// The refusal of a call.
    Error,
    /// A signal, sent to every subscriber.
    Signal,
    /// A call to this client, or a newer kind. It is ignored.
    Other,
}

/// A message that was read.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The kind.
    pub(crate) kind: Kind,
    /// The number of the call that it answers. 0: none.
    pub(crate) reply_to: u32,
    /// The name of the error. Empty: none.
    pub(crate) error: String,
    /// The name of the signal. Empty: none.
    pub(crate) member: String,
    signature: String,
    body: Vec<u8>,
    big: bool,
}

/// A call to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    destination: Option<&'a str>,
    path: &'a str,
    interface: &'a str,
    member: &'a str,
    signature: String,
    body: Writer,
}

/// The bytes of values, each aligned for its type.
#[derive(Clone, Debug, Default)]
struct Writer(Vec<u8>);

/// Reads values from the bytes of a message.
#[derive(Clone, Debug)]
pub(crate) struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Call<'a> {
    /// Makes a call without arguments. A destination is needed only on a bus.
    pub(crate) fn new(
        destination: Option<&'a str>,
        path: &'a str,
        interface: &'a str,
        member: &'a str,
    ) -> Self {
        Self { destination, path, interface, member, signature: String::new(), body: Writer::default() }
    }

    /// Adds a text.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.signature.push('s');
        self.body.text(text);
        self
    }

    /// Adds a boolean.
    pub(crate) fn flag(mut self, flag: bool) -> Self {
        self.signature.push('b');
        self.body.number(u32::from(flag));
        self
    }

    /// Adds several texts.
    pub(crate) fn texts<S: AsRef<str>>(mut self, texts: &[S]) -> Self {
        self.signature.push_str("as");
        self.body.array(4, |body| texts.iter().for_each(|text| body.text(text.as_ref())));
        self
    }

    /// Encodes the message with its number.
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut message = Writer(vec![b'l', METHOD_CALL, 0, 1]);
        message.number(length(self.body.0.len()));
        message.number(serial);
        message.array(8, |fields| {
            fields.field(PATH, "o", self.path);
            fields.field(INTERFACE, "s", self.interface);
            fields.field(MEMBER, "s", self.member);
            if let Some(destination) = self.destination {
                fields.field(DESTINATION, "s", destination);
            }
            if !self.signature.is_empty() {
                fields.align(8);
                fields.0.push(SIGNATURE);
                fields.signature("g");
                fields.signature(&self.signature);
            }
        });
        message.align(8);
        message.0.extend_from_slice(&self.body.0);
        message.0
    }
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(length(text.len()));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(signature.as_bytes());
        self.0.push(0);
    }

    /// Writes a header field: its number, and a variant of one text.
    fn field(&mut self, number: u8, signature: &str, text: &str) {
        self.align(8);
        self.0.push(number);
        self.signature(signature);
        self.text(text);
    }

    /// Writes an array whose elements are aligned to `element`. Its length does not count the padding before the
    /// first element.
    fn array(&mut self, element: usize, fill: impl FnOnce(&mut Self)) {
        self.number(0);
        let place = self.0.len() - 4;
        self.align(element);
        let start = self.0.len();
        fill(self);
        let bytes = length(self.0.len() - start).to_le_bytes();
        self.0[place..place + 4].copy_from_slice(&bytes);
    }
}

/// Returns a length on the wire. Messages of this client are far below the limit.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Returns the length of the whole message that begins with `start`.
pub(super) fn whole_length(start: &[u8; START]) -> Result<usize, Malformed> {
    let big = is_big(start[0])?;
    if start[3] != 1 {
        return Err(Malformed("not version 1 of the protocol"));
    }
    let read = |at: usize| Values { bytes: start, at, big }.number();
    let (body, fields) = (read(4)? as usize, read(12)? as usize);
    let header = START.saturating_add(fields).checked_next_multiple_of(8);
    match header.and_then(|header| header.checked_add(body)) {
        Some(whole) if whole <= MESSAGE_LIMIT => Ok(whole),
        _ => Err(Malformed("longer than 8 MiB")),
    }
}

fn is_big(mark: u8) -> Result<bool, Malformed> {
    match mark {
        b'l' => Ok(false),
        b'B' => Ok(true),
        _ => Err(Malformed("no mark of the byte order")),
    }
}

impl Message {
    /// Reads a message of the length in its start.
    pub(super) fn decode(mut bytes: Vec<u8>) -> Result<Self, Malformed> {
        let big = is_big(*bytes.first().ok_or(Malformed("empty"))?)?;
        let kind = match bytes.get(1) {
            Some(2) => Kind::Reply,
            Some(3) => Kind::Error,
            Some(4) => Kind::Signal,
            _ => Kind::Other,
        };
        let mut message = Self {
            kind,
            reply_to: 0,
            error: String::new(),
            member: String::new(),
            signature: String::new(),
            body: Vec::new(),
            big,
        };
        let mut values = Values { bytes: &bytes, at: 12, big };
        let end = values.array(8)?;
        while values.at < end {
            message.field(&mut values)?;
        }
        values.align(8)?;
        let body = values.at;
        message.body = bytes.split_off(body);
        Ok(message)
    }

    fn field(&mut self, values: &mut Values<'_>) -> Result<(), Malformed> {
        values.align(8)?;
        let number = values.byte()?;
        let signature = values.signature()?;
        match (number, signature) {
            (MEMBER, "s") => self.member = values.text()?.to_owned(),
            (ERROR_NAME, "s") => self.error = values.text()?.to_owned(),
            (REPLY_SERIAL, "u") => self.reply_to = values.number()?,
            (SIGNATURE, "g") => self.signature = values.signature()?.to_owned(),
            (_, "s" | "o") => drop(values.text()?),
            (_, "u") => drop(values.number()?),
            (_, "g") => drop(values.signature()?),
            _ => return Err(Malformed("a header field of an unknown type")),
        }
        Ok(())
    }

    /// Returns the values, if they have the types in `signature`.
    pub(crate) fn values(&self, signature: &str) -> Result<Values<'_>, Malformed> {
        if self.signature == signature {
            Ok(Values { bytes: &self.body, at: 0, big: self.big })
        } else {
            Err(Malformed("an answer of another type than the call has"))
        }
    }

    /// Returns the message of an error for people.
    pub(crate) fn complaint(&self) -> String {
        let text = if self.signature.starts_with('s') {
            Values { bytes: &self.body, at: 0, big: self.big }.text().unwrap_or_default()
        } else {
            ""
        };
        if text.is_empty() { self.error.clone() } else { text.to_owned() }
    }
}

impl<'a> Values<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed("a length overflows"))?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed("it ends too early"))?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<(), Malformed> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    /// Reads an unsigned 32-bit number, or a boolean.
    pub(crate) fn number(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed("it ends too early"))?;
        Ok(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Reads an unsigned 64-bit number.
    pub(crate) fn long(&mut self) -> Result<u64, Malformed> {
        self.align(8)?;
        let bytes = self.take(8)?.try_into().map_err(|_| Malformed("it ends too early"))?;
        Ok(if self.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// Reads a text, or the path of an object.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.number()? as usize;
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).map_err(|_| Malformed("a text is not UTF-8"))
    }

    fn signature(&mut self) -> Result<&'a str, Malformed> {
        let length = self.byte()? as usize;
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).map_err(|_| Malformed("a signature is not ASCII"))
    }

    /// Reads the start of an array whose elements are aligned to `element`. Returns where the array ends.
    fn array(&mut self, element: usize) -> Result<usize, Malformed> {
        let length = self.number()? as usize;
        self.align(element)?;
        match self.at.checked_add(length) {
            Some(end) if end <= self.bytes.len() => Ok(end),
            _ => Err(Malformed("an array is longer than its message")),
        }
    }

    /// Reads the elements of an array, each by `one`. `alignment` is that of their type.
    pub(crate) fn each<T>(
        &mut self,
        alignment: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let end = self.array(alignment)?;
        let mut elements = Vec::new();
        while self.at < end {
            let before = self.at;
            self.align(alignment)?;
            elements.push(one(self)?);
            if self.at <= before {
                return Err(Malformed("an array of nothing"));
            }
        }
        Ok(elements)
    }

    /// Reads several texts.
    pub(crate) fn texts(&mut self) -> Result<Vec<String>, Malformed> {
        self.each(4, |values| values.text().map(str::to_owned))
    }

    /// Reads bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.number()? as usize;
        self.take(length)
    }

    /// Enters a variant, if it has the type in `signature`.
    pub(crate) fn variant(&mut self, signature: &str) -> Result<(), Malformed> {
        if self.signature()? == signature {
            Ok(())
        } else {
            Err(Malformed("a property of another type than it has"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns a reply with one body, as the other side writes it.
    fn reply(signature: &str, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut body = Writer::default();
        fill(&mut body);
        let mut message = Writer(vec![b'l', 2, 0, 1]);
        message.number(length(body.0.len()));
        message.number(9);
        message.array(8, |fields| {
            fields.align(8);
            fields.0.push(REPLY_SERIAL);
            fields.signature("u");
            fields.number(7);
            fields.field(7, "s", ":1.4");
            fields.align(8);
            fields.0.push(SIGNATURE);
            fields.signature("g");
            fields.signature(signature);
        });
        message.align(8);
        message.0.extend_from_slice(&body.0);
        message.0
    }

    #[test]
    fn a_call_has_the_bytes_of_the_specification() {
        let call = Call::new(Some("a.b"), "/o", "i.f", "M").text("x").flag(true).texts(&["yz"]);
        let bytes = call.encode(5);
        let start: [u8; START] = bytes[..START].try_into().unwrap();
        assert_eq!(&start[..4], b"l\x01\x00\x01");
        assert_eq!(start[8], 5);
        assert_eq!(whole_length(&start).unwrap(), bytes.len());
        let body = start[4] as usize;
        assert_eq!(
            &bytes[bytes.len() - body..],
            b"\x01\0\0\0x\0\0\0\x01\0\0\0\x07\0\0\0\x02\0\0\0yz\0",
            "text, padding, boolean, length of the array, its text"
        );
    }

    #[test]
    fn a_reply_is_read_by_its_types() {
        let bytes = reply("asu", |body| {
            body.array(4, |body| ["one", "two"].iter().for_each(|text| body.text(text)));
            body.number(3);
        });
        let message = Message::decode(bytes).unwrap();
        assert_eq!((message.kind, message.reply_to), (Kind::Reply, 7));
        assert_eq!(
            message.values("s").unwrap_err(),
            Malformed("an answer of another type than the call has")
        );
        let mut values = message.values("asu").unwrap();
        assert_eq!(values.texts().unwrap(), ["one", "two"]);
        assert_eq!(values.number().unwrap(), 3);
        assert!(values.number().is_err(), "nothing is left");
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_taken() {
        let mut start = [0; START];
        start[..4].copy_from_slice(b"l\x02\x00\x01");
        let mut check = |body: u32, fields: u32, fine: bool| {
            start[4..8].copy_from_slice(&body.to_le_bytes());
            start[12..16].copy_from_slice(&fields.to_le_bytes());
            assert_eq!(whole_length(&start).is_ok(), fine, "{body} {fields}");
        };
        check(0, 0, true);
        check(1 << 20, 100, true);
        check(u32::MAX, u32::MAX, false);
        check(0, 1 << 30, false);
        let bytes = reply("as", |body| body.number(u32::MAX));
        assert!(Message::decode(bytes).unwrap().values("as").unwrap().texts().is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..120, to: u8) {
            let mut damaged = reply("a(so)v", |body| body.array(8, |body| body.text("unit")));
            if let Some(byte) = damaged.get_mut(at) {
                *byte = to;
            }
            if let Some(first) = bytes.first_mut() {
                *first = b'l';
            }
            for bytes in [bytes, damaged] {
                if let Ok(message) = Message::decode(bytes) {
                    let mut values = Values { bytes: &message.body, at: 0, big: message.big };
                    let _ = values.each(8, |values| Ok((values.text()?, values.text()?)));
                    let _ = values.variant("as").and_then(|()| values.texts());
                    let _ = message.complaint();
                }
            }
        }
    }
}
