//! Bytes of one blob from the registry into its file: what is missing, a large rest over several connections.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use bytes::{Bytes, BytesMut};
use image::{Descriptor, Repository};
use registry::{BlobStream, Client};
use store::Partial;
use tokio::task::{JoinSet, spawn_blocking};

use super::front::Front;
use crate::Error;
use crate::progress::{Layer, Step};

/// What has more pieces than this is fetched piece by piece, over several connections.
const FEW: u64 = 4;
/// Connections for one blob. Servers far away give each connection only so much.
const LANES: usize = 3;
/// What is collected before it is written: a kill loses no more than this of a connection.
const WRITE: usize = 128 << 10;

/// A blob that is being fetched: where from, where to, and who is told.
#[derive(Debug)]
pub(crate) struct Flow {
    pub client: Client,
    pub repository: Repository,
    pub descriptor: Descriptor,
    pub partial: Arc<Partial>,
    pub front: Arc<Front>,
    pub layer: Layer,
    /// Who has given bytes.
    pub hosts: Mutex<BTreeSet<String>>,
}

impl Flow {
    /// Notes who gives bytes, before they can be read.
    fn from(&self, host: &str) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.contains(host) {
            return;
        }
        hosts.insert(host.to_string());
        if host != self.repository.host {
            self.front.want_all();
        }
    }
}

/// Fetches all that is missing, and returns the names of the hosts that gave it.
pub(crate) async fn fetch(flow: &Arc<Flow>) -> Result<BTreeSet<String>> {
    fetch_missing(flow).await?;
    let mut hosts = flow.hosts.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *hosts))
}

async fn fetch_missing(flow: &Arc<Flow>) -> Result<()> {
    let mut missing = flow.partial.missing();
    let rest: u64 = missing.iter().map(|span| span.end - span.start).sum();
    let piece = flow.client.chunk();
    if rest > piece.saturating_mul(FEW) {
        let pieces = pieces(&missing, piece);
        let stream = open(flow, &pieces[0]).await?;
        if stream.ranges() {
            return in_lanes(flow, stream, pieces).await;
        }
        // Every further request would send all again from its beginning: one has to do, for what is here in between, too.
        drop(stream);
        let stream = open(flow, &(missing[0].start..missing[missing.len() - 1].end)).await?;
        return write(flow, stream, &missing).await;
    }
    for span in missing.drain(..) {
        let stream = open(flow, &span).await?;
        write(flow, stream, &[span]).await?;
    }
    Ok(())
}

async fn open(flow: &Flow, span: &Range<u64>) -> Result<BlobStream> {
    let Flow {
        client,
        repository,
        descriptor,
        ..
    } = flow;
    Ok(client.blob(repository, descriptor, span.clone()).await?)
}

/// Fetches the pieces in order, so that the contiguous beginning grows while the lanes are at work.
async fn in_lanes(flow: &Arc<Flow>, first: BlobStream, pieces: Vec<Range<u64>>) -> Result<()> {
    let mut queue = VecDeque::from(pieces);
    // No other lane gets the piece that is under way.
    let mut first = queue.pop_front().map(|span| (span, first));
    let queue = Arc::new(Mutex::new(queue));
    let mut lanes = JoinSet::new();
    for _ in 0..LANES {
        let (flow, queue, first) = (Arc::clone(flow), Arc::clone(&queue), first.take());
        lanes.spawn(async move {
            if let Some((span, stream)) = first {
                write(&flow, stream, &[span]).await?;
            }
            while let Some(span) = next(&queue) {
                let stream = open(&flow, &span).await?;
                write(&flow, stream, &[span]).await?;
            }
            anyhow::Ok(())
        });
    }
    // The first error drops the set, which ends the other lanes.
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

fn next(queue: &Mutex<VecDeque<Range<u64>>>) -> Option<Range<u64>> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    queue.pop_front()
}

fn pieces(missing: &[Range<u64>], most: u64) -> Vec<Range<u64>> {
    let cut = |span: &Range<u64>| {
        let (mut at, end) = (span.start, span.end);
        std::iter::from_fn(move || {
            let piece = at..end.min(at.saturating_add(most));
            at = piece.end;
            (!piece.is_empty()).then_some(piece)
        })
    };
    missing.iter().flat_map(cut).collect()
}

