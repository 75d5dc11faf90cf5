//! What a registry gives: documents, blobs and parts of them, tags, referrers; and how a fault changes it.

use super::fault::{Fault, What};
use super::http::{Answer, Request};
use super::image::{OCI_INDEX, descriptor, digest, gzip, index};
use super::{State, accept, token};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Says which kind of request this is.
pub(super) fn kind(request: &Request) -> What {
    let path = request.path.as_str();
    let upload = path.contains("/blobs/uploads");
    match request.method.as_str() {
        _ if path == "/v2/" || path == "/v2" => What::Ping,
        _ if path.starts_with("/token") => What::Token,
        "POST" if upload => What::Upload,
        "PATCH" if upload => What::Chunk,
        "PUT" if upload => What::Finish,
        "GET" if upload => What::Status,
        "GET" | "HEAD" if path.contains("/manifests/") => What::Manifest,
        "PUT" if path.contains("/manifests/") => What::PutManifest,
        "GET" if path.contains("/blobs/") => What::Blob,
        "HEAD" if path.contains("/blobs/") => What::BlobHead,
        "GET" if path.ends_with("/tags/list") => What::Tags,
        "GET" if path.contains("/referrers/") => What::Referrers,
        _ => What::Other,
    }
}

/// Splits `/v2/REPOSITORY/KIND/REST`.
pub(super) fn split(path: &str) -> Option<(&str, &str, &str)> {
    let rest = path.strip_prefix("/v2/")?;
    let kinds = [
        "/manifests/",
        "/blobs/uploads",
        "/blobs/",
        "/tags/",
        "/referrers/",
    ];
    let found = kinds
        .iter()
        .find_map(|kind| Some((rest.rfind(kind)?, *kind)));
    let (at, kind) = found?;
    Some((&rest[..at], kind, rest[at + kind.len()..].trim_matches('/')))
}

/// What is said without looking, because of the fault.
pub(super) fn instead(
    fault: Option<&Fault>,
    request: &Request,
    address: &SocketAddr,
    state: &mut State,
    body: &[u8],
) -> Option<Answer> {
    let redirect = |to: String| Answer::new(307, "").with("Location", to);
    let target = if request.query.is_empty() {
        request.path.clone()
    } else {
        format!("{}?{}", request.path, request.query)
    };
    Some(match fault? {
        Fault::Status(status) => Answer::error(*status, "UNKNOWN", "told to fail"),
        Fault::RetryAfter(status, after) => {
            Answer::error(*status, "TOOMANYREQUESTS", "slow down").with("Retry-After", *after)
        }
        Fault::Slow(status, _) => Answer::new(*status, vec![b' '; 1 << 20]),
        Fault::Page(status) => Answer::new(*status, "<html><body>A proxy says: no.</body></html>")
            .with("Content-Type", "text/html"),
        Fault::Unauthorized => token::challenge(state, request, address, "invalid_token"),
        Fault::Challenge(words) => Answer::error(401, "UNAUTHORIZED", "authentication required")
            .with("WWW-Authenticate", *words),
        Fault::Redirect(base) => redirect(format!("{base}{target}")),
        Fault::RedirectTo(to) => redirect((*to).to_owned()),
        Fault::Loop => redirect(target),
        Fault::Body(bytes) => Answer::new(200, bytes.clone())
            .with("Content-Type", request_type(state, request))
            .with("Content-Encoding", "identity"),
        Fault::Forgotten => {
            state.uploads.clear();
            Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown to registry")
        }
        Fault::HalfKept => accept::keep_half(state, request, body),
        _ => return None,
    })
}

/// The media type that a document would have.
fn request_type(state: &State, request: &Request) -> String {
    let found = split(&request.path).and_then(|(repository, _, reference)| {
        let key = (repository.to_owned(), reference.to_owned());
        state.manifests.get(&key)
    });
    found.map_or_else(
        || "application/octet-stream".to_owned(),
        |(media_type, _)| media_type.clone(),
    )
}

