//! MessagePack as Go's codec writes it with its default options, and as
//! liberally as it reads it.
//!
//! Written: structs as maps with sorted field names, strings and bytes both in
//! the old raw family, integers in the shortest unsigned form. Read: also the
//! string and binary families, integers of any width and sign that fit, structs
//! as lists in declaration order, nil for any zero value. No count that a peer
//! declares is ever allocated, and nothing here recurses.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use super::BadMessage;

/// Fields of one struct: Serf's largest has eleven.
const FIELDS_MAX: u64 = 64;
/// Values, nested ones counted, of an unknown field that is passed over. No
/// release of Serf added more than a number or a name.
const VALUES_SKIPPED_MAX: u32 = 4_096;
/// Bytes of a byte string that comes as a list of integers.
const LIST_BYTES_MAX: u64 = 16 << 10;

/// What a struct begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    /// So many pairs of a name and a value.
    Named(u64),
    /// So many values, in declaration order.
    Listed(u64),
}

/// What the first bytes of a value say about the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head itself.
    pub head_bytes: usize,
    /// Bytes of payload that follow at once.
    pub payload_bytes: usize,
    /// Values nested inside, keys counted too.
    pub children: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nil,
    Bool(bool),
    /// Wide enough for both u64 and i64.
    Integer(i128),
    Raw,
    List,
    Map,
    /// Four bytes or eight.
    Float,
    /// Extensions: nothing here reads them, they are only skipped.
    Other,
}

impl Head {
    /// Reads the head of the value that `bytes` begin with; `None` if it is not whole yet.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Head>, BadMessage> {
        let Some((&marker, rest)) = bytes.split_first() else { return Ok(None) };
        // The width of the number behind the marker, where there is one.
        let width = match marker {
            0xc4 | 0xc7 | 0xcc | 0xd0 | 0xd9 => 1,
            0xc5 | 0xc8 | 0xcd | 0xd1 | 0xda | 0xdc | 0xde => 2,
            0xc6 | 0xc9 | 0xce | 0xd2 | 0xdb | 0xdd | 0xdf => 4,
            0xcf | 0xd3 => 8,
            _ => 0,
        };
        let Some(digits) = rest.get(..width) else { return Ok(None) };
        let number = digits.iter().fold(0_u64, |number, &digit| number << 8 | u64::from(digit));
        let head = |kind| Head { head_bytes: 1 + width, payload_bytes: 0, children: 0, kind };
        let sized = |kind, bytes: u64| {
            let payload_bytes = usize::try_from(bytes).map_err(|_| BadMessage::Oversized("a gossip value"))?;
            Ok(Head { payload_bytes, ..head(kind) })
        };
        let nested = |kind, children| Head { children, ..head(kind) };
        Ok(Some(match marker {
            0x00..=0x7f => head(Kind::Integer(marker.into())),
            0x80..=0x8f => nested(Kind::Map, u64::from(marker & 0x0f) * 2),
            0x90..=0x9f => nested(Kind::List, u64::from(marker & 0x0f)),
            0xa0..=0xbf => sized(Kind::Raw, u64::from(marker & 0x1f))?,
            0xc0 => head(Kind::Nil),
            0xc1 => return Err(BadMessage::Malformed("a gossip value")),
            0xc2 | 0xc3 => head(Kind::Bool(marker == 0xc3)),
            0xc4..=0xc6 | 0xd9..=0xdb => sized(Kind::Raw, number)?,
            0xc7..=0xc9 => sized(Kind::Other, number + 1)?,
            0xca => sized(Kind::Float, 4)?,
            0xcb => sized(Kind::Float, 8)?,
            0xcc..=0xcf => head(Kind::Integer(number.into())),
            0xd0..=0xd3 => head(Kind::Integer(sign_extend(number, width))),
            0xd4..=0xd8 => sized(Kind::Other, 1 + (1 << (marker - 0xd4)))?,
            0xdc | 0xdd => nested(Kind::List, number),
            0xde | 0xdf => nested(Kind::Map, number * 2),
            0xe0..=0xff => head(Kind::Integer(i128::from(marker) - 0x100)),
        }))
    }
}

fn sign_extend(number: u64, width: usize) -> i128 {
    let span = 1_i128 << (8 * width);
    let number = i128::from(number);
    if number >= span / 2 { number - span } else { number }
}

