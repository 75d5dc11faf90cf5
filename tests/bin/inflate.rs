//! Inflates and hashes gzipped layers, as fast as the processors can: the floor of a pull.
//!
//! `inflate FILE...` takes the largest first, one on each processor at a time; of each it hashes the packed and the unpacked bytes, with the
//! libraries that the engine has, and keeps nothing. Output, one line: wall ns, bytes read, bytes inflated.

#![allow(clippy::print_stderr, clippy::print_stdout)]

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

fn main() {
    if let Err(error) = run() {
        eprintln!("inflate: {error}");
        std::process::exit(1);
    }
}

fn run() -> io::Result<()> {
    let mut files = Vec::new();
    for name in std::env::args_os().skip(1) {
        let path = PathBuf::from(name);
        files.push((fs::metadata(&path)?.len(), path));
    }
    files.sort();
    let begin = Instant::now();
    let queue = Mutex::new(files);
    let (read, inflated) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || -> io::Result<()> {
        loop {
            let next = queue.lock().map_err(|_| io::ErrorKind::Other)?.pop();
            let Some((size, path)) = next else {
                return Ok(());
            };
            inflated.fetch_add(one(&path)?, Ordering::Relaxed);
            read.fetch_add(size, Ordering::Relaxed);
        }
    };
    let processors = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| -> io::Result<()> {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().map_err(|_| io::ErrorKind::Other)??;
        }
        Ok(())
    })?;
    println!(
        "{} {} {}",
        begin.elapsed().as_nanos(),
        read.into_inner(),
        inflated.into_inner()
    );
    Ok(())
}

/// Returns how many bytes came out.
fn one(path: &PathBuf) -> io::Result<u64> {
    let packed = Hashed {
        inner: File::open(path)?,
        hash: Sha256::new(),
    };
    let mut out = MultiGzDecoder::new(BufReader::with_capacity(1 << 18, packed));
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 1 << 18];
    let mut sum = 0;
    loop {
        let count = out.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        sum += count as u64;
    }
    // The digests are what the time went into; nobody wants to see them.
    let digests = (
        hash.finalize(),
        out.into_inner().into_inner().hash.finalize(),
    );
    std::hint::black_box(digests);
    Ok(sum)
}

struct Hashed {
    inner: File,
    hash: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
