//! HTTP in the rig: servers that say who they are, whom they see, and whether a proxy stood between; and clients.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::namespace::Namespace;

/// Where these servers listen.
pub const PORT: u16 = 8081;
/// What the L7 proxy adds to every request.
const ADDED: &str = "x-request-id:";
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whose.
    pub name: String,
    /// The source that the server saw.
    pub seen: SocketAddr,
    /// Whether the request had what the L7 proxy adds.
    pub proxied: bool,
}

/// Starts the server of a namespace; it ends with this process.
pub fn serve(namespace: &Namespace, name: &'static str, addresses: &[IpAddr]) -> Result<()> {
    for address in addresses {
        let address = SocketAddr::new(*address, PORT);
        namespace.inside(move || {
            let listener = TcpListener::bind(address).with_context(|| format!("a server at {address}"))?;
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    thread::spawn(move || answer(name, stream));
                }
            });
            Ok(())
        })?;
    }
    Ok(())
}

fn answer(name: &str, stream: TcpStream) -> std::io::Result<()> {
    let peer = stream.peer_addr()?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (mut proxied, mut last) = (false, false);
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            proxied |= line.to_ascii_lowercase().starts_with(ADDED);
            last |= line.to_ascii_lowercase().starts_with("connection: close");
            if line == "\r\n" {
                break;
            }
        }
        let body = format!("{name} {peer} {}", if proxied { ADDED } else { "nothing" });
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
        if last {
            return Ok(());
        }
    }
}

/// A connection that stays.
pub struct Kept(TcpStream);

impl Kept {
    /// Connects from a namespace.
    pub fn open(from: &Namespace, to: SocketAddr) -> Result<Self> {
        from.inside(move || {
            let stream = TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("{to}: no connection"))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(Self(stream))
        })
    }

    /// Asks on it.
    pub fn ask(&mut self) -> Result<Answer> {
        self.0.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n")?;
        let mut text = String::new();
        let mut letter = [0];
        while !text.ends_with("\r\n\r\n") {
            ensure!(self.0.read(&mut letter)? == 1, "closed after {text:?}");
            text.push(char::from(letter[0]));
        }
        ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
        let length = text.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.context("no length")?];
        self.0.read_exact(&mut body)?;
        let body = String::from_utf8(body)?;
        let mut words = body.split(' ');
        let mut word = || words.next().with_context(|| format!("a server said {body:?}"));
        Ok(Answer { name: word()?.to_owned(), seen: word()?.parse()?, proxied: word()? == ADDED })
    }
}

/// Asks once, on a connection of its own.
pub fn ask(from: &Namespace, to: SocketAddr) -> Result<Answer> {
    Kept::open(from, to)?.ask()
}
