//! Recognises the kind of a file by its first bytes: gzip, or a kind that this service does not
//! read.

/// How gzip data starts.
pub const GZIP: &[u8] = &[0x1f, 0x8b];

const UNSUPPORTED: [(&[u8], &str); 7] = [
    (
        b"\xfd7zXZ\0",
        "it is compressed with xz; decompress it with `xz -d`, or use gzip",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "it is compressed with zstd; decompress it with `zstd -d`, or use gzip",
    ),
    (
        b"PK\x03\x04",
        "it is a zip archive or a spreadsheet (.xlsx); extract it with `unzip`, or save the sheet as CSV",
    ),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive; extract it"),
    (b"PAR1", "it is a Parquet file; convert it to CSV"),
    (b"\x89HDF\r\n", "it is an HDF5 file; convert it to CSV"),
    (b"\x93NUMPY", "it is a numpy array; write it with numpy.savetxt"),
];

/// What to do with a file that starts with `head` and that this service does not read. None for any
/// other file.
pub fn unsupported(head: &[u8]) -> Option<&'static str> {
    // The fourth byte of bzip2 is the compression level, and the magic of the first block follows
    // it. A text may start with BZh.
    if head.starts_with(b"BZh") && head.get(4..10) == Some(b"1AY&SY") {
        return Some("it is compressed with bzip2; decompress it with `bzip2 -d`, or use gzip");
    }
    UNSUPPORTED
        .iter()
        .find(|(signature, _)| head.starts_with(signature))
        .map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsupported_kind_is_named_and_text_is_not() {
        for (head, named) in [
            (&b"BZh91AY&SY"[..], "bzip2"),
            (b"\xfd7zXZ\0\0\x04", "xz"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"PK\x03\x04\x14", "xlsx"),
            (b"PAR1\x15", "Parquet"),
        ] {
            assert!(unsupported(head).is_some_and(|advice| advice.contains(named)));
        }
        for head in [
            &b"BZh9 is a name"[..],
            b"BZh",
            b"PAR",
            b"1,2,3\n",
            b"",
            GZIP,
        ] {
            assert_eq!(unsupported(head), None);
        }
    }
}
