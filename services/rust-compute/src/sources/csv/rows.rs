//! Splits a stream into rows and cells, block by block, and counts the lines of the file.

use std::io::{BufRead, BufReader, Read};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::error::CsvError;
use super::layout::Separator;

/// Bytes of cells at which a block is full: enough rows for all threads, in little memory.
const BLOCK_BYTES: usize = 1 << 20;
/// Longest row, without its separators and quotes.
pub const MAX_ROW_BYTES: usize = 64 << 20;
/// Most cells of a row: twice the features that a sample may have.
pub const MAX_CELLS: usize = 1 << 21;

/// Consecutive rows.
#[derive(Default)]
pub struct Block {
    /// The cells, without separators and quotes. Memory beyond what the rows use is spare.
    bytes: Vec<u8>,
    /// The end of each cell, as an offset from the first byte of its row.
    ends: Vec<usize>,
    rows: Vec<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    line: u64,
    first_byte: usize,
    first_cell: usize,
    bytes: usize,
    cells: usize,
}

/// A row of a block.
#[derive(Clone, Copy)]
pub struct Row<'b> {
    /// The line of the file on which it begins, from 1, as editors count.
    pub line: u64,
    bytes: &'b [u8],
    ends: &'b [usize],
}

impl<'b> Row<'b> {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn cell(&self, index: usize) -> &'b [u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    pub fn cells(&self) -> impl Iterator<Item = &'b [u8]> + '_ {
        (0..self.len()).map(|index| self.cell(index))
    }
}

impl Block {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn row(&self, index: usize) -> Row<'_> {
        let place = self.rows[index];
        Row {
            line: place.line,
            bytes: &self.bytes[place.first_byte..][..place.bytes],
            ends: &self.ends[place.first_cell..][..place.cells],
        }
    }

    /// Bytes and cells in use, behind which the next row begins.
    fn used(&self) -> (usize, usize) {
        self.rows.last().map_or((0, 0), |place| {
            (
                place.first_byte + place.bytes,
                place.first_cell + place.cells,
            )
        })
    }
}

/// The rows of a stream. Empty lines are skipped.
pub struct Rows<R> {
    input: BufReader<R>,
    parser: Reader,
    separator: Separator,
    newline: u8,
    /// The line of the next byte.
    line: u64,
}

impl<R: Read> Rows<R> {
    /// `newline` is the byte that ends a line, as lines are counted.
    pub fn new(input: R, separator: Separator, newline: u8) -> Self {
        Self {
            input: BufReader::with_capacity(1 << 16, input),
            parser: ReaderBuilder::new().delimiter(separator.byte()).build(),
            separator,
            newline,
            line: 1,
        }
    }

    /// Replaces the rows of the block with the next ones; with none at the end of the stream.
    pub fn read_block(&mut self, block: &mut Block) -> Result<(), CsvError> {
        block.rows.clear();
        while block.used().0 < BLOCK_BYTES {
            if !self.read_row(block)? {
                break;
            }
        }
        Ok(())
    }

    /// Adds the next row to the block. False at the end of the stream.
    pub fn read_row(&mut self, block: &mut Block) -> Result<bool, CsvError> {
        loop {
            self.skip_line_ends()?;
            let Some(place) = self.read_record(block)? else {
                return Ok(false);
            };
            block.rows.push(place);
            if !is_blank(block.row(block.len() - 1)) {
                return Ok(true);
            }
            block.rows.pop();
        }
    }

    /// Skips blank lines and the second half of \r\n. The parser would skip them too, but then the
    /// line on which the row begins would be unknown.
    fn skip_line_ends(&mut self) -> Result<(), CsvError> {
        loop {
            let ahead = self.input.fill_buf()?;
            let count = ahead
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            if count == 0 {
                return Ok(());
            }
            self.consume(count);
        }
    }

    fn consume(&mut self, count: usize) {
        let taken = &self.input.buffer()[..count];
        let ended = taken.iter().filter(|byte| **byte == self.newline).count();
        self.line += ended as u64;
        self.input.consume(count);
    }

