//! Mutations: what makes one input out of another.

use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// Numbers at which programs go wrong.
const NUMBERS: [u32; 12] = [
    0,
    1,
    2,
    7,
    8,
    127,
    255,
    0xffff,
    0x1fff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
];
/// Words of the formats.
const WORDS: [&[u8]; 22] = [
    b",",
    b";",
    b"\t",
    b"|",
    b" ",
    b"\"",
    b"\"\"",
    b"\n",
    b"\r\n",
    b"\r",
    b"#",
    b"-",
    b"1e999",
    b"nan",
    b"0.5",
    b"9007199254740993",
    b"\xef\xbb\xbf",
    b"\0",
    b"\xff\xfe",
    b"csv:",
    b",shape=1x8x8",
    b"\x1f\x8b\x08\0",
];

pub struct Mutator(ChaCha20Rng);

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    /// A number below `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound.max(1) as u64) as usize
    }

    /// One of the inputs after a few mutations.
    pub fn mutated(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        // Half of the time one of the newest: they led to something new.
        let newest = inputs.len().saturating_sub(16);
        let index = if self.below(2) == 0 {
            newest + self.below(inputs.len() - newest)
        } else {
            self.below(inputs.len())
        };
        let mut input = inputs.get(index).cloned().unwrap_or_default();
        for _ in 0..=self.below(6) {
            self.mutate(&mut input, inputs);
        }
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let length = self.below(16.min(input.len() - at) + 1);
        match self.below(9) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << (self.0.next_u32() % 8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.0.next_u32() as u8;
                }
            }
            2 => {
                // Numbers of messages are aligned.
                let at = at / 4 * 4;
                let number = NUMBERS[self.below(NUMBERS.len())];
                if let Some(bytes) = input.get_mut(at..at + 4) {
                    bytes.copy_from_slice(&number.to_le_bytes());
                }
            }
            3 => {
                let word = WORDS[self.below(WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            4 => {
                input.drain(at..at + length);
            }
            5 => {
                let piece = input[at..at + length].to_vec();
                let copies = 1 + self.below(64);
                input.splice(at..at, piece.repeat(copies));
            }
            6 => input.truncate(at),
            7 => {
                let noise: Vec<u8> = (0..=self.below(8))
                    .map(|_| self.0.next_u32() as u8)
                    .collect();
                input.splice(at..at, noise);
            }
            _ => {
                let other = &inputs[self.below(inputs.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
}
