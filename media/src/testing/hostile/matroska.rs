//! Matroska files byte by byte.

/// An element with a length of eight bytes.
pub fn element(id: u64, body: &[u8]) -> Vec<u8> {
    claiming(id, body.len() as u64, body)
}

/// An element that claims `size` bytes, whatever follows.
pub fn claiming(id: u64, size: u64, body: &[u8]) -> Vec<u8> {
    let id: Vec<u8> = id.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect();
    let size = (size | 1 << 56).to_be_bytes();
    [&id[..], &size, body].concat()
}

/// A file whose segment holds these elements.
pub fn file(content: &[u8]) -> Vec<u8> {
    let head = element(0x1a45_dfa3, &element(0x4282, b"matroska"));
    [head, element(0x1853_8067, content)].concat()
}