/// Writes of one stream what is missing to where it belongs.
async fn write(flow: &Arc<Flow>, mut stream: BlobStream, missing: &[Range<u64>]) -> Result<()> {
    let mut at = stream.offset();
    let mut held = BytesMut::new();
    loop {
        let next = stream.next().await;
        // An error, too, comes after bytes that are worth keeping.
        let last = !matches!(next, Ok(Some(_)));
        if let Ok(Some(bytes)) = &next {
            // Under way it may have gone on to another server.
            flow.from(stream.host());
            held.extend_from_slice(bytes);
        }
        if held.len() >= WRITE || (last && !held.is_empty()) {
            let bytes = held.split().freeze();
            let end = at + bytes.len() as u64;
            for gap in missing {
                let gap = gap.start.max(at)..gap.end.min(end);
                if !gap.is_empty() {
                    keep(flow, part(&bytes, at, &gap), gap.start).await?;
                }
            }
            at = end;
        }
        if last {
            return Ok(next.map(drop)?);
        }
        if !flow.front.is_wanted() {
            bail!(Error::invalid("nobody reads any more"));
        }
    }
}

/// The bytes of a gap, of such that begin at `at`.
fn part(bytes: &Bytes, at: u64, gap: &Range<u64>) -> Bytes {
    // Both lie within bytes that are in memory.
    let index = |place: u64| usize::try_from(place - at).unwrap_or(usize::MAX);
    bytes.slice(index(gap.start)..index(gap.end))
}

