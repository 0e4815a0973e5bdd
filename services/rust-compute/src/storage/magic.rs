//! Knows the kind of a file by its first bytes: what can be unpacked here, and what cannot.

/// How gzip data starts.
pub const GZIP: &[u8] = &[0x1f, 0x8b];

/// Enough first bytes to know each kind.
const FOREIGN: [(&[u8], &str); 7] = [
    (
        b"\xfd7zXZ\0",
        "it is compressed with xz; unpack it with `xz -d`, or pack it with gzip",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "it is compressed with zstd; unpack it with `zstd -d`, or pack it with gzip",
    ),
    (
        b"PK\x03\x04",
        "it is a zip archive or a spreadsheet (.xlsx); unpack it with `unzip`, or save the sheet as CSV",
    ),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive; unpack it"),
    (b"PAR1", "it is a Parquet file; write it as CSV"),
    (b"\x89HDF\r\n", "it is an HDF5 file; write it as CSV"),
    (b"\x93NUMPY", "it is an array of numpy; write it with numpy.savetxt"),
];

/// What to do with a file that starts like this and cannot be read here.
pub fn foreign(head: &[u8]) -> Option<&'static str> {
    // The fourth byte is the level, and then the first block begins.
    if head.starts_with(b"BZh") && head.get(4..10) == Some(b"1AY&SY") {
        return Some(
            "it is compressed with bzip2; unpack it with `bzip2 -d`, or pack it with gzip",
        );
    }
    FOREIGN
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_kind_is_named_and_text_is_not() {
        for (head, named) in [
            (&b"BZh91AY&SY"[..], "bzip2"),
            (b"\xfd7zXZ\0\0\x04", "xz"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"PK\x03\x04\x14", "xlsx"),
            (b"PAR1\x15", "Parquet"),
        ] {
            assert!(foreign(head).is_some_and(|advice| advice.contains(named)));
        }
        for head in [
            &b"BZh9 is a name"[..],
            b"BZh",
            b"PAR",
            b"1,2,3\n",
            b"",
            GZIP,
        ] {
            assert_eq!(foreign(head), None);
        }
    }
}
