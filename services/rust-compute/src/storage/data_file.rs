//! The bytes of a data file as a stream: decompressed, counted against a limit, and hashed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::StorageError;
use crate::gzip::GzipReader;
use crate::signature::{unsupported, GZIP};

/// Bytes per read from the disk.
const BUFFER_BYTES: usize = 1 << 18;

/// Opens data files.
#[derive(Clone, Copy, Debug)]
pub struct Storage {
    /// Most bytes of one file, decompressed.
    pub max_bytes: u64,
}

impl Storage {
    /// Opens a file. Its first bytes, not its name, decide whether it is decompressed.
    pub fn open(&self, file: &Path) -> Result<DataFile, StorageError> {
        let unreadable = |source| StorageError::Unreadable {
            file: file.to_owned(),
            source,
        };
        let opened = File::open(file).map_err(unreadable)?;
        if !opened.metadata().map_err(unreadable)?.is_file() {
            return Err(StorageError::NotRegular {
                file: file.to_owned(),
            });
        }
        let mut stored = BufReader::with_capacity(BUFFER_BYTES, opened);
        let head = stored.fill_buf().map_err(unreadable)?;
        if let Some(advice) = unsupported(head) {
            return Err(StorageError::Unsupported {
                file: file.to_owned(),
                advice,
            });
        }
        let stream: Box<dyn Read + Send> = if head.starts_with(GZIP) {
            Box::new(GzipReader::new(stored))
        } else if file.extension().is_some_and(|name| name == "gz") {
            return Err(StorageError::NotGzip {
                file: file.to_owned(),
            });
        } else {
            Box::new(stored)
        };
        Ok(DataFile {
            stream,
            hash: Sha256::new(),
            read: 0,
            max_bytes: self.max_bytes,
        })
    }
}

/// A file that is being read. Reading fails with an `io::Error` whose message says what to do.
pub struct DataFile {
    stream: Box<dyn Read + Send>,
    hash: Sha256,
    read: u64,
    max_bytes: u64,
}

impl DataFile {
    /// SHA-256 of the decompressed bytes read so far.
    pub fn hash(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

impl Read for DataFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(bytes)?;
        self.read += count as u64;
        if self.read > self.max_bytes {
            return Err(io::Error::other(format!(
                "it has more than {} bytes when decompressed; raise --max-data-bytes \
                    (PANGEA_MAX_DATA_BYTES) if there is memory for it",
                self.max_bytes
            )));
        }
        self.hash.update(&bytes[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(file: &Path, max_bytes: u64) -> anyhow::Result<(Vec<u8>, [u8; 32])> {
        let mut opened = Storage { max_bytes }.open(file)?;
        let mut bytes = Vec::new();
        opened.read_to_end(&mut bytes)?;
        Ok((bytes, opened.hash()))
    }

    #[test]
    fn a_compressed_file_is_the_same_data_whatever_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let plain = folder.path().join("a.csv");
        std::fs::write(&plain, "1,2,3\n").expect("written");
        let expected = (b"1,2,3\n".to_vec(), Sha256::digest("1,2,3\n").into());
        assert_eq!(read(&plain, 6).expect("valid"), expected);
        for name in ["a.csv.gz", "compressed.csv"] {
            let compressed = folder.path().join(name);
            let mut encoder = flate2::write::GzEncoder::new(
                File::create(&compressed).expect("created"),
                flate2::Compression::fast(),
            );
            encoder.write_all(b"1,2,3\n").expect("written");
            encoder.finish().expect("written");
            assert_eq!(read(&compressed, 6).expect("valid"), expected);
        }
    }

    #[test]
    fn decompressed_bytes_are_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.csv");
        std::fs::write(&file, "1,2,3\n").expect("written");
        let error = read(&file, 5).expect_err("refused").to_string();
        assert!(error.contains("more than 5 bytes") && error.contains("--max-data-bytes"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        std::fs::write(place("no.csv.gz"), "no gzip").expect("written");
        std::fs::write(place("data.csv"), b"\xfd7zXZ\0\0\x04").expect("written");
        for (name, reason) in [
            ("no.csv.gz", "it is not gzip data"),
            ("data.csv", "it is compressed with xz"),
            ("nothing.csv", "cannot read"),
            ("", "not a regular file"),
        ] {
            let error = format!("{:#}", read(&place(name), 1 << 20).expect_err("refused"));
            assert!(error.contains(reason), "{error}");
            assert!(
                error.contains(&place(name).display().to_string()),
                "{error}"
            );
        }
    }
}
