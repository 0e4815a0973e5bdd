//! Unpacking gzip: one member or several, and zeros behind the last one, which tapes and block
//! devices pad with.

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::GzDecoder;

use crate::storage::magic::GZIP;

/// The unpacked bytes of all members.
pub struct Gunzip<R> {
    /// None once the last member has ended.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gunzip<R> {
    pub fn new(packed: R) -> Self {
        Self {
            member: Some(GzDecoder::new(packed)),
        }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(bytes).map_err(explained)?;
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

/// What follows a member: another one, or zeros and the end.
fn next_member<R: BufRead>(mut packed: R) -> io::Result<Option<GzDecoder<R>>> {
    loop {
        let ahead = packed.fill_buf()?;
        if ahead.is_empty() {
            return Ok(None);
        }
        if ![0, GZIP[0]].contains(&ahead[0]) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "other bytes follow its gzip data; pack it again",
            ));
        }
        let zeros = ahead.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return Ok(Some(GzDecoder::new(packed)));
        }
        packed.consume(zeros);
    }
}

fn explained(error: io::Error) -> io::Error {
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

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        let read = Gunzip::new(bytes).read_to_end(&mut text);
        read.map(|_| text).map_err(|error| error.to_string())
    }

    #[test]
    fn members_follow_each_other_and_padding_is_skipped() {
        let (one, two) = (packed(b"one\n"), packed(b"two\n"));
        let zeros = vec![0; 100_000];
        let both = || Ok(b"one\ntwo\n".to_vec());
        assert_eq!(unpacked(&[&one[..], &two].concat()), both());
        assert_eq!(unpacked(&[&one[..], &two, &zeros].concat()), both());
        assert_eq!(unpacked(&[&one[..], &zeros, &two].concat()), both());
    }

    #[test]
    fn what_is_wrong_with_the_data_is_named() {
        let whole = packed(&[7; 5000]);
        for cut in [1, 5, whole.len() / 2, whole.len() - 1] {
            let error = unpacked(&whole[..cut]).expect_err("refused");
            assert!(error.contains("truncated"), "{cut}: {error}");
        }
        let mut flipped = whole.clone();
        let checksum = whole.len() - 6;
        flipped[checksum] ^= 1;
        assert!(unpacked(&flipped).expect_err("refused").contains("damaged"));
        let trailing = [&whole[..], b"rubbish"].concat();
        assert!(unpacked(&trailing)
            .expect_err("refused")
            .contains("other bytes"));
    }
}
