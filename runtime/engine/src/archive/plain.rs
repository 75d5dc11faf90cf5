//! Takes away whatever an archive is compressed with: gzip and zstd here, bzip2 and xz by their programs, which hardly anybody needs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;

use crate::{Error, Kind, unpack};

const BUFFER: usize = 256 << 10;

/// Calls `work` with the archive as it was before it was compressed.
pub(crate) fn plain<T>(
    input: &mut (dyn Read + Send),
    work: impl FnOnce(&mut (dyn Read + Send)) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut input = BufReader::with_capacity(BUFFER, input);
    let magic = input.fill_buf().context("read the archive")?;
    if magic.is_empty() {
        anyhow::bail!(Error::invalid("the archive is empty"));
    }
    if magic.starts_with(b"BZh") {
        return by_program("bzip2", &[], &mut input, work);
    }
    if magic.starts_with(b"\xfd7zXZ\0") {
        return by_program("xz", &[MEMORY], &mut input, work);
    }
    if !magic.starts_with(&[0x1f, 0x8b]) && !magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return work(&mut input);
    }
    let mut inflated = layer::inflate(&mut input, None, &unpack::options().limits)?;
    work(&mut inflated)
}

/// What a program may need to unpack: as much as zstd may here. The strongest that xz makes unless it is told a number needs 65 MiB.
const MEMORY: &str = "--memlimit-decompress=256MiB";

fn by_program<T>(
    program: &str,
    arguments: &[&str],
    input: &mut (dyn Read + Send),
    work: impl FnOnce(&mut (dyn Read + Send)) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut child = Running(start(program, arguments)?);
    let (mut to, from) = (
        child.0.stdin.take().context("the program has no input")?,
        child.0.stdout.take().context("the program has no output")?,
    );
    let stderr = child.0.stderr.take();
    let taken = Arc::new(AtomicU64::new(0));
    let bounded = layer::Bounded::new(from, Arc::clone(&taken), &unpack::options().limits);
    let mut output = Output {
        from: bounded,
        ended: false,
    };
    let (done, fed, said) = std::thread::scope(|scope| {
        // From the beginning: a program that nobody hears stops where its pipe is full.
        let said = scope.spawn(move || stderr.map_or_else(String::new, said));
        let feed = scope.spawn(move || feed(input, &mut to, &taken));
        let done = work(&mut output);
        let ended = output.ended;
        // A program that still writes ends when nobody reads.
        drop(output);
        let (fed, said) = (feed.join(), said.join().unwrap_or_default());
        (done.map_err(|error| (error, ended)), fed, said)
    });
    let status = child
        .0
        .wait()
        .with_context(|| format!("wait for {program}"))?;
    let failed = !status.success() && status.code().is_some();
    let broken = || {
        let text = format!("the archive cannot be read: {program} ended with {status}{said}");
        Error::new(Kind::Damaged, text)
    };
    let done = match done {
        // What it has not given is missing to whoever read it.
        Err((_, true)) if failed => anyhow::bail!(broken()),
        Err((error, _)) => return Err(error),
        Ok(done) => done,
    };
    let left = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    match fed {
        Ok(Err(error)) if !left(&error) => return Err(error).context("read the archive"),
        Ok(_) => {}
        Err(_) => anyhow::bail!("the thread that reads the archive has ended"),
    }
    if failed {
        anyhow::bail!(broken());
    }
    Ok(done)
}

/// Gives a program its input, and counts it before the program can have made anything of it.
fn feed(from: &mut dyn Read, to: &mut dyn Write, taken: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return to.flush(),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        taken.fetch_add(read as u64, Ordering::Relaxed);
        to.write_all(&buffer[..read])?;
    }
}

/// What a program gives, and whether that was all.
struct Output<R> {
    from: R,
    ended: bool,
}

impl<R: Read> Read for Output<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.ended |= read == 0 && !buffer.is_empty();
        Ok(read)
    }
}

/// Returns the first line of what a program says until it ends, for the end of a message.
fn said(mut from: impl Read) -> String {
    let mut text = Vec::new();
    // Without its words its status is told.
    from.by_ref().take(4096).read_to_end(&mut text).ok();
    io::copy(&mut from, &mut io::sink()).ok();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.map_or_else(String::new, |line| format!(": {line}"))
}

fn start(program: &str, arguments: &[&str]) -> anyhow::Result<Child> {
    let started = Command::new(program)
        .args(["-d", "-c"])
        .args(arguments)
        .env("LC_ALL", "C")
        // Options of the user's, as those of the command.
        .env_remove("XZ_OPT")
        .env_remove("XZ_DEFAULTS")
        .env_remove("BZIP2")
        .env_remove("BZIP")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Ok(started.map_err(|error| {
        let text =
            format!("the archive is compressed with {program}, which cannot be started: {error}");
        Error::new(Kind::Unsupported, text)
            .with_hint(format!("install {program}, or unpack the archive first"))
    })?)
}

/// Nothing outlives its verb.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, in most cases.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
