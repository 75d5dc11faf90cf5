//! The way to the network: the threads that wait for it, and the client of registries.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::task::Poll;
use std::time::Instant;

use anyhow::{Context, Result};
use image::Digest;
use registry::{Client, Credentials, Hosts, Notice, Notices};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::engine::{Network, Settings};
use crate::progress::{Event, Progress};

/// Made once for an engine, when its first verb needs the network.
#[derive(Debug)]
pub(crate) struct Remote {
    runtime: Runtime,
    pub client: Client,
    /// What the client has to tell while it waits.
    notices: Mutex<UnboundedReceiver<Event>>,
}

impl Remote {
    pub(crate) fn open(settings: &Settings) -> Result<Self> {
        let (tell, notices) = unbounded_channel();
        let client = Client::new(client_settings(settings, tell)?)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start the threads that wait for the network")?;
        let notices = Mutex::new(notices);
        Ok(Self {
            runtime,
            client,
            notices,
        })
    }

    /// Runs something to its end, and passes on what it, its tasks and the client have to tell.
    pub(crate) fn run<T, W, F>(&self, progress: &dyn Progress, work: W) -> T
    where
        W: FnOnce(Arc<Events>) -> F,
        F: Future<Output = T>,
    {
        let (tell, mut told) = unbounded_channel();
        let work = work(Arc::new(Events(tell)));
        self.runtime.block_on(async {
            // Another verb of this engine may be listening; it then hears the client's notices for both.
            let mut notices = self.notices.lock().await;
            let mut work = Box::pin(work);
            let done = poll_fn(|context| {
                while let Poll::Ready(Some(event)) = told.poll_recv(context) {
                    progress.event(event);
                }
                while let Poll::Ready(Some(event)) = notices.poll_recv(context) {
                    progress.event(event);
                }
                work.as_mut().poll(context)
            })
            .await;
            while let Ok(event) = told.try_recv() {
                progress.event(event);
            }
            // What was said just before the end is still news.
            while let Ok(event) = notices.try_recv() {
                progress.event(event);
            }
            done
        })
    }
}

/// Carries events from the tasks to the thread that called the verb.
#[derive(Debug)]
pub(crate) struct Events(UnboundedSender<Event>);

#[cfg(test)]
impl Events {
    pub(crate) fn to(tell: UnboundedSender<Event>) -> Self {
        Self(tell)
    }
}

impl Progress for Events {
    fn event(&self, event: Event) {
        // Nobody listens any more: the verb is over.
        drop(self.0.send(event));
    }
}

fn client_settings(
    settings: &Settings,
    tell: UnboundedSender<Event>,
) -> Result<registry::Settings> {
    let network = &settings.network;
    let trace = network.trace;
    let outages = Outages::default();
    let notices = Notices::to(move |notice: &Notice| match (notice, trace) {
        (Notice::Asked { line }, Some(trace)) => trace(line),
        (Notice::Asked { .. }, None) => {}
        (Notice::Retry { .. }, _) if !outages.is_new(notice) => {}
        // Nobody listens: no verb is at work.
        _ => drop(tell.send(event(notice))),
    });
    let usual = registry::Settings::default();
    let chunk = match settings.piece {
        0 => usual.chunk,
        // Of less, a request is most of the work.
        piece => piece.max(64 << 10),
    };
    Ok(registry::Settings {
        hosts: hosts(network)?,
        credentials: credentials(network),
        agent: format!("lade/{}", settings.version),
        proxies: network.proxies.clone(),
        patience: network.patience.clone().unwrap_or_default(),
        foreign: network.foreign,
        chunk,
        notices,
    })
}

pub(crate) fn hosts(network: &Network) -> Result<Hosts> {
    let mut hosts = Hosts::load(&network.files)?;
    for host in &network.insecure {
        hosts.insecure(host)?;
    }
    Ok(hosts)
}

pub(crate) fn credentials(network: &Network) -> Credentials {
    Credentials::from_files(network.credentials.clone())
}

/// What was told of requests that wait to be made again. Of one blob several parts are under way at once, and one outage ends all of them.
#[derive(Debug, Default)]
struct Outages(Lock<Vec<(String, Instant)>>);

impl Outages {
    /// Tells whether nothing was told of the same object, cause and attempt that still waits. One request alone is always new: it has
    /// waited before it fails again.
    fn is_new(&self, notice: &Notice) -> bool {
        let Notice::Retry {
            host,
            object,
            why,
            wait,
            attempt: (attempt, _),
        } = notice
        else {
            return true;
        };
        // The same, at one byte and at another.
        let why = why.replace(|letter: char| letter.is_ascii_digit(), "");
        let (key, now) = (format!("{host} {object} {attempt} {why}"), Instant::now());
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|(_, until)| *until > now);
        let new = told.iter().all(|(known, _)| *known != key);
        if new {
            told.push((key, now + *wait));
        }
        new
    }
}

fn event(notice: &Notice) -> Event {
    match notice {
        Notice::Retry {
            host,
            object,
            why,
            wait,
            attempt: (attempt, of),
        } => Event::Note(format!(
            "{host}: {}: {why}; attempt {attempt} of {of} in {:.1} s",
            short(object),
            wait.as_secs_f64()
        )),
        Notice::Warning { host, text } => Event::Warning(format!("{host} warns: {text}")),
        Notice::NoProgram { why, .. } | Notice::Unlisted { why, .. } => Event::Warning(why.clone()),
        // It begins with the mirror's name.
        Notice::Mirror { why, .. } => Event::Note(format!("{why}; the next server is asked")),
        _ => Event::Note("the registry was asked again".to_string()),
    }
}

/// Shows a digest in what was asked for as it is shown of layers.
fn short(object: &str) -> String {
    let words = object.split(' ').map(|word| match word.parse::<Digest>() {
        Ok(digest) => digest.short(),
        Err(_) => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_says_which_attempt_it_is_and_no_long_digest() {
        let notice = Notice::Retry {
            host: "h:5000".to_string(),
            object: format!("blob sha256:{}", "0123456789ab".repeat(6).split_at(64).0),
            why: "the connection was lost".to_string(),
            wait: std::time::Duration::from_millis(1250),
            attempt: (2, 6),
        };
        let line = "h:5000: blob 0123456789ab: the connection was lost; attempt 2 of 6 in 1.2 s";
        assert_eq!(event(&notice), Event::Note(line.to_string()));
    }

    #[test]
    fn one_outage_is_told_once_for_all_parts_of_a_blob() {
        let outages = Outages::default();
        let is_new = |object: &str, why: &str, wait, attempt| {
            outages.is_new(&Notice::Retry {
                host: "h".to_string(),
                object: object.to_string(),
                why: why.to_string(),
                wait: std::time::Duration::from_millis(wait),
                attempt: (attempt, 6),
            })
        };
        for (object, why, wait, attempt, new) in [
            ("blob a", "ended after 5 of 9 bytes", 60_000, 2, true),
            ("blob a", "ended after 7 of 9 bytes", 60_000, 2, false),
            ("blob a", "500", 60_000, 2, true),
            ("blob b", "ended after 5 of 9 bytes", 60_000, 2, true),
            ("blob a", "ended after 5 of 9 bytes", 0, 3, true),
            // That one has waited already.
            ("blob a", "ended after 5 of 9 bytes", 0, 3, true),
        ] {
            assert_eq!(
                is_new(object, why, wait, attempt),
                new,
                "{object} {why} {attempt}"
            );
        }
    }
}
