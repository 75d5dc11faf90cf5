//! Bytes of one blob from the registry into its file: what is missing, a large rest over several connections.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use bytes::BytesMut;
use image::{Descriptor, Repository};
use registry::{BlobStream, Client};
use store::Partial;
use tokio::task::JoinSet;

use super::front::Front;
use crate::Error;
use crate::progress::{Layer, Step};

/// More than this is fetched in pieces, over several connections.
const LARGE: u64 = 64 << 20;
/// One such piece.
const PIECE: u64 = 16 << 20;
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
}

/// Fetches all that is missing, and returns the name of the host that it came from.
pub(crate) async fn fetch(flow: &Arc<Flow>) -> Result<String> {
    let mut missing = flow.partial.missing();
    let rest: u64 = missing.iter().map(|span| span.end - span.start).sum();
    let mut host = flow.repository.host.clone();
    if rest > LARGE {
        let first = pieces(&missing)[0].clone();
        let stream = open(flow, &first).await?;
        if stream.ranges() {
            host = stream.host().to_string();
            return in_lanes(flow, stream, &missing).await.map(|()| host);
        }
        // Every further request would send all again from its beginning.
        let whole = missing[0].start..missing[missing.len() - 1].end;
        missing.clear();
        missing.push(whole);
    }
    for span in missing {
        let stream = open(flow, &span).await?;
        host = stream.host().to_string();
        write(flow, stream).await?;
    }
    Ok(host)
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
async fn in_lanes(flow: &Arc<Flow>, first: BlobStream, missing: &[Range<u64>]) -> Result<()> {
    let mut queue: VecDeque<_> = pieces(missing).into();
    queue.pop_front();
    let queue = Arc::new(Mutex::new(queue));
    let mut lanes = JoinSet::new();
    let mut first = Some(first);
    for _ in 0..LANES {
        let (flow, queue, first) = (Arc::clone(flow), Arc::clone(&queue), first.take());
        lanes.spawn(async move {
            if let Some(stream) = first {
                write(&flow, stream).await?;
            }
            loop {
                let next = queue
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop_front();
                let Some(span) = next else {
                    return anyhow::Ok(());
                };
                write(&flow, open(&flow, &span).await?).await?;
            }
        });
    }
    // The first error drops the set, which ends the other lanes.
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

fn pieces(missing: &[Range<u64>]) -> Vec<Range<u64>> {
    let cut = |span: &Range<u64>| {
        let (mut at, end) = (span.start, span.end);
        std::iter::from_fn(move || {
            let piece = at..end.min(at + PIECE);
            at = piece.end;
            (!piece.is_empty()).then_some(piece)
        })
    };
    missing.iter().flat_map(cut).collect()
}

/// Writes one stream to where its bytes belong.
async fn write(flow: &Flow, mut stream: BlobStream) -> Result<()> {
    let mut at = stream.offset();
    let mut held = BytesMut::new();
    loop {
        let next = stream.next().await;
        // An error, too, comes after bytes that are worth keeping.
        let last = !matches!(next, Ok(Some(_)));
        if let Ok(Some(bytes)) = &next {
            held.extend_from_slice(bytes);
        }
        if held.len() >= WRITE || (last && !held.is_empty()) {
            keep(flow, &held, at)?;
            at += held.len() as u64;
            held.clear();
        }
        if last {
            return Ok(next.map(drop)?);
        }
        if !flow.front.is_wanted() {
            bail!(Error::invalid("nobody reads any more"));
        }
    }
}

fn keep(flow: &Flow, bytes: &[u8], at: u64) -> Result<()> {
    flow.partial.write_at(bytes, at)?;
    let have = flow.front.wrote(at..at + bytes.len() as u64);
    let size = flow.descriptor.size;
    flow.layer.is(if have < size {
        Step::Fetching { have, size }
    } else {
        Step::Fetched
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_what_is_missing_and_nothing_else() {
        let missing = [0..PIECE + 1, 5 * PIECE..7 * PIECE];
        let all = [
            0..PIECE,
            PIECE..PIECE + 1,
            5 * PIECE..6 * PIECE,
            6 * PIECE..7 * PIECE,
        ];
        assert_eq!(pieces(&missing), all);
        assert!(pieces(&[]).is_empty());
    }
}