/// Changes an honest answer as the fault has it.
pub(super) fn spoil(answer: Answer, fault: Option<&Fault>, request: &Request) -> Answer {
    let Some(fault) = fault else { return answer };
    let mut answer = answer;
    match fault {
        Fault::Flipped => {
            let middle = answer.body.len() / 2;
            if let Some(byte) = answer.body.get_mut(middle) {
                *byte ^= 1;
            }
            answer
        }
        Fault::MediaType(media_type) => answer.with("Content-Type", *media_type),
        Fault::DigestHeader(text) => answer.with("Docker-Content-Digest", text),
        Fault::Header(name, value) => answer.with(name, *value),
        Fault::Encoded => {
            answer.body = gzip(&answer.body);
            answer.with("Content-Encoding", "gzip")
        }
        Fault::Pieces(most) if answer.status == 206 => {
            let begin = request.header("range").trim_start_matches("bytes=");
            let begin = begin.split('-').next().and_then(|text| text.parse().ok());
            let begin: usize = begin.unwrap_or(0);
            answer.body.truncate(*most);
            let last = begin + answer.body.len() - 1;
            answer.with("Content-Range", format!("bytes {begin}-{last}/*"))
        }
        Fault::RangeElsewhere if !request.header("range").is_empty() => {
            let length = answer.body.len();
            answer.status = 206;
            answer.with("Content-Range", format!("bytes 1-{length}/{}", length + 1))
        }
        Fault::RangeShifted if !request.header("range").is_empty() => {
            answer.body.rotate_left(1);
            answer
        }
        _ => answer,
    }
}

/// The honest answer.
pub(super) fn answer(
    state: &mut State,
    request: &Request,
    what: What,
    body: &[u8],
    address: &SocketAddr,
) -> Answer {
    let unknown = || Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    if what == What::Ping {
        return Answer::new(200, "{}")
            .with("Content-Type", "application/json")
            .with("Docker-Distribution-Api-Version", "registry/2.0");
    }
    if what == What::Token {
        return token::give(state, request, body);
    }
    if let ("/v1/search", Some(known)) = (request.path.as_str(), &state.manner.found) {
        return found(known, request);
    }
    let Some((repository, _, rest)) = split(&request.path) else {
        return unknown();
    };
    let (repository, rest) = (repository.to_owned(), rest.to_owned());
    match what {
        What::Manifest => manifest(state, &repository, &rest),
        What::Blob | What::BlobHead => blob(state, request, &repository, &rest),
        What::Tags => tags(state, request, &repository),
        What::Referrers => referrers(state, &repository, &rest),
        What::Upload => accept::begin(state, request, &repository, body, address),
        What::Chunk => accept::chunk(state, request, &rest, body, address),
        What::Finish => accept::finish(state, request, &repository, &rest, body),
        What::Status => accept::status(state, request, &rest, address),
        What::PutManifest => accept::manifest(state, request, &repository, &rest, body),
        _ => unknown(),
    }
}