async fn keep(flow: &Arc<Flow>, bytes: Bytes, at: u64) -> Result<()> {
    let flow = Arc::clone(flow);
    // A disk that is behind with its writing keeps whoever writes waiting.
    let kept = spawn_blocking(move || {
        flow.partial.write_at(&bytes, at)?;
        let have = flow.front.wrote(at..at + bytes.len() as u64);
        let size = flow.descriptor.size;
        flow.layer.is(if have < size {
            Step::Fetching { have, size }
        } else {
            Step::Fetched
        });
        Ok(())
    });
    kept.await?
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};

    use image::{Digest, media};
    use registry::Settings;
    use store::{Ingest, Store};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::Event;
    use crate::remote::Events;
    use crate::tests::Scratch;

    const PIECE: u64 = 64 << 10;

    #[test]
    fn pieces_cover_what_is_missing_and_nothing_else() {
        let missing = [0..PIECE + 1, 5 * PIECE..7 * PIECE];
        let all = [
            0..PIECE,
            PIECE..PIECE + 1,
            5 * PIECE..6 * PIECE,
            6 * PIECE..7 * PIECE,
        ];
        assert_eq!(pieces(&missing, PIECE), all);
        assert!(pieces(&[], PIECE).is_empty());
    }

    /// A server of one blob; what was asked of it, by part.
    fn serve(blob: Vec<u8>, ranges: bool) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, blob) = (Arc::clone(&asked), Arc::new(blob));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, blob) = (Arc::clone(&log), Arc::clone(&blob));
                std::thread::spawn(move || answer(&stream, &blob, ranges, &log));
            }
        });
        (host, asked)
    }

    /// Answers until the client goes.
    fn answer(stream: &TcpStream, blob: &[u8], ranges: bool, log: &Mutex<Vec<String>>) {
        let (mut reader, mut writer) = (BufReader::new(stream), stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).is_ok_and(|read| read > 0) {
                    continue;
                }
                return;
            }
            let part = head
                .lines()
                .find_map(|line| line.strip_prefix("range: bytes="));
            let (words, body) = match part.and_then(|part| part.split_once('-')) {
                _ if head.starts_with("GET /v2/ ") => (String::from("200 X"), &b"{}"[..]),
                Some((first, last)) if ranges => {
                    let (first, last): (usize, usize) =
                        (first.parse().unwrap(), last.parse().unwrap());
                    let range = format!("bytes {first}-{last}/{}", blob.len());
                    let words = format!("206 X\r\ncontent-range: {range}");
                    (words, &blob[first..=last])
                }
                _ => (String::from("200 X"), blob),
            };
            if head.contains("/blobs/") {
                log.lock().unwrap().push(part.unwrap_or("all").to_string());
            }
            let head = format!("HTTP/1.1 {words}\r\ncontent-length: {}\r\n\r\n", body.len());
            if writer.write_all(head.as_bytes()).is_err() || writer.write_all(body).is_err() {
                return;
            }
        }
    }

    /// Fetches a blob of which some spans are here already; what was asked for, and the steps that were told.
    fn check(ranges: bool, here: &[Range<u64>]) -> (Vec<String>, Vec<Step>) {
        let size = 8 * PIECE + 1000;
        let bytes: Vec<u8> = (0..size).map(|at| (at * 31 / 7 % 251) as u8).collect();
        let digest = Digest::of(&bytes);
        let (host, asked) = serve(bytes.clone(), ranges);
        let scratch = Scratch::new();
        let store = Store::open(&scratch.join("data")).unwrap();
        let lease = store.lease().unwrap();
        let Ingest::Partial(partial) = store.ingest(&lease, &digest, size).unwrap() else {
            panic!("the blob is here");
        };
        for span in here {
            let index = |at| usize::try_from(at).unwrap();
            let part = &bytes[index(span.start)..index(span.end)];
            partial.write_at(part, span.start).unwrap();
        }
        let front = Front::new(size, &partial.missing());
        let (tell, mut told) = unbounded_channel();
        let settings = Settings {
            chunk: PIECE,
            ..Settings::default()
        };
        let flow = Arc::new(Flow {
            client: Client::new(settings).unwrap(),
            repository: format!("{host}/thing").parse().unwrap(),
            descriptor: Descriptor::new(media::OCI_LAYER_GZIP, digest, size),
            partial: Arc::new(partial),
            front,
            hosts: Mutex::default(),
            layer: Layer {
                events: Arc::new(Events::to(tell)),
                id: "x".to_string(),
            },
        });
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let hosts = runtime.block_on(fetch(&flow)).unwrap();
        assert_eq!(hosts, BTreeSet::from([host]));
        assert_eq!(flow.front.have(), size);
        let flow = Arc::into_inner(flow).unwrap();
        let partial = Arc::into_inner(flow.partial).unwrap();
        assert_eq!(std::fs::read(partial.path()).unwrap(), bytes);
        partial.finish(&digest).unwrap();
        let mut steps = Vec::new();
        while let Ok(Event::Layer { step, .. }) = told.try_recv() {
            steps.push(step);
        }
        let asked = asked.lock().unwrap().clone();
        (asked, steps)
    }

    #[expect(clippy::ptr_arg, reason = "the key of a sort")]
    fn begin(part: &String) -> u64 {
        part.split('-').next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_large_blob_comes_in_pieces_each_once() {
        let (mut asked, steps) = check(true, &[]);
        asked.sort_by_key(begin);
        let mut want: Vec<String> = (0..8)
            .map(|n| format!("{}-{}", n * PIECE, (n + 1) * PIECE - 1))
            .collect();
        want.push(format!("{}-{}", 8 * PIECE, 8 * PIECE + 999));
        assert_eq!(asked, want);
        assert_eq!(steps.last(), Some(&Step::Fetched));
        // Of what is here, nothing is asked for.
        let (mut asked, _) = check(true, &[0..PIECE / 2, 6 * PIECE..7 * PIECE]);
        asked.sort_by_key(begin);
        assert_eq!(asked[0], format!("{}-{}", PIECE / 2, PIECE * 3 / 2 - 1));
        assert_eq!(asked[6], format!("{}-{}", 7 * PIECE, 8 * PIECE - 1));
        assert_eq!(asked.len(), 8, "{asked:?}");
    }

    #[test]
    fn what_is_sent_again_for_want_of_ranges_counts_once() {
        for here in [vec![], vec![0..PIECE, 2 * PIECE..3 * PIECE + 5]] {
            let before: u64 = here.iter().map(|span| span.end - span.start).sum();
            let (asked, steps) = check(false, &here);
            assert!(asked.len() <= 2, "{asked:?}");
            let mut last = before;
            for step in &steps[..steps.len() - 1] {
                let Step::Fetching { have, size } = step else {
                    panic!("{steps:?}")
                };
                assert!(last <= *have && have < size, "{steps:?}");
                last = *have;
            }
            assert_eq!(steps.last(), Some(&Step::Fetched));
        }
    }
}
