//! A node's tags, as the Meta of its record carries them.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::msgpack::{Reader, put_map, put_raw};
use crate::limits::TAG_BYTES_MAX;

/// In front of encoded tags. Meta without it is a bare role name, as agents of
/// the oldest Serf protocol send it.
const TAGGED: u8 = 0xff;

/// Encodes tags, sorted by name.
pub fn encode_tags(tags: &BTreeMap<String, String>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(TAGGED);
    put_map(&mut out, tags.len());
    for (name, value) in tags {
        put_raw(&mut out, name.as_bytes());
        put_raw(&mut out, value.as_bytes());
    }
    out.freeze()
}

/// Decodes tags; `None` if they are over [`TAG_BYTES_MAX`] or do not decode.
/// Bytes that are no UTF-8 are replaced.
pub fn decode_tags(meta: &[u8]) -> Option<BTreeMap<String, String>> {
    if meta.len() > TAG_BYTES_MAX {
        return None;
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut tags = BTreeMap::new();
    match meta.split_first() {
        None => {}
        Some((&TAGGED, map)) => {
            let mut reader = Reader::new(map);
            for _ in 0..reader.map("tags").ok()? {
                let name = text(reader.string("a tag's name").ok()?);
                tags.insert(name, text(reader.string("a tag's value").ok()?));
            }
        }
        Some(_) => drop(tags.insert("role".into(), text(meta))),
    }
    Some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_return_from_their_encoding() {
        let tags: BTreeMap<_, _> = [("role", "web"), ("dc", "east")].map(|(k, v)| (k.into(), v.into())).into();
        let meta = encode_tags(&tags);
        assert_eq!(&meta[..], b"\xff\x82\xa2dc\xa4east\xa4role\xa3web");
        assert_eq!(decode_tags(&meta), Some(tags));
        assert_eq!(&encode_tags(&BTreeMap::new())[..], b"\xff\x80");
    }

    #[test]
    fn a_bare_role_and_strange_bytes_are_read() {
        assert_eq!(decode_tags(b"oldrole").unwrap()["role"], "oldrole");
        assert_eq!(decode_tags(b"").unwrap().len(), 0);
        assert_eq!(decode_tags(b"\xff\x81\xa1\xfe\xc0").unwrap()["\u{fffd}"], "");
        assert_eq!(decode_tags(b"\xff\x82\xa1a\xa1b"), None);
        assert_eq!(decode_tags(b"\xff\xdf\xff\xff\xff\xff"), None);
        assert_eq!(decode_tags(&[b'x'; TAG_BYTES_MAX + 1]), None);
    }
}