    fn read_record(&mut self, block: &mut Block) -> Result<Option<Place>, CsvError> {
        let (first_byte, first_cell) = block.used();
        let line = self.line;
        let (mut bytes, mut cells) = (0, 0);
        loop {
            if block.bytes.len() < first_byte + bytes + 1 {
                grow(&mut block.bytes, 1 << 12);
            }
            if block.ends.len() < first_cell + cells + 1 {
                grow(&mut block.ends, 1 << 8);
            }
            let (result, read, written, ended) = self.parser.read_record(
                self.input.fill_buf()?,
                &mut block.bytes[first_byte + bytes..],
                &mut block.ends[first_cell + cells..],
            );
            self.consume(read);
            bytes += written;
            cells += ended;
            if bytes > MAX_ROW_BYTES || cells > MAX_CELLS {
                return Err(CsvError::EndlessRow { line });
            }
            match result {
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::Record => break,
                ReadRecordResult::InputEmpty
                | ReadRecordResult::OutputFull
                | ReadRecordResult::OutputEndsFull => {}
            }
        }
        if self.separator == Separator::Space {
            cells = drop_empty_cells(&mut block.ends[first_cell..first_cell + cells]);
        }
        Ok(Some(Place {
            line,
            first_byte,
            first_cell,
            bytes,
            cells,
        }))
    }
}

/// Doubles the length, to at least `min_length`.
fn grow<T: Clone + Default>(values: &mut Vec<T>, min_length: usize) {
    let length = (values.len() * 2).max(min_length);
    values.resize(length, T::default());
}

/// Moves the ends of cells that are not empty to the front, and returns their number.
fn drop_empty_cells(ends: &mut [usize]) -> usize {
    let (mut kept, mut last) = (0, 0);
    for index in 0..ends.len() {
        if ends[index] != last {
            last = ends[index];
            ends[kept] = last;
            kept += 1;
        }
    }
    kept
}

/// Whether the line has nothing but blanks.
fn is_blank(row: Row<'_>) -> bool {
    row.len() < 2 && row.cells().all(|cell| cell.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line and cells of each row.
    fn rows(text: &[u8], separator: Separator) -> Vec<(u64, Vec<String>)> {
        let mut rows = Rows::new(text, separator, b'\n');
        let mut block = Block::default();
        while rows.read_row(&mut block).expect("valid") {}
        (0..block.len())
            .map(|index| {
                let row = block.row(index);
                let text = |cell| String::from_utf8_lossy(cell).into_owned();
                (row.line, row.cells().map(text).collect())
            })
            .collect()
    }

    fn expected(rows: &[(u64, &[&str])]) -> Vec<(u64, Vec<String>)> {
        rows.iter()
            .map(|(line, cells)| (*line, cells.iter().map(|cell| cell.to_string()).collect()))
            .collect()
    }

    #[test]
    fn lines_are_counted_as_in_an_editor() {
        for end in ["\n", "\r\n"] {
            let text = [
                "\u{feff}a,b",
                "",
                "1,\"two",
                "lines\"",
                "  ",
                "3,",
                ",4",
                "5,6",
            ]
            .join(end);
            let between = format!("two{end}lines");
            let wanted = expected(&[
                (1, &["a", "b"]),
                (3, &["1", &between]),
                (6, &["3", ""]),
                (7, &["", "4"]),
                (8, &["5", "6"]),
            ]);
            assert_eq!(rows(text.as_bytes(), Separator::Comma), wanted);
        }
    }

    #[test]
    fn a_run_of_blanks_is_one_separator() {
        let wanted = expected(&[(1, &["1.0", "2.0"]), (3, &["3", "4"])]);
        assert_eq!(rows(b"  1.0   2.0 \n   \n3 4\n", Separator::Space), wanted);
    }

    #[test]
    fn blocks_hold_all_rows_in_order() {
        let line = format!("{},0\n", "7".repeat(1000));
        let text = line.repeat(5000);
        let mut rows = Rows::new(text.as_bytes(), Separator::Comma, b'\n');
        let mut block = Block::default();
        let mut lines = Vec::new();
        loop {
            rows.read_block(&mut block).expect("valid");
            if block.is_empty() {
                break;
            }
            assert!(block.bytes.len() <= 4 * BLOCK_BYTES);
            lines.extend((0..block.len()).map(|index| block.row(index).line));
        }
        assert_eq!(lines, (1..=5000).collect::<Vec<u64>>());
    }

    #[test]
    fn an_endless_row_is_refused() {
        let endless = std::io::repeat(b'7');
        let mut rows = Rows::new((&b"1,2\n\""[..]).chain(endless), Separator::Comma, b'\n');
        let error = rows.read_block(&mut Block::default()).expect_err("refused");
        assert!(error.to_string().starts_with("line 2: "), "{error}");
        let commas = std::io::repeat(b',');
        let mut rows = Rows::new(commas, Separator::Comma, b'\n');
        assert!(rows.read_block(&mut Block::default()).is_err());
    }
}
