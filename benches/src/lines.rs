//! Questions and answers over Unix sockets: a line each.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Answers at `path`, on threads that live as long as the process. `accept`
/// makes what answers one connection, or turns it away; no answer ends the connection.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn serve<H>(path: &Path, accept: impl Fn() -> Option<H> + Send + 'static) -> Result<(), String>
where
    H: FnMut(&str) -> Option<String> + Send + 'static,
{
    // The socket of the life before, if there was one.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(|error| format!("{}: {error}", path.display()))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Some(handler) = accept() {
                std::thread::spawn(move || answer(&stream, handler));
            }
        }
    });
    Ok(())
}

fn answer(mut stream: &UnixStream, mut handler: impl FnMut(&str) -> Option<String>) {
    let Ok(reading) = stream.try_clone() else { return };
    for line in BufReader::new(reading).lines().map_while(Result::ok) {
        let Some(answer) = handler(&line) else { return };
        if stream.write_all(format!("{answer}\n").as_bytes()).is_err() {
            return;
        }
    }
}

/// Asks at one socket; connects when that is needed.
#[derive(Debug)]
pub(crate) struct Asker {
    path: PathBuf,
    patience: Option<Duration>,
    stream: Option<BufReader<UnixStream>>,
}

impl Asker {
    /// Asks at `path`. No answer within `patience` is an error; `None`: waits as long as it takes.
    pub(crate) fn new(path: &Path, patience: Option<Duration>) -> Self {
        Self { path: path.to_owned(), patience, stream: None }
    }

    /// The answer to `question`.
    ///
    /// # Errors
    /// Nobody answers: the next question goes on a new connection, since an answer that comes late belongs to none.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<String> {
        let answer = self.try_ask(question);
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    fn try_ask(&mut self, question: &str) -> io::Result<String> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let fresh = UnixStream::connect(&self.path)?;
                fresh.set_read_timeout(self.patience)?;
                none.insert(BufReader::new(fresh))
            }
        };
        stream.get_mut().write_all(format!("{question}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_line(&mut answer)?;
        match answer.strip_suffix('\n') {
            Some(answer) => Ok(answer.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
