//! As much of an HTTP/1.1 client as the tests need: requests over one kept
//! connection, with a deadline on every step.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer longer than this is an error: no page of a node is.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A client of one address.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    timeout: Duration,
    connection: Option<BufReader<TcpStream>>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// A client that gives each step of an exchange `timeout`.
    pub fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self { address, timeout, connection: None }
    }

    /// Fetches `path`. A kept connection that proves stale is replaced once.
    ///
    /// # Errors
    /// When the peer cannot be reached, is silent past the timeout, or speaks no HTTP.
    pub fn get(&mut self, path: &str) -> Result<Answer> {
        if let Some(kept) = self.connection.take() {
            match self.exchange(kept, "GET", path, "") {
                Err(error) if error.kind() == ErrorKind::WouldBlock || error.kind() == ErrorKind::TimedOut => {
                    return Err(error);
                }
                Ok(answer) => return Ok(answer),
                Err(_) => {}
            }
        }
        self.send("GET", path, "")
    }

    /// Sends one request over a new connection.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub fn send(&mut self, method: &str, path: &str, body: &str) -> Result<Answer> {
        let stream = TcpStream::connect_timeout(&self.address, self.timeout)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        stream.set_nodelay(true)?;
        self.exchange(BufReader::new(stream), method, path, body)
    }

    fn exchange(
        &mut self,
        mut connection: BufReader<TcpStream>,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<Answer> {
        let length = match method {
            "GET" => String::new(),
            _ => format!("content-length: {}\r\n", body.len()),
        };
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{length}\r\n{body}", self.address);
        connection.get_mut().write_all(request.as_bytes())?;
        let (answer, keep) = read_answer(&mut connection)?;
        if keep {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

/// Fetches `path` over a connection of its own.
///
/// # Errors
/// As [`Client::get`].
pub fn get(address: SocketAddr, path: &str, timeout: Duration) -> Result<Answer> {
    Client::new(address, timeout).get(path)
}

impl Answer {
    /// The body as text, bad UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn read_answer(from: &mut impl BufRead) -> Result<(Answer, bool)> {
    let status = read_line(from)?;
    let code = status.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| bad("a status line"))?;
    let (mut length, mut chunked, mut keep) = (None, false, true);
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a header"))?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = Some(value.parse::<usize>().map_err(|_| bad("a length"))?),
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => keep = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let body = match length {
        _ if chunked => read_chunks(from)?,
        Some(length) => read_exact(from, length)?,
        None => {
            keep = false;
            let mut body = Vec::new();
            from.take(BODY_BYTES_MAX as u64).read_to_end(&mut body)?;
            body
        }
    };
    Ok((Answer { code, body }, keep))
}

fn read_chunks(from: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(from)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| bad("a chunk size"))?;
        let chunk = read_exact(from, size)?;
        read_line(from)?;
        if chunk.is_empty() {
            return Ok(body);
        }
        body.extend(chunk);
        if body.len() > BODY_BYTES_MAX {
            return Err(bad("a body of sane size"));
        }
    }
}

fn read_exact(from: &mut impl BufRead, length: usize) -> Result<Vec<u8>> {
    if length > BODY_BYTES_MAX {
        return Err(bad("a body of sane size"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn read_line(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if from.take(16 << 10).read_line(&mut line)? == 0 {
        return Err(Error::from(ErrorKind::UnexpectedEof));
    }
    Ok(line.trim_end().to_string())
}

fn bad(wanted: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the answer holds no {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_all_three_framings_are_read() {
        let fixed = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        let chunked = b"HTTP/1.1 503 x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n";
        let closed = b"HTTP/1.1 404 x\r\n\r\nhi";
        for (bytes, code, kept) in [(&fixed[..], 200, true), (chunked, 503, true), (closed, 404, false)] {
            let (answer, keep) = read_answer(&mut &bytes[..]).unwrap();
            assert_eq!((answer, keep), (Answer { code, body: b"hi".to_vec() }, kept));
        }
    }
}
