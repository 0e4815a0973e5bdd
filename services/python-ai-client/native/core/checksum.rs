//! Checksums over memory, as fast as it is read.

/// A checksum over bytes, which any single change alters: the wrapping sum of their words, and the
/// bytes after the last whole word.
pub fn checksum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8);
    let last = number(words.remainder());
    words.fold(0, |sum: u64, word| sum.wrapping_add(number(word))) ^ last
}

/// At most 8 bytes, the least first.
fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn any_single_change_alters_it() {
        for len in [1, 7, 8, 9, 64, 1003] {
            let bytes: Vec<u8> = (0..len).map(|index| (index * 37 % 251) as u8).collect();
            for index in 0..bytes.len() {
                for bit in 0..8 {
                    let mut other = bytes.clone();
                    other[index] ^= 1 << bit;
                    assert_ne!(
                        checksum(&bytes),
                        checksum(&other),
                        "bit {bit} of byte {index} of {len}"
                    );
                }
            }
        }
    }

    #[test]
    fn it_is_the_sum_of_words_and_the_rest() {
        assert_eq!(checksum(&[]), 0);
        assert_eq!(
            checksum(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4]),
            3 ^ 4
        );
        assert_eq!(checksum(&[0xFF; 16]), u64::MAX.wrapping_mul(2));
    }
}
