//! A web server on loopback that answers by script, for tests.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

/// One answer: the status line and headers as text, then `body`; the connection closes after it.
pub(super) struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn whole(body: &[u8]) -> Self {
        Self::cut(body, body.len())
    }

    /// Announces all of `body` and sends the first `len` bytes of it.
    pub(super) fn cut(body: &[u8], len: usize) -> Self {
        let head = format!("200 OK\r\nContent-Length: {}", body.len());
        Self { head, body: body[..len].to_vec() }
    }

    /// The bytes of `body` from `start`.
    pub(super) fn rest(body: &[u8], start: usize) -> Self {
        let (len, last) = (body.len() - start, body.len() - 1);
        let range = format!("Content-Range: bytes {start}-{last}/{}", body.len());
        Self {
            head: format!("206 Partial Content\r\nContent-Length: {len}\r\n{range}"),
            body: body[start..].into(),
        }
    }

    /// Announces 80 bytes from `start` and sends none.
    pub(super) fn nothing_from(start: usize) -> Self {
        let range = format!("Content-Range: bytes {start}-{}/{}", start + 79, start + 80);
        Self { head: format!("206 Partial Content\r\nContent-Length: 80\r\n{range}"), body: Vec::new() }
    }

    pub(super) fn status(status: &str) -> Self {
        Self { head: format!("{status}\r\nContent-Length: 0"), body: Vec::new() }
    }

    /// A body of unannounced length.
    pub(super) fn endless(body: Vec<u8>) -> Self {
        Self { head: "200 OK".to_owned(), body }
    }

    /// Answers one request, and returns it as `<path> <range>`.
    fn send(&self, stream: TcpStream) -> String {
        let mut reader = BufReader::new(stream);
        let mut request = String::new();
        let mut range = String::new();
        reader.read_line(&mut request).unwrap();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("range") => range = value.to_owned(),
                Some(_) => {}
                None => break,
            }
        }
        let mut stream = reader.into_inner();
        let head = format!("HTTP/1.1 {}\r\nConnection: close\r\n\r\n", self.head);
        // A client may refuse by the headers alone and hang up.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&self.body));
        let path = request.split(' ').nth(1).unwrap_or_default();
        format!("{path} {range}").trim_end().to_owned()
    }
}

/// Answers as many requests as it has answers for, in order.
pub(super) struct Server {
    pub base: String,
    requests: JoinHandle<Vec<String>>,
}

impl Server {
    pub(super) fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/data", listener.local_addr().unwrap());
        let serve = move || answers.iter().map(|answer| answer.send(listener.accept().unwrap().0)).collect();
        Self { base, requests: thread::spawn(serve) }
    }

    /// The requests it got; waits until all answers were given.
    pub(super) fn requests(self) -> Vec<String> {
        self.requests.join().unwrap()
    }
}
