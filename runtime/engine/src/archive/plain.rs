//! Takes away whatever an archive is compressed with: gzip and zstd here, bzip2 and xz by their programs, which hardly anybody needs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

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
        return by_program("bzip2", &mut input, work);
    }
    if magic.starts_with(b"\xfd7zXZ\0") {
        return by_program("xz", &mut input, work);
    }
    if !magic.starts_with(&[0x1f, 0x8b]) && !magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return work(&mut input);
    }
    let mut inflated = layer::inflate(&mut input, None, &unpack::options().limits)?;
    work(&mut inflated)
}

fn by_program<T>(
    program: &str,
    input: &mut (dyn Read + Send),
    work: impl FnOnce(&mut (dyn Read + Send)) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut child = Running(start(program)?);
    let (mut to, mut from) = (
        child.0.stdin.take().context("the program has no input")?,
        child.0.stdout.take().context("the program has no output")?,
    );
    let (done, fed) = std::thread::scope(|scope| {
        let feed = scope.spawn(move || {
            let fed = io::copy(input, &mut to);
            fed.and_then(|_| to.flush())
        });
        let done = work(&mut from);
        // A program that still writes ends when nobody reads.
        drop(from);
        (done, feed.join())
    });
    let status = child
        .0
        .wait()
        .with_context(|| format!("wait for {program}"))?;
    let done = done?;
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    match fed {
        Ok(Err(error)) if !broken(&error) => return Err(error).context("read the archive"),
        Ok(_) => {}
        Err(_) => anyhow::bail!("the thread that reads the archive has ended"),
    }
    if !status.success() && status.code().is_some() {
        let text = format!("the archive cannot be read: {program} ended with {status}");
        anyhow::bail!(Error::new(Kind::Damaged, text));
    }
    Ok(done)
}

fn start(program: &str) -> anyhow::Result<Child> {
    let started = Command::new(program)
        .args(["-d", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
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
