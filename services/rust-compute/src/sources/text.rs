//! Texts: each distinct byte is a character, and a character is a token. A sample is `context`
//! consecutive tokens, and the label of each token is the token after it.

use std::io::{self, Read};

use rayon::prelude::*;
use rust_compute_dataset::{Column, Columns, Elements, Features, Names, MAX_ROW_ELEMENTS};
use rust_compute_storage::DataFile;
use thiserror::Error;

use crate::format::{Format, FormatError, Reader};
use crate::options::{integer, OptionError, Options};

pub const FORMAT: Format = Format {
    kind: "text",
    grammar: "text:PATH[,context=64][,held_out=0.1]",
    held_out: 0.1,
    reader: Text::from_options,
};

const DEFAULT_CONTEXT: usize = 64;
/// Smaller tasks would cost more to distribute over threads than to do.
const BYTES_PER_TASK: usize = 1 << 16;

/// Samples of `context` characters.
#[derive(Clone, Copy, Debug)]
struct Text {
    context: usize,
}

#[derive(Debug, Error)]
enum TextError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("there is not enough memory for its {bytes} tokens; give the data service more, or make the file smaller")]
    OutOfMemory { bytes: usize },
    #[error("it has {bytes} bytes; one sample of context {context} needs {}", context + 1)]
    TooShort { bytes: usize, context: usize },
}

impl Text {
    fn from_options(options: &mut Options<'_>) -> Result<Box<dyn Reader>, OptionError> {
        let expected = format!("an integer from 1 to {MAX_ROW_ELEMENTS}");
        let context = options.take_with("context", expected, |value| {
            let context = integer(value)?;
            (1..=MAX_ROW_ELEMENTS)
                .contains(&context)
                .then_some(context as usize)
        })?;
        Ok(Box::new(Self {
            context: context.unwrap_or(DEFAULT_CONTEXT),
        }))
    }

    /// The samples of a text; what is left at its end is not used. `hash` is that of the text.
    fn columns(self, text: Vec<u8>, hash: [u8; 32]) -> Result<Columns, FormatError> {
        let Self { context } = self;
        if text.len() <= context {
            return Err(TextError::TooShort {
                bytes: text.len(),
                context,
            }
            .into());
        }
        let (tokens, vocabulary) = tokenise(&text)?;
        // The tokens take eight times the memory; what follows needs them alone.
        drop(text);
        // The label of the last token of a sample is not one of its features, so the last sample
        // needs one token more.
        let samples = (tokens.len() - 1) / context;
        let (tokens, shape) = (Elements::Int64(tokens.into()), [context as u64]);
        Ok(Columns {
            features: Features::Final(Column::new(tokens.clone(), 0, samples, &shape)?),
            labels: Column::new(tokens, 1, samples, &shape)?,
            // At most 256 bytes are distinct.
            classes: vocabulary.len() as u32,
            names: Names {
                vocabulary,
                ..Names::default()
            },
            hash,
        })
    }
}

impl Reader for Text {
    fn options(&self) -> Vec<(&'static str, String)> {
        vec![("context", self.context.to_string())]
    }

    fn read(&self, mut file: DataFile) -> Result<Columns, FormatError> {
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(TextError::Read)?;
        self.columns(text, file.hash())
    }
}

/// Each byte as its index in the vocabulary, and the vocabulary: the distinct bytes, ascending.
fn tokenise(text: &[u8]) -> Result<(Vec<i64>, Vec<u8>), TextError> {
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
    let mut tokens = Vec::new();
    let bytes = text.len();
    if tokens.try_reserve_exact(bytes).is_err() {
        return Err(TextError::OutOfMemory { bytes });
    }
    text.par_iter()
        .with_min_len(BYTES_PER_TASK)
        .map(|byte| token_of[usize::from(*byte)])
        .collect_into_vec(&mut tokens);
    Ok((tokens, vocabulary))
}

#[cfg(test)]
#[path = "text_test.rs"]
mod tests;
