//! Files of another origin than the server's: what a club's own pages are.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::Result;

/// A file of an origin: its path, its media type, its bytes.
pub type File = (&'static str, &'static str, Vec<u8>);

/// Serves files on a free port, as long as the process lives; the origin (`http://127.0.0.1:PORT`).
pub fn serve(files: Vec<File>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            // A browser that has gone away needs no file.
            let _ = answer(&connection, &files);
        }
    });
    Ok(format!("http://{address}"))
}

fn answer(mut connection: &TcpStream, files: &[File]) -> Result<()> {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let asked = lines.next().unwrap_or_default();
    // Unread bytes would have the connection reset before the answer is read.
    lines.find(String::is_empty);
    let path = asked.split(' ').nth(1).unwrap_or_default();
    let found = files.iter().find(|(name, ..)| *name == path);
    let (status, kind, bytes) =
        found.map_or(("404 Not Found", "text/plain", &[][..]), |(_, kind, bytes)| ("200 OK", *kind, bytes.as_slice()));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        bytes.len()
    );
    connection.write_all(head.as_bytes())?;
    Ok(connection.write_all(bytes)?)
}
