//! Opens delimited files: decompression, byte order mark, header lines, byte ranges.

use super::super::open;
use super::options::{Compression, Options};
use super::scanner::Scanner;
use slipher_common::plan::FileRef;
use slipher_common::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

/// How much is read at a time when lines are counted.
const COUNT_BUFFER_BYTES: usize = 1024 * 1024;

/// A file that is being read.
pub(super) struct Source {
    pub scanner: Scanner,
    path: String,
    /// Where the scanner's first line begins, if that is not the file's first.
    begins_at: Option<u64>,
    lines_before: Option<u64>,
}

impl Source {
    /// Opens a file, or a range of one: a row belongs to the range that holds its first byte.
    pub(super) fn open(file: &FileRef, options: &Options) -> Result<Self> {
        let (start, end) = file.range.unwrap_or((0, u64::MAX));
        let whole = start == 0 && end >= file.bytes;
        if !whole
            && (options.compression != Compression::None
                || options.dialect.csv_quote.is_some()
                || options.dialect.escape.is_some())
        {
            return Err(Error::internal(format!("reading a part of file \"{}\", which can only be read as a whole", file.path)));
        }
        let limit = if whole { u64::MAX } else { end };
        let mut scanner = Scanner::new(decompressed(open(file)?, options, &file.path)?, &options.dialect, &file.path, 0, limit);
        skip_header(&mut scanner, options, &file.path)?;
        let mut source = Self { scanner, path: file.path.clone(), begins_at: None, lines_before: None };
        if start > source.scanner.offset() {
            source.seek(file, options, start, limit)?;
        }
        Ok(source)
    }

    /// Goes to the first line that begins at `start` or later.
    fn seek(&mut self, file: &FileRef, options: &Options, start: u64, limit: u64) -> Result<()> {
        let mut opened = open(file)?;
        opened.seek(SeekFrom::Start(start - 1)).map_err(|error| self.io(&error))?;
        self.scanner = Scanner::new(Box::new(opened), &options.dialect, &file.path, start - 1, limit);
        // A line that begins at `start` has its predecessor's end at `start` - 1.
        self.scanner.skip_line()?;
        self.scanner.restart_lines();
        self.begins_at = Some(self.scanner.offset());
        Ok(())
    }

    /// Where the scanner's `line` is: for error messages. Lines before a range are counted when the first message needs them.
    pub(super) fn place(&mut self, line: u64) -> Result<String> {
        let before = match (self.begins_at, self.lines_before) {
            (None, _) => 0,
            (_, Some(known)) => known,
            (Some(end), None) => {
                let counted = count_lines(&self.path, end).map_err(|error| self.io(&error))?;
                *self.lines_before.insert(counted)
            }
        };
        Ok(format!("file \"{}\", line {}", self.path, before + line))
    }

    fn io(&self, error: &std::io::Error) -> Error {
        Error::io(format_args!("reading file \"{}\"", self.path), error)
    }
}

fn decompressed(mut file: File, options: &Options, path: &str) -> Result<Box<dyn Read>> {
    if options.compression == Compression::None {
        refuse_other_formats(&mut file, path)?;
    }
    Ok(match options.compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(file);
            Box::new(decoder.map_err(|error| Error::io(format_args!("reading file \"{path}\""), &error))?)
        }
    })
}

/// What a file begins with that is no text, what that is, and what to do about it.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (&[0x1f, 0x8b, 0x08], "is compressed with gzip", "add GZIP"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "is compressed with zstd", "add ZSTD"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "is compressed with xz", "compress it with GZIP or ZSTD"),
    (&[0x89, b'L', b'Z', b'O', 0], "is compressed with lzop", "compress it with GZIP or ZSTD"),
    (b"PK\x03\x04", "is a ZIP archive", "unpack it, or compress it with GZIP or ZSTD"),
    (b"Obj\x01", "is an Avro file", "convert it to Parquet"),
];
/// What a compressed block of bzip2 begins with, behind `BZh` and a digit.
const BZIP2_BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
/// What a Parquet file begins and ends with.
const PARQUET: &[u8] = b"PAR1";

/// A file that is not text as it is says so, before its bytes are taken for rows.
fn refuse_other_formats(file: &mut File, path: &str) -> Result<()> {
    let failed = |error: std::io::Error| Error::io(format_args!("reading file \"{path}\""), &error);
    let mut head = Vec::new();
    Read::by_ref(file).take(10).read_to_end(&mut head).map_err(failed)?;
    let mut tail = Vec::new();
    if head.starts_with(PARQUET) && file.seek(SeekFrom::End(-4)).is_ok() {
        file.read_to_end(&mut tail).map_err(failed)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let known = MAGIC.iter().find(|(magic, ..)| head.starts_with(magic)).map(|(_, what, instead)| (*what, *instead));
    let bzip2 = head.starts_with(b"BZh") && head.get(4..) == Some(BZIP2_BLOCK);
    let found = known
        .or_else(|| bzip2.then_some(("is compressed with bzip2", "compress it with GZIP or ZSTD")))
        .or_else(|| (tail == PARQUET).then_some(("is a Parquet file", "add FORMAT AS PARQUET")));
    match found {
        Some((what, instead)) => Err(Error::new(ErrorKind::BadFileFormat, format!("file \"{path}\" {what}"))
            .with_detail("COPY was told to read it as text that is not compressed")
            .with_hint(instead)),
        None => Ok(()),
    }
}

fn skip_header(scanner: &mut Scanner, options: &Options, path: &str) -> Result<()> {
    match scanner.peek(3)? {
        [0xef, 0xbb, 0xbf] => scanner.skip(3),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Err(Error::not_supported(
                format_args!("reading file \"{path}\": the encoding UTF-16"),
                "convert the file to UTF-8",
            ));
        }
        _ => {}
    }
    for _ in 0..options.ignore_header {
        scanner.skip_line()?;
    }
    Ok(())
}

/// Line ends among the first `bytes` bytes.
fn count_lines(path: &str, bytes: u64) -> std::io::Result<u64> {
    let mut input = BufReader::new(File::open(path)?).take(bytes);
    let mut buffer = vec![0; COUNT_BUFFER_BYTES];
    let mut lines = 0;
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return Ok(lines);
        }
        lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
    }
}