/// Reads values off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    fn head(&mut self, what: &'static str) -> Result<Head, BadMessage> {
        let head = Head::read(self.bytes)?.ok_or(BadMessage::Malformed(what))?;
        self.bytes = &self.bytes[head.head_bytes..];
        Ok(head)
    }

    fn payload(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], BadMessage> {
        let (payload, rest) = self.bytes.split_at_checked(length).ok_or(BadMessage::Malformed(what))?;
        self.bytes = rest;
        Ok(payload)
    }

    /// An integer that fits `T`; nil is zero.
    pub(super) fn integer<T: TryFrom<i128>>(&mut self, what: &'static str) -> Result<T, BadMessage> {
        let number = match self.head(what)?.kind {
            Kind::Integer(number) => number,
            Kind::Nil => 0,
            _ => return Err(BadMessage::Malformed(what)),
        };
        T::try_from(number).map_err(|_| BadMessage::Malformed(what))
    }

    /// A truth value; nil is false.
    pub(super) fn boolean(&mut self, what: &'static str) -> Result<bool, BadMessage> {
        match self.head(what)?.kind {
            Kind::Bool(value) => Ok(value),
            Kind::Nil => Ok(false),
            _ => Err(BadMessage::Malformed(what)),
        }
    }

    /// A float of either width, infinities and such included; nil is zero.
    pub(super) fn float(&mut self, what: &'static str) -> Result<f64, BadMessage> {
        let head = self.head(what)?;
        let payload = self.payload(head.payload_bytes, what)?;
        match head.kind {
            Kind::Float => match (<[u8; 8]>::try_from(payload), <[u8; 4]>::try_from(payload)) {
                (Ok(wide), _) => Ok(f64::from_be_bytes(wide)),
                (_, Ok(narrow)) => Ok(f32::from_be_bytes(narrow).into()),
                _ => Err(BadMessage::Malformed(what)),
            },
            Kind::Nil => Ok(0.0),
            _ => Err(BadMessage::Malformed(what)),
        }
    }

    /// A string, not checked to be UTF-8; nil is empty.
    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a [u8], BadMessage> {
        let head = self.head(what)?;
        match head.kind {
            Kind::Raw => self.payload(head.payload_bytes, what),
            Kind::Nil => Ok(&[]),
            _ => Err(BadMessage::Malformed(what)),
        }
    }

    /// A byte string, which may also be a list of integers; nil is empty.
    pub(super) fn byte_string(&mut self, what: &'static str) -> Result<Cow<'a, [u8]>, BadMessage> {
        let mut ahead = *self;
        let head = ahead.head(what)?;
        if head.kind != Kind::List {
            return self.string(what).map(Cow::Borrowed);
        }
        if head.children > LIST_BYTES_MAX {
            return Err(BadMessage::Oversized(what));
        }
        *self = ahead;
        let mut bytes = Vec::new();
        for _ in 0..head.children {
            bytes.push(self.integer(what)?);
        }
        Ok(Cow::Owned(bytes))
    }

    /// [`string`](Self::string), copied out of the message.
    pub(super) fn owned_string(&mut self, what: &'static str) -> Result<Bytes, BadMessage> {
        self.string(what).map(Bytes::copy_from_slice)
    }

    /// [`byte_string`](Self::byte_string), copied out of the message.
    pub(super) fn owned_bytes(&mut self, what: &'static str) -> Result<Bytes, BadMessage> {
        self.byte_string(what).map(|bytes| Bytes::copy_from_slice(&bytes))
    }

    /// The number of values in the list that begins here; nil is empty.
    pub(super) fn list(&mut self, what: &'static str) -> Result<u64, BadMessage> {
        let head = self.head(what)?;
        match head.kind {
            Kind::List => Ok(head.children),
            Kind::Nil => Ok(0),
            _ => Err(BadMessage::Malformed(what)),
        }
    }

    /// The number of pairs in the map that begins here; nil is empty.
    pub(super) fn map(&mut self, what: &'static str) -> Result<u64, BadMessage> {
        let head = self.head(what)?;
        match head.kind {
            Kind::Map => Ok(head.children / 2),
            Kind::Nil => Ok(0),
            _ => Err(BadMessage::Malformed(what)),
        }
    }

    /// What a struct begins with: how many fields follow, and whether each has its name in front.
    pub(super) fn fields(&mut self, what: &'static str) -> Result<Fields, BadMessage> {
        let head = self.head(what)?;
        match head.kind {
            Kind::Nil => Ok(Fields::Listed(0)),
            Kind::List => Ok(Fields::Listed(head.children)),
            Kind::Map => Ok(Fields::Named(head.children / 2)),
            _ => Err(BadMessage::Malformed(what)),
        }
    }

    /// A struct: `field` is called with the position in `names` (in
    /// declaration order) of each field that is there, and must read its value.
    /// Unknown fields are skipped, as far as [`FIELDS_MAX`] and [`VALUES_SKIPPED_MAX`] go.
    pub(super) fn structure(
        &mut self,
        what: &'static str,
        names: &[&str],
        mut field: impl FnMut(usize, &mut Self) -> Result<(), BadMessage>,
    ) -> Result<(), BadMessage> {
        let fields = self.fields(what)?;
        let (Fields::Listed(count) | Fields::Named(count)) = fields;
        if count > FIELDS_MAX {
            return Err(BadMessage::Oversized(what));
        }
        for position in 0..count {
            let known = match fields {
                Fields::Listed(_) => usize::try_from(position).ok().filter(|&position| position < names.len()),
                Fields::Named(_) => {
                    let key = self.string(what)?;
                    names.iter().position(|name| name.as_bytes() == key)
                }
            };
            match known {
                Some(position) => field(position, self)?,
                None => drop(self.skip(what)?),
            }
        }
        Ok(())
    }

    /// Passes over one value and all that is nested in it, at most
    /// [`VALUES_SKIPPED_MAX`]; gives its bytes.
    fn skip(&mut self, what: &'static str) -> Result<&'a [u8], BadMessage> {
        let start = self.bytes;
        let (mut pending, mut passed) = (1_u64, 0);
        while pending > 0 {
            passed += 1;
            if passed > VALUES_SKIPPED_MAX {
                return Err(BadMessage::Oversized(what));
            }
            let head = self.head(what)?;
            self.payload(head.payload_bytes, what)?;
            pending = (pending - 1).saturating_add(head.children);
        }
        Ok(&start[..start.len() - self.bytes.len()])
    }
}

/// Writes nil.
pub(super) fn put_nil(out: &mut BytesMut) {
    out.put_u8(0xc0);
}

/// Writes a truth value.
pub(super) fn put_boolean(out: &mut BytesMut, value: bool) {
    out.put_u8(if value { 0xc3 } else { 0xc2 });
}

/// Writes a number in the shortest unsigned form.
pub(super) fn put_integer(out: &mut BytesMut, value: u64) {
    if let Ok(value) = u8::try_from(value) {
        if value > 0x7f {
            out.put_u8(0xcc);
        }
        out.put_u8(value);
    } else if let Ok(value) = u16::try_from(value) {
        out.put_u8(0xcd);
        out.put_u16(value);
    } else if let Ok(value) = u32::try_from(value) {
        out.put_u8(0xce);
        out.put_u32(value);
    } else {
        out.put_u8(0xcf);
        out.put_u64(value);
    }
}

/// Writes a number that may be below zero, as short as it can be.
pub(super) fn put_signed(out: &mut BytesMut, value: i64) {
    if let Ok(value) = u64::try_from(value) {
        put_integer(out, value);
    } else if let Ok(value) = i8::try_from(value) {
        if value < -32 {
            out.put_u8(0xd0);
        }
        out.put_i8(value);
    } else if let Ok(value) = i16::try_from(value) {
        out.put_u8(0xd1);
        out.put_i16(value);
    } else if let Ok(value) = i32::try_from(value) {
        out.put_u8(0xd2);
        out.put_i32(value);
    } else {
        out.put_u8(0xd3);
        out.put_i64(value);
    }
}

/// Writes a float, always in eight bytes.
pub(super) fn put_float(out: &mut BytesMut, value: f64) {
    out.put_u8(0xcb);
    out.put_f64(value);
}

/// Writes a string or bytes in the old raw family.
pub(super) fn put_raw(out: &mut BytesMut, bytes: &[u8]) {
    put_count(out, bytes.len(), 0xa0, 32, 0xda, 0xdb);
    out.put_slice(bytes);
}

/// Writes bytes that Go holds in a slice, which is nil when it is empty.
pub(super) fn put_slice(out: &mut BytesMut, bytes: &[u8]) {
    if bytes.is_empty() { put_nil(out) } else { put_raw(out, bytes) }
}

/// Writes the head of a list.
pub(super) fn put_list(out: &mut BytesMut, count: usize) {
    put_count(out, count, 0x90, 16, 0xdc, 0xdd);
}

/// Writes the head of a map or struct.
pub(super) fn put_map(out: &mut BytesMut, pairs: usize) {
    put_count(out, pairs, 0x80, 16, 0xde, 0xdf);
}

fn put_count(out: &mut BytesMut, count: usize, fix: u8, fix_below: usize, marker16: u8, marker32: u8) {
    if let Some(small) = u8::try_from(count).ok().filter(|_| count < fix_below) {
        out.put_u8(fix | small);
    } else if let Ok(count) = u16::try_from(count) {
        out.put_u8(marker16);
        out.put_u16(count);
    } else {
        out.put_u8(marker32);
        out.put_u32(u32::try_from(count).expect("a message is far smaller than 4 GiB"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    #[test]
    fn strings_use_the_old_raw_family_only() {
        for (length, head) in [(0, &[0xa0][..]), (31, &[0xbf]), (32, &[0xda, 0, 32]), (65_536, &[0xdb, 0, 1, 0, 0])] {
            let text = vec![b'x'; length];
            let wire = written(|out| put_raw(out, &text));
            assert_eq!(&wire[..head.len()], head);
            assert_eq!(Reader::new(&wire).string("s").unwrap(), &text[..]);
        }
    }

    #[test]
    fn integers_are_written_shortest_and_read_in_every_width() {
        for value in [0, 127, 128, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let wire = written(|out| put_integer(out, value));
            assert_eq!(Reader::new(&wire).integer::<u64>("n").unwrap(), value);
        }
        for (value, bytes) in [(7, 1), (-1, 1), (-32, 1), (-33, 2), (-129, 3), (-32_769, 5), (i64::MIN, 9)] {
            let wire = written(|out| put_signed(out, value));
            assert_eq!((wire.len(), Reader::new(&wire).integer::<i64>("n").unwrap()), (bytes, value));
        }
        for wire in [&[7][..], &[0xd0, 7], &[0xd1, 0, 7], &[0xd2, 0, 0, 0, 7], &[0xcf, 0, 0, 0, 0, 0, 0, 0, 7]] {
            assert_eq!(Reader::new(wire).integer::<u16>("n").unwrap(), 7);
        }
        for wire in [&[0xff][..], &[0xd0, 0x80], &[0xce, 0, 1, 0, 0], &[0xca, 0, 0, 0, 0]] {
            assert!(Reader::new(wire).integer::<u16>("n").is_err(), "{wire:x?}");
        }
        assert_eq!(Reader::new(&[0xd3, 255, 255, 255, 255, 255, 255, 255, 254]).integer::<i64>("n").unwrap(), -2);
    }

    #[test]
    fn structs_are_read_as_maps_and_as_lists() {
        let read = |wire: &[u8]| {
            let mut fields = (0_u8, Vec::new());
            Reader::new(wire).structure("s", &["A", "B"], |position, reader| {
                match position {
                    0 => fields.0 = reader.integer("A")?,
                    _ => fields.1 = reader.byte_string("B")?.into_owned(),
                }
                Ok(())
            })?;
            Ok::<_, BadMessage>(fields)
        };
        assert_eq!(read(b"\x82\xa1A\x05\xa1B\xa1x"), Ok((5, b"x".to_vec())));
        assert_eq!(read(b"\xde\x00\x02\xd9\x01B\xc4\x01y\xa1A\x05"), Ok((5, b"y".to_vec())));
        assert_eq!(read(b"\x92\x05\x92\x01\x02"), Ok((5, vec![1, 2])));
        assert_eq!(read(b"\x93\x05\xc0\x81\xa1z\x90"), Ok((5, vec![])));
        // Unknown, wrong-case, nested, extension and doubled fields.
        assert_eq!(read(b"\x84\xa1a\x07\xa1Z\x91\xd4\x01\x02\xa1A\x05\xa1A\x06"), Ok((6, vec![])));
        assert_eq!(read(b"\xc0"), Ok((0, vec![])));
        assert!(read(b"\x82\xa1A\x05\xa1B\xa2x").is_err());
        assert!(read(b"\x05").is_err());
    }

    #[test]
    fn declared_counts_cost_nothing() {
        for wire in
            [&b"\xdd\xff\xff\xff\xff"[..], b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xffx"]
        {
            assert!(Reader::new(wire).skip("v").is_err());
            assert!(Reader::new(wire).byte_string("v").is_err());
        }
        let deep = vec![0x91; 1 << 20];
        assert!(Reader::new(&deep).skip("v").is_err(), "depth is no recursion");
    }
}
