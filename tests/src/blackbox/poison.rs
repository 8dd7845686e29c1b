//! Gossip datagrams that end, wedge or exhaust agents that trust what they read.

/// A datagram and what is wrong with it.
pub type Poison = (&'static str, Vec<u8>);

/// Agents end by some of these; a node drops each of them and counts it.
pub fn datagrams() -> Vec<Poison> {
    let ping = ping();
    vec![
        ("an alive message with three version bytes", alive("poison-3", Some(&[1, 5, 2]))),
        ("an alive message with a version that nobody speaks", alive("poison-9", Some(&[1, 5, 9, 2, 5, 5]))),
        ("an alive message whose versions contradict one another", alive("poison-min", Some(&[5, 1, 2, 2, 5, 5]))),
        ("an alive message of a nameless node", alive("", Some(&[1, 5, 2, 2, 5, 5]))),
        ("an alive message with 60 kB of tags", large_alive()),
        ("a ping in forty layers of compression", (0..40).fold(ping.clone(), |inner, _| compressed(&inner))),
        ("a compressed message of four megabytes", compressed(&vec![8; 4 << 20])),
        ("a query with an empty filter", query(&[0x91, 0xa0])),
        ("a query that announces four billion filters", query(&[0xdd, 0xff, 0xff, 0xff, 0xff])),
        ("a ping that announces four billion fields", vec![0, 0xdf, 0xff, 0xff, 0xff, 0xff]),
        (
            "a name that announces four gigabytes",
            vec![4, 0x81, 0xa4, b'N', b'o', b'd', b'e', 0xdb, 0xff, 0xff, 0xff, 0xff],
        ),
        ("255 parts of nothing", [vec![7, 255], vec![0; 510]].concat()),
        ("a compound that ends before its parts", vec![7, 128, 0, 10, 0]),
        ("a checksum that is wrong", [&[12, 1, 2, 3, 4][..], &ping].concat()),
        ("a checksum within a compound", [&[7, 1, 0, 5, 12, 0, 0, 0, 0][..]].concat()),
        ("an ack with a coordinate of what is no number", spoiled_ack()),
        ("a type that nobody knows", vec![99, 0x80]),
    ]
}

/// Legal, and still too much for old agents: a compound of 128 pings to nobody here.
pub fn many_parts() -> Vec<u8> {
    let ping = ping();
    let length = u16::try_from(ping.len()).expect("a ping is short").to_be_bytes();
    [&[7, 128][..], &length.repeat(128), &ping.repeat(128)].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[0xa0 | u8::try_from(text.len()).expect("short")][..], text.as_bytes()].concat()
}

fn ping() -> Vec<u8> {
    [&[0, 0x82][..], &text("Node"), &text("nobody"), &text("SeqNo"), &[7]].concat()
}

/// That a node lives at a port where nobody is.
fn alive(name: &str, versions: Option<&[u8]>) -> Vec<u8> {
    let fields = 5 + u8::from(versions.is_some());
    let mut out = vec![4, 0x80 | fields];
    out.extend([text("Addr"), vec![0xa4, 127, 0, 0, 9]].concat());
    out.extend([text("Incarnation"), vec![1]].concat());
    out.extend([text("Meta"), vec![0xa2, 0xff, 0x80]].concat());
    out.extend([text("Node"), text(name)].concat());
    out.extend([text("Port"), vec![9]].concat());
    if let Some(versions) = versions {
        out.extend([text("Vsn"), vec![0xa0 | u8::try_from(versions.len()).expect("few")], versions.to_vec()].concat());
    }
    out
}

/// That a node lives which says nothing of its versions: agents that believe it refuse every later joiner.
pub fn alive_without_versions() -> Vec<u8> {
    alive("no-versions", None)
}

