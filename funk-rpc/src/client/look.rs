//! A look at a cluster from outside: a push/pull that offers no node.

use std::io;
use std::net::SocketAddr;

use funk_io::Runtime;
use funk_proto::wire::gossip::{COMPRESS, GossipMember, PUSH_PULL, StreamDecoder, look_request, parse_members};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

/// The members that the node at `address` knows. The asker becomes none.
///
/// # Errors
/// No connection, or an answer that is no push/pull.
pub async fn look<N: Runtime>(address: SocketAddr) -> io::Result<Vec<GossipMember>> {
    let mut stream = N::connect(address).await?;
    stream.write_all(&look_request()).await?;
    stream.flush().await?;
    let mut decoder = StreamDecoder::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.push(&buffer[..read]);
        let message = decoder.next().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some(message) = message.filter(|message| matches!(message.first(), Some(&(PUSH_PULL | COMPRESS)))) {
            return parse_members(&message).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        }
    }
}
