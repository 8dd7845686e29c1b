//! Bytes that no honest peer sends. Drawn from a seed, so that a failure can be repeated.

/// A small generator (`SplitMix64`); its whole state is one number.
#[derive(Clone, Debug)]
pub struct Noise(u64);

impl Noise {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    ///
    /// # Panics
    /// When `end` is zero.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end as u64).expect("below a usize")
    }

    /// This many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number().to_le_bytes()[0]).collect()
    }

    /// `bytes` cut short, and with a few of them changed.
    pub fn spoil(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut spoiled = bytes[..self.below(bytes.len() + 1)].to_vec();
        for _ in 0..self.below(4) {
            if !spoiled.is_empty() {
                let place = self.below(spoiled.len());
                spoiled[place] = self.number().to_le_bytes()[0];
            }
        }
        spoiled
    }
}

/// Byte strings for stream sockets: noise, lengths that promise gigabytes,
/// halves of frames, pieces of gossip exchanges, other protocols.
pub fn stream_cases(noise: &mut Noise) -> Vec<Vec<u8>> {
    let mut cases = vec![
        vec![0],
        vec![0xff; 16],
        vec![0, 0, 0, 0],
        frame(u32::MAX, b"x"),
        frame(1 << 20, &[7; 100]),
        frame((1 << 20) + 1, &[7; 100]),
        frame(3, b"abcdefgh"),
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
        b"POST /demo.DemoService/Liff HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff; 9]].concat(),
        // A TLS client hello's first bytes.
        vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
        // A push/pull header that announces four billion nodes and a huge user state.
        push_pull_head(u64::from(u32::MAX), u64::from(u32::MAX)),
        push_pull_head(1, 5),
        // Compressed and encrypted gossip messages of nothing, and a ping.
        vec![9, 0x82],
        vec![10, 0xff, 0xff, 0xff, 0xff],
        vec![0, 0x82, 0xa4, b'N', b'o', b'd', b'e', 0xa1, b'x'],
        // A label header that is longer than the stream.
        vec![244, 200, b'x'],
    ];
    // One message of each type byte with deep and with unfinished values.
    for kind in 0..16 {
        cases.push([&[kind][..], &[0x91; 4_000]].concat());
        cases.push(vec![kind, 0xdf, 0xff, 0xff, 0xff, 0xff]);
    }
    for length in [1, 2, 3, 5, 8, 64, 1_000, 70_000] {
        cases.push(noise.bytes(length));
        let size = u32::try_from(length).expect("small");
        let body = noise.bytes(length);
        cases.push(frame(size, &body));
        cases.push(frame(size, &body[..length / 2]));
    }
    cases
}

/// Datagrams: noise of all sizes and gossip messages that are cut or spoiled.
pub fn datagram_cases(noise: &mut Noise) -> Vec<Vec<u8>> {
    let mut cases: Vec<Vec<u8>> = [0, 1, 2, 7, 44, 48, 92, 300, 512, 513, 1_400, 9_000, 60_000]
        .into_iter()
        .map(|length| noise.bytes(length))
        .collect();
    // A compound message that promises 255 parts, a compressed one, a checksum of nothing.
    cases.extend([vec![7, 255, 0, 1], vec![9, 0x82, 0xa4], vec![12, 0, 0, 0, 0], vec![8, 0x81]]);
    for kind in 0..=16 {
        cases.push([&[kind][..], &[0x81; 1_000]].concat());
        let body = noise.bytes(40);
        cases.push([&[kind, 0x83][..], &body].concat());
    }
    cases
}

fn frame(length: u32, body: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], body].concat()
}

/// The type byte and the header of a gossip push/pull: `Join`, `Nodes`, `UserStateLen`.
fn push_pull_head(nodes: u64, user_state: u64) -> Vec<u8> {
    let mut bytes = vec![6, 0x83, 0xa4];
    bytes.extend(b"Join");
    bytes.push(0xc3);
    bytes.push(0xa5);
    bytes.extend(b"Nodes");
    bytes.push(0xcf);
    bytes.extend(nodes.to_be_bytes());
    bytes.push(0xac);
    bytes.extend(b"UserStateLen");
    bytes.push(0xcf);
    bytes.extend(user_state.to_be_bytes());
    bytes
}
