//! Reading a text file: every distinct byte is a character, and a character is a token.

use std::io::Read;
use std::path::Path;

use anyhow::{bail, Context, Result};
use rayon::prelude::*;

use crate::storage::Source;

/// Fewer bytes than this are handled by one thread: handing them out would take longer.
const BYTES_PER_TASK: usize = 1 << 16;

/// A file's characters, in its order.
#[derive(Debug, PartialEq, Eq)]
pub struct RawText {
    /// Places in the vocabulary.
    pub tokens: Vec<i64>,
    /// The distinct bytes of the file, ascending.
    pub vocabulary: Vec<u8>,
    /// SHA-256 of the file's bytes, decompressed.
    pub hash: [u8; 32],
}

impl RawText {
    /// Samples of `context` tokens, each with the tokens that follow them: every label but the last of a sample is a feature of it too.
    pub fn samples(&self, context: usize) -> usize {
        self.tokens.len().saturating_sub(1) / context
    }
}

/// Reads a file that has at least one sample of `context` tokens; `most` bounds its unpacked bytes.
pub fn read_text(file: &Path, context: usize, most: u64) -> Result<RawText> {
    let mut source = Source::open(file, most)?;
    let mut text = Vec::new();
    source
        .read_to_end(&mut text)
        .map_err(anyhow::Error::from)
        .and_then(|_| tokenise(&text, source.hash(), context))
        .with_context(|| format!("{} is not usable", file.display()))
}

/// `hash` is that of the text.
pub fn tokenise(text: &[u8], hash: [u8; 32], context: usize) -> Result<RawText> {
    if text.len() <= context {
        bail!(
            "it has {} bytes; one sample of --context {context} needs {}",
            text.len(),
            context + 1
        );
    }
    let present = text
        .par_chunks(BYTES_PER_TASK)
        .map(|chunk| {
            let mut present = [false; 256];
            chunk
                .iter()
                .for_each(|byte| present[usize::from(*byte)] = true);
            present
        })
        .reduce(
            || [false; 256],
            |one, other| std::array::from_fn(|byte| one[byte] || other[byte]),
        );
    let vocabulary: Vec<u8> = (0..=u8::MAX)
        .filter(|byte| present[usize::from(*byte)])
        .collect();
    let mut token_of = [0_i64; 256];
    for (token, byte) in (0..).zip(&vocabulary) {
        token_of[usize::from(*byte)] = token;
    }
    let tokens = text
        .par_iter()
        .with_min_len(BYTES_PER_TASK)
        .map(|byte| token_of[usize::from(*byte)])
        .collect();
    Ok(RawText {
        tokens,
        vocabulary,
        hash,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_place_of_its_byte_among_the_distinct_ones() {
        let raw = tokenise(b"hello\n\xff", [0; 32], 3).expect("valid");
        assert_eq!(raw.vocabulary, b"\nehlo\xff");
        assert_eq!(raw.tokens, [2, 1, 3, 3, 4, 0, 5]);
    }

    #[test]
    fn a_sample_needs_the_token_after_it() {
        let raw = tokenise(b"abcdefg", [0; 32], 3).expect("valid");
        assert_eq!(
            [1, 2, 3, 4, 6, 7].map(|n| raw.samples(n)),
            [6, 3, 2, 1, 1, 0]
        );
    }

    #[test]
    fn all_bytes_may_occur_and_many_threads_agree() {
        let text: Vec<u8> = (0..5 * BYTES_PER_TASK)
            .map(|i| (i * i / 7 % 256) as u8)
            .chain(0..=255)
            .collect();
        let raw = tokenise(&text, [0; 32], 64).expect("valid");
        assert_eq!(raw.vocabulary, (0..=255).collect::<Vec<u8>>());
        assert!(raw
            .tokens
            .iter()
            .zip(&text)
            .all(|(token, byte)| *token == i64::from(*byte)));
    }

    #[test]
    fn a_file_without_a_sample_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("short.txt");
        std::fs::write(&file, "abc").expect("written");
        assert_eq!(read_text(&file, 2, 9).expect("valid").samples(2), 1);
        let error = format!("{:#}", read_text(&file, 3, 9).expect_err("refused"));
        assert!(
            error.contains(
                "short.txt is not usable: it has 3 bytes; one sample of --context 3 needs 4"
            ),
            "{error}"
        );
        std::fs::write(&file, "").expect("written");
        assert!(read_text(&file, 1, 9).is_err());
        let missing = folder.path().join("nothing.txt");
        let error = format!("{:#}", read_text(&missing, 1, 9).expect_err("refused"));
        assert!(error.contains("nothing.txt"), "{error}");
    }
}
