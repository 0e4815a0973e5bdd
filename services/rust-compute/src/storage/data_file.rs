//! The bytes of a source file as a stream: unpacked, counted against a limit, and hashed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{bail, Context, Result};
use sha2::{Digest, Sha256};

use crate::storage::gzip::Gunzip;
use crate::storage::magic::{foreign, GZIP};

/// How much is read from the disk at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// A file that is being read.
pub struct Source {
    stream: Box<dyn Read + Send>,
    hash: Sha256,
    read: u64,
    most: u64,
}

impl Source {
    /// Opens a file of which at most `most` unpacked bytes are read. Its first bytes say whether it
    /// is packed with gzip, not its name.
    pub fn open(file: &Path, most: u64) -> Result<Self> {
        let cannot = || format!("cannot read {}", file.display());
        let opened = File::open(file).with_context(cannot)?;
        if !opened.metadata().with_context(cannot)?.is_file() {
            // A service that starts again, or a second replica, has to read the same bytes.
            bail!(
                "{} is not a regular file; copy the data into one",
                file.display()
            );
        }
        let mut packed = BufReader::with_capacity(BUFFER_BYTES, opened);
        let head = packed.fill_buf().with_context(cannot)?;
        if let Some(advice) = foreign(head) {
            bail!("{} is not usable: {advice}", file.display());
        }
        let stream: Box<dyn Read + Send> = if head.starts_with(GZIP) {
            Box::new(Gunzip::new(packed))
        } else if file.extension().is_some_and(|name| name == "gz") {
            bail!("{} is not usable: its name ends with .gz, but it is not gzip data; rename it, or pack it again", file.display());
        } else {
            Box::new(packed)
        };
        Ok(Self {
            stream,
            hash: Sha256::new(),
            read: 0,
            most,
        })
    }

    /// SHA-256 of the unpacked bytes that have been read.
    pub fn hash(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

impl Read for Source {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(bytes)?;
        self.read += count as u64;
        if self.read > self.most {
            return Err(io::Error::other(format!(
                "it has more than {} bytes when unpacked; raise --max-data-bytes (PANGEA_MAX_DATA_BYTES) if there is memory for it",
                self.most
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

    fn read(file: &Path, most: u64) -> Result<(Vec<u8>, [u8; 32])> {
        let mut source = Source::open(file, most)?;
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes)?;
        Ok((bytes, source.hash()))
    }

    fn refusal(file: &Path) -> String {
        format!("{:#}", read(file, 1 << 20).expect_err("refused"))
    }

    #[test]
    fn a_compressed_file_is_the_same_data_whatever_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let plain = folder.path().join("a.csv");
        std::fs::write(&plain, "1,2,3\n").expect("written");
        let expected = (b"1,2,3\n".to_vec(), Sha256::digest("1,2,3\n").into());
        assert_eq!(read(&plain, 6).expect("valid"), expected);
        for name in ["a.csv.gz", "packed.csv"] {
            let packed = folder.path().join(name);
            let mut encoder = flate2::write::GzEncoder::new(
                File::create(&packed).expect("created"),
                flate2::Compression::fast(),
            );
            encoder.write_all(b"1,2,3\n").expect("written");
            encoder.finish().expect("written");
            assert_eq!(read(&packed, 6).expect("valid"), expected);
        }
    }

    #[test]
    fn unpacked_bytes_are_bounded() {
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
            let error = refusal(&place(name));
            assert!(error.contains(reason), "{error}");
            assert!(
                error.contains(&place(name).display().to_string()),
                "{error}"
            );
        }
    }
}
