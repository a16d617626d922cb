//! AVI files byte by byte.

/// A chunk.
pub fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let padding = &[0][..body.len() % 2];
    [name, &(body.len() as u32).to_le_bytes()[..], body, padding].concat()
}

/// A list of chunks.
pub fn list(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    chunk(b"LIST", &[kind, content].concat())
}

/// A file whose header list holds `content`.
pub fn file(content: &[u8]) -> Vec<u8> {
    chunk(b"RIFF", &[&b"AVI "[..], &list(b"hdrl", content)].concat())
}

/// A stream's header: `kind` is `vids` or `auds`.
pub fn stream(kind: &[u8; 4], frames: u32) -> Vec<u8> {
    let mut header = [0; 56];
    header[..4].copy_from_slice(kind);
    header[20] = 1;
    header[24] = 25;
    header[32..36].copy_from_slice(&frames.to_le_bytes());
    list(b"strl", &chunk(b"strh", &header))
}

/// An index of OpenDML: 0 is one of indexes, 1 of chunks; `words` is the size of an entry in words of 4 bytes.
pub fn index(kind: u8, words: u16, entries: u32, content: &[u8]) -> Vec<u8> {
    let mut head = [0; 24];
    head[..2].copy_from_slice(&words.to_le_bytes());
    head[3] = kind;
    head[4..8].copy_from_slice(&entries.to_le_bytes());
    chunk(b"indx", &[&head[..], content].concat())
}
