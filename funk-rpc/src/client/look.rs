//! A look at a cluster from outside: a push/pull that offers no node.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use funk_io::Runtime;
use funk_proto::GossipKeys;
use funk_proto::wire::gossip::{
    COMPRESS, ENCRYPTED, ERROR, GossipMember, NONCE_BYTES, PUSH_PULL, StreamDecoder, decode_error, decompress,
    look_request, open_stream, parse_members, seal_stream,
};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

/// The members that the node at `address` knows. The asker becomes none.
///
/// # Errors
/// No connection, or an answer that is no push/pull, or that these keys do not fit.
pub async fn look<N: Runtime>(address: SocketAddr, keys: Option<&GossipKeys>) -> io::Result<Vec<GossipMember>> {
    let mut stream = N::connect(address).await?;
    stream.write_all(&request(keys)?).await?;
    stream.flush().await?;
    let mut decoder = StreamDecoder::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.push(&buffer[..read]);
        if let Some(message) = decoder.next().map_err(invalid)? {
            let plain = opened(message, keys)?;
            match plain.first() {
                Some(&PUSH_PULL) => return parse_members(&plain).map_err(invalid),
                Some(&ERROR) => return Err(io::Error::other(decode_error(&plain).map_err(invalid)?)),
                _ => {}
            }
        }
    }
}

fn request(keys: Option<&GossipKeys>) -> io::Result<Bytes> {
    let plain = look_request();
    let Some(keys) = keys.filter(|keys| keys.verify_outgoing) else { return Ok(plain) };
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(seal_stream(keys.ring.primary(), nonce, &plain))
}

/// What is in a message, if it came as the keys want it.
fn opened(message: Bytes, keys: Option<&GossipKeys>) -> io::Result<Bytes> {
    let is_sealed = message.first() == Some(&ENCRYPTED);
    let plain = match keys {
        None if is_sealed => return Err(io::Error::other("gossip is encrypted there, and no key was given")),
        Some(keys) if is_sealed => {
            let opened = keys.ring.keys().iter().find_map(|key| open_stream(key, &message));
            opened.ok_or_else(|| io::Error::other("gossip is encrypted there with another key"))?
        }
        Some(keys) if keys.verify_incoming => {
            return Err(io::Error::other("gossip is not encrypted there, and a key was given"));
        }
        None | Some(_) => message,
    };
    if plain.first() == Some(&COMPRESS) { decompress(&plain).map_err(invalid) } else { Ok(plain) }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
