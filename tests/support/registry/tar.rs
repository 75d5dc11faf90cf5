//! Tars byte by byte: what a layer holds, and what no honest program would write.

/// One header as it stands in the file; the checksum is computed.
#[derive(Debug, Clone)]
pub struct Head {
    pub name: Vec<u8>,
    pub mode: u64,
    pub uid: u64,
    pub gid: u64,
    /// What the field says; the data that follows may be of another length.
    pub size: u64,
    pub mtime: u64,
    pub kind: u8,
    pub link: Vec<u8>,
    pub device: (u64, u64),
}

impl Head {
    /// A header of this type with plain values.
    pub fn new(name: impl AsRef<[u8]>, kind: u8) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 1_600_000_000,
            kind,
            link: Vec::new(),
            device: (0, 0),
        }
    }

    fn block(&self) -> [u8; 512] {
        let mut block = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, &number(self.mode, 8));
        put(108, &number(self.uid, 8));
        put(116, &number(self.gid, 8));
        put(124, &number(self.size, 12));
        put(136, &number(self.mtime, 12));
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, &number(self.device.0, 8));
        put(337, &number(self.device.1, 8));
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        let field = format!("{sum:06o}\0 ");
        block[148..156].copy_from_slice(field.as_bytes());
        block
    }
}

/// Octal with a NUL at its end; base-256 where that is too short.
fn number(value: u64, width: usize) -> Vec<u8> {
    let octal = format!("{value:0fill$o}\0", fill = width - 1);
    if octal.len() == width {
        return octal.into_bytes();
    }
    let mut bytes = vec![0u8; width];
    bytes[width - 8..].copy_from_slice(&value.to_be_bytes());
    bytes[0] |= 0x80;
    bytes
}

/// A tar under construction.
#[derive(Debug, Clone, Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn dir(self, name: &str, mode: u64) -> Self {
        let head = Head {
            mode,
            ..Head::new(name, b'5')
        };
        self.raw(&head, b"")
    }

    #[must_use]
    pub fn file(self, name: &str, mode: u64, data: impl AsRef<[u8]>) -> Self {
        let data = data.as_ref();
        let head = Head {
            mode,
            size: data.len() as u64,
            ..Head::new(name, b'0')
        };
        self.raw(&head, data)
    }

    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        let head = Head {
            mode: 0o777,
            link: target.into(),
            ..Head::new(name, b'2')
        };
        self.raw(&head, b"")
    }

    #[must_use]
    pub fn hardlink(self, name: &str, target: &str) -> Self {
        let head = Head {
            link: target.into(),
            ..Head::new(name, b'1')
        };
        self.raw(&head, b"")
    }

    /// A device (`c`, `b`) or a fifo (`p`).
    #[must_use]
    pub fn node(self, name: &str, kind: char, device: (u64, u64)) -> Self {
        let kind = match kind {
            'c' => b'3',
            'b' => b'4',
            _ => b'6',
        };
        let head = Head {
            device,
            ..Head::new(name, kind)
        };
        self.raw(&head, b"")
    }

    /// Records of PAX for the next entry.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            data.extend(pax_record(key, value));
        }
        self.pax_bytes(&data)
    }

    /// A PAX header with these very bytes.
    #[must_use]
    pub fn pax_bytes(self, data: &[u8]) -> Self {
        self.sized(b'x', "PaxHeaders/entry", data)
    }

    /// GNU's long name (`L`) or long target (`K`) for the next entry.
    #[must_use]
    pub fn long(self, kind: u8, text: &str) -> Self {
        self.sized(kind, "././@LongLink", format!("{text}\0").as_bytes())
    }

    fn sized(self, kind: u8, name: &str, data: &[u8]) -> Self {
        let head = Head {
            size: data.len() as u64,
            ..Head::new(name, kind)
        };
        self.raw(&head, data)
    }

    /// A header and the data behind it, which is filled up to a whole block.
    #[must_use]
    pub fn raw(mut self, head: &Head, data: &[u8]) -> Self {
        self.0.extend(head.block());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Bytes as they are.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// The finished tar, with its two empty blocks.
    pub fn done(mut self) -> Vec<u8> {
        self.0.extend([0u8; 1024]);
        self.0
    }
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}
