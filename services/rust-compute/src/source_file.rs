//! The bytes of a source file, unpacked.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;

/// Reads the whole file. Its name decides about compression (.gz).
pub fn read_source(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let stream = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let unpacked = if file.extension().is_some_and(|name| name == "gz") {
        MultiGzDecoder::new(stream).read_to_end(&mut bytes)
    } else {
        { stream }.read_to_end(&mut bytes)
    };
    unpacked.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_compressed_file_is_the_same_data() {
        let folder = tempfile::tempdir().expect("a folder");
        let (plain, packed) = (folder.path().join("a.csv"), folder.path().join("a.csv.gz"));
        std::fs::write(&plain, "1,2,3\n").expect("written");
        let mut encoder = flate2::write::GzEncoder::new(
            File::create(&packed).expect("created"),
            flate2::Compression::fast(),
        );
        encoder.write_all(b"1,2,3\n").expect("written");
        encoder.finish().expect("written");
        for file in [&plain, &packed] {
            assert_eq!(read_source(file).expect("valid"), b"1,2,3\n");
        }
    }

    #[test]
    fn a_missing_or_damaged_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let damaged = folder.path().join("damaged.csv.gz");
        std::fs::write(&damaged, "no gzip").expect("written");
        for file in [damaged, folder.path().join("nothing.csv")] {
            let error = format!("{:#}", read_source(&file).expect_err("refused"));
            assert!(error.contains(&file.display().to_string()), "{error}");
        }
    }
}
