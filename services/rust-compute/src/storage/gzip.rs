//! Decompresses gzip data: one member or several, and the zeros with which tapes and block devices
//! pad the last one.

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::GzDecoder;

use crate::signature::GZIP;

/// The decompressed bytes of all members.
pub struct GzipReader<R> {
    /// None after the end of the last member.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipReader<R> {
    pub fn new(compressed: R) -> Self {
        Self {
            member: Some(GzDecoder::new(compressed)),
        }
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(bytes).map_err(with_advice)?;
            if count > 0 || bytes.is_empty() {
                return Ok(count);
            }
            if let Some(member) = self.member.take() {
                self.member = next_member(member.into_inner())?;
            }
        }
        Ok(0)
    }
}

/// The member that follows, after any zeros. None at the end of the data.
fn next_member<R: BufRead>(mut compressed: R) -> io::Result<Option<GzDecoder<R>>> {
    loop {
        let ahead = compressed.fill_buf()?;
        if ahead.is_empty() {
            return Ok(None);
        }
        if ![0, GZIP[0]].contains(&ahead[0]) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "bytes that are not gzip data follow its gzip data; compress it again",
            ));
        }
        let zeros = ahead.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return Ok(Some(GzDecoder::new(compressed)));
        }
        compressed.consume(zeros);
    }
}

fn with_advice(error: io::Error) -> io::Error {
    let reason = match error.kind() {
        ErrorKind::UnexpectedEof => {
            "its gzip data ends too early: the file is truncated; copy or download it again"
                .to_owned()
        }
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            format!("its gzip data is damaged ({error}); copy or download it again")
        }
        _ => return error,
    };
    io::Error::new(error.kind(), reason)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn compressed(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn decompressed(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        let read = GzipReader::new(bytes).read_to_end(&mut text);
        read.map(|_| text).map_err(|error| error.to_string())
    }

    #[test]
    fn several_members_are_one_stream_and_padding_is_skipped() {
        let (one, two) = (compressed(b"one\n"), compressed(b"two\n"));
        let zeros = vec![0; 100_000];
        let both = || Ok(b"one\ntwo\n".to_vec());
        assert_eq!(decompressed(&[&one[..], &two].concat()), both());
        assert_eq!(decompressed(&[&one[..], &two, &zeros].concat()), both());
        assert_eq!(decompressed(&[&one[..], &zeros, &two].concat()), both());
    }

    #[test]
    fn damage_is_named() {
        let whole = compressed(&[7; 5000]);
        for cut in [1, 5, whole.len() / 2, whole.len() - 1] {
            let error = decompressed(&whole[..cut]).expect_err("refused");
            assert!(error.contains("truncated"), "{cut}: {error}");
        }
        let mut flipped = whole.clone();
        let checksum = whole.len() - 6;
        flipped[checksum] ^= 1;
        assert!(decompressed(&flipped)
            .expect_err("refused")
            .contains("damaged"));
        let trailing = [&whole[..], b"rubbish"].concat();
        assert!(decompressed(&trailing)
            .expect_err("refused")
            .contains("not gzip data"));
    }
}