fn manifest(state: &State, repository: &str, reference: &str) -> Answer {
    let key = (repository.to_owned(), reference.to_owned());
    let Some((media_type, bytes)) = state.manifests.get(&key) else {
        return Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    let answer = Answer::new(200, bytes.clone()).with("Content-Type", media_type);
    if state.manner.digests {
        return answer.with("Docker-Content-Digest", digest(bytes));
    }
    answer
}

fn blob(state: &State, request: &Request, repository: &str, name: &str) -> Answer {
    let held = state
        .held
        .contains(&(repository.to_owned(), name.to_owned()));
    let (true, Some(blob)) = (held, state.blobs.get(name)) else {
        return Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    let answer = Answer::new(200, Vec::new())
        .with("Content-Type", "application/octet-stream")
        .with("Docker-Content-Digest", name);
    let range = request.header("range");
    if !state.manner.ranges || range.is_empty() {
        return Answer {
            body: blob.as_ref().clone(),
            ..answer
        };
    }
    let answer = answer.with("Accept-Ranges", "bytes");
    let Some((begin, end)) = span(range, blob.len()) else {
        return Answer::error(416, "RANGE_INVALID", "no such range")
            .with("Content-Range", format!("bytes */{}", blob.len()));
    };
    let words = format!("bytes {begin}-{}/{}", end - 1, blob.len());
    Answer {
        status: 206,
        body: blob[begin..end].to_vec(),
        ..answer
    }
    .with("Content-Range", words)
}

/// Reads `bytes=A-B`; the end is behind the last byte.
fn span(range: &str, length: usize) -> Option<(usize, usize)> {
    let (begin, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let begin: usize = begin.parse().ok()?;
    let end = match end {
        "" => length,
        end => end.parse::<usize>().ok()?.checked_add(1)?.min(length),
    };
    (begin < end).then_some((begin, end))
}

fn tags(state: &State, request: &Request, repository: &str) -> Answer {
    let names = state.manifests.keys().filter(|(one, _)| one == repository);
    let all: Vec<&String> = names
        .map(|(_, reference)| reference)
        .filter(|reference| !reference.contains(':'))
        .collect();
    let last = request.asked("last").unwrap_or_default();
    let wanted = request.asked("n").and_then(|text| text.parse().ok());
    let page = state.manner.page.min(wanted.unwrap_or(usize::MAX));
    let rest: Vec<&&String> = all.iter().filter(|tag| ***tag > last).collect();
    let some: Vec<&&&String> = rest.iter().take(page).collect();
    let body = json!({"name": repository, "tags": some}).to_string();
    let answer = Answer::new(200, body).with("Content-Type", "application/json");
    match some.last() {
        Some(last) if some.len() < rest.len() => {
            let link = format!("</v2/{repository}/tags/list?n={page}&last={last}>; rel=\"next\"");
            answer.with("Link", link)
        }
        _ => answer,
    }
}

/// The first protocol's search, as Docker Hub has kept it.
fn found(known: &[Value], request: &Request) -> Answer {
    let words = request.asked("q").unwrap_or_default();
    let most = request.asked("n").and_then(|text| text.parse().ok());
    let meant = |one: &&Value| {
        one["name"]
            .as_str()
            .is_some_and(|name| name.contains(&words))
    };
    let results: Vec<&Value> = known
        .iter()
        .filter(meant)
        .take(most.unwrap_or(25))
        .collect();
    let body = json!({"query": words, "num_results": results.len(), "results": results});
    Answer::new(200, body.to_string()).with("Content-Type", "application/json")
}

fn referrers(state: &State, repository: &str, subject: &str) -> Answer {
    if !state.manner.referrers {
        return Answer::error(404, "UNSUPPORTED", "no such route");
    }
    let mut entries = Vec::new();
    for ((one, reference), (media_type, bytes)) in &state.manifests {
        let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
        if one == repository && reference.contains(':') && document["subject"]["digest"] == subject
        {
            let mut entry = descriptor(media_type, bytes);
            entry["artifactType"] = document["artifactType"].clone();
            entries.push(entry);
        }
    }
    Answer::new(200, index(&entries)).with("Content-Type", OCI_INDEX)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn paths_are_split_at_their_kind() {
        let table = [
            ("/v2/a/b/manifests/latest", ("a/b", "/manifests/", "latest")),
            ("/v2/a/blobs/uploads/", ("a", "/blobs/uploads", "")),
            ("/v2/a/blobs/uploads/x", ("a", "/blobs/uploads", "x")),
            ("/v2/a/blobs/sha256:0", ("a", "/blobs/", "sha256:0")),
        ];
        for (path, wanted) in table {
            assert_eq!(split(path), Some(wanted), "{path}");
        }
    }
}