fn large_alive() -> Vec<u8> {
    let whole = alive("poison-large", Some(&[1, 5, 2, 2, 5, 5]));
    let meta = [text("Meta"), vec![0xa2, 0xff, 0x80]].concat();
    let at = whole.windows(meta.len()).position(|bytes| bytes == meta).expect("it has tags");
    let large = [text("Meta"), vec![0xda, 0xea, 0x60], vec![0xff; 60_000]].concat();
    [&whole[..at], &large, &whole[at + meta.len()..]].concat()
}

fn query(filters: &[u8]) -> Vec<u8> {
    let mut out = vec![8, 4, 0x87];
    out.extend([text("Addr"), vec![0xa4, 127, 0, 0, 9]].concat());
    out.extend([text("Filters"), filters.to_vec()].concat());
    out.extend([text("ID"), vec![1], text("LTime"), vec![1], text("Name"), text("poison")].concat());
    out.extend([text("Port"), vec![9], text("Timeout"), vec![0xce, 0x77, 0x35, 0x94, 0]].concat());
    out
}

fn spoiled_ack() -> Vec<u8> {
    let nan = [&[0xcb][..], &f64::NAN.to_be_bytes()].concat();
    let payload = [&[1, 0x81][..], &text("Vec"), &[0x98], &nan.repeat(8)].concat();
    // None that a probe of a young node has.
    let number = [0xce, 0xff, 0xff, 0xff, 0xf0];
    let length = u8::try_from(payload.len()).expect("short");
    [&[2, 0x82][..], &text("Payload"), &[0xda, 0, length], &payload, &text("SeqNo"), &number].concat()
}

/// A compressed message, packed like Go's LZW but with codes of nine bits only.
fn compressed(plain: &[u8]) -> Vec<u8> {
    let packed = if plain.iter().all(|&byte| byte == plain[0]) && plain.len() > 1 << 16 {
        pack_run(plain[0], plain.len())
    } else {
        // The table is cleared before codes would grow.
        let codes = plain.chunks(200).flat_map(|chunk| [256].into_iter().chain(chunk.iter().map(|&byte| byte.into())));
        pack(codes.chain([257]).map(|code| (code, 9)))
    };
    let length = u32::try_from(packed.len()).expect("small").to_be_bytes();
    [&[9, 0x82][..], &text("Algo"), &[0], &text("Buf"), &[0xdb], &length, &packed].concat()
}

/// A run of one byte: each code stands for a string longer by one than the last.
fn pack_run(byte: u8, length: usize) -> Vec<u8> {
    let mut codes = vec![(256, 9), (u32::from(byte), 9)];
    let (mut done, mut next) = (1, 258_u32);
    while done < length {
        if next == 4_095 {
            codes.extend([(256, 12), (u32::from(byte), 9)]);
            (done, next) = (done + 1, 258);
            continue;
        }
        codes.push((next, (u32::BITS - next.leading_zeros()).max(9)));
        done += usize::try_from(next).expect("a code") - 256;
        next += 1;
    }
    codes.push((257, (u32::BITS - next.leading_zeros()).clamp(9, 12)));
    pack(codes.into_iter())
}

/// Codes and their widths, the lowest bit first.
fn pack(codes: impl Iterator<Item = (u32, u32)>) -> Vec<u8> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for (code, width) in codes {
        bits |= code << count;
        count += width;
        while count >= 8 {
            out.push(bits.to_le_bytes()[0]);
            bits >>= 8;
            count -= 8;
        }
    }
    out.push(bits.to_le_bytes()[0]);
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use funk_proto::wire::gossip::decompress;

    use super::*;

    #[test]
    fn what_is_packed_is_what_go_would_unpack() {
        let plain: Vec<u8> = (0..1_000_u32).map(|n| n.to_le_bytes()[0]).chain([1]).collect();
        assert_eq!(decompress(&Bytes::from(compressed(&plain))).unwrap(), plain);
        let run = vec![8; 4 << 20];
        let small = compressed(&run);
        assert!(small.len() < 60_000, "it fits a datagram: {}", small.len());
        assert!(decompress(&Bytes::from(small)).unwrap() >= run);
    }
}
