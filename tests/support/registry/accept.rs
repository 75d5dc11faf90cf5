//! What a registry takes: uploads in one piece and in chunks, mounts, manifests.

use super::http::{Answer, Request};
use super::image::digest;
use super::{Inner, Location, State};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;

/// POST: a mount, everything at once, or a session.
pub(super) fn begin(
    state: &mut State,
    request: &Request,
    repository: &str,
    body: &[u8],
    address: &SocketAddr,
) -> Answer {
    if let (Some(blob), Some(from)) = (request.asked("mount"), request.asked("from")) {
        let there = state.held.contains(&(from, blob.clone()));
        if state.manner.mounts && there {
            state.held.insert((repository.to_owned(), blob.clone()));
            return created(repository, &blob);
        }
    }
    if request.asked("digest") == Some(digest(body)) {
        return store(state, repository, body);
    }
    state.serial += 1;
    let id = format!("upload-{}", state.serial);
    state.uploads.insert(id.clone(), Vec::new());
    let path = format!("/v2/{repository}/blobs/uploads/{id}");
    session(state, &path, 0, address, 202)
}

/// The answer that says where the upload goes on.
fn session(state: &State, path: &str, have: usize, address: &SocketAddr, status: u16) -> Answer {
    let location = match state.manner.location {
        Location::Absolute => format!("http://{address}{path}"),
        Location::Relative => path.to_owned(),
        Location::Query => format!("http://{address}{path}?_state=abc%3D&part={have}"),
    };
    let answer = Answer::new(status, "").with("Location", location).with(
        "Docker-Upload-UUID",
        path.rsplit('/').next().unwrap_or(path),
    );
    let answer = match state.manner.chunk {
        0 => answer,
        least => answer.with("OCI-Chunk-Min-Length", least.to_string()),
    };
    // The specification has 0-0 for one byte; registries say it of none, too.
    answer.with("Range", format!("0-{}", have.saturating_sub(1)))
}

fn gone() -> Answer {
    Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown to registry")
}

/// Tells whether a chunk begins where the upload stands.
fn fits(request: &Request, have: usize) -> bool {
    let begin = request.header("content-range").split('-').next();
    match begin {
        None | Some("") => true,
        Some(begin) => begin.parse() == Ok(have),
    }
}

/// PATCH.
pub(super) fn chunk(
    state: &mut State,
    request: &Request,
    id: &str,
    body: &[u8],
    address: &SocketAddr,
) -> Answer {
    let Some(have) = state.uploads.get_mut(id) else {
        return gone();
    };
    if !fits(request, have.len()) {
        let length = have.len();
        return session(state, &request.path, length, address, 416);
    }
    have.extend(body);
    let length = have.len();
    session(state, &request.path, length, address, 202)
}

/// 416 for a chunk half of which was kept.
pub(super) fn keep_half(state: &mut State, request: &Request, body: &[u8]) -> Answer {
    let id = request.path.rsplit('/').next().unwrap_or_default();
    let Some(have) = state.uploads.get_mut(id) else {
        return gone();
    };
    have.extend(&body[..body.len() / 2]);
    let range = format!("0-{}", have.len().saturating_sub(1));
    Answer::error(416, "RANGE_INVALID", "chunk out of order")
        .with("Range", range)
        .with("Location", request.path.clone())
}

impl Inner {
    /// Keeps what came of a chunk before the connection ended.
    pub(super) fn keep(&self, request: &Request, body: &[u8]) {
        let id = request.path.rsplit('/').next().unwrap_or_default();
        if let Some(have) = self.state().uploads.get_mut(id) {
            have.extend(body);
        }
    }
}

/// GET of an upload: how far it is.
pub(super) fn status(state: &State, request: &Request, id: &str, address: &SocketAddr) -> Answer {
    match state.uploads.get(id) {
        Some(have) => session(state, &request.path, have.len(), address, 204),
        None => gone(),
    }
}

/// PUT: the end of an upload.
pub(super) fn finish(
    state: &mut State,
    request: &Request,
    repository: &str,
    id: &str,
    body: &[u8],
) -> Answer {
    let Some(mut have) = state.uploads.get(id).cloned() else {
        return gone();
    };
    if !fits(request, have.len()) {
        return Answer::error(416, "RANGE_INVALID", "chunk out of order");
    }
    have.extend(body);
    let wanted = request.asked("digest").unwrap_or_default();
    if digest(&have) != wanted {
        return Answer::error(400, "DIGEST_INVALID", "provided digest did not match");
    }
    state.uploads.remove(id);
    store(state, repository, &have)
}

fn store(state: &mut State, repository: &str, blob: &[u8]) -> Answer {
    let name = digest(blob);
    state.held.insert((repository.to_owned(), name.clone()));
    state.blobs.insert(name.clone(), Arc::new(blob.to_vec()));
    created(repository, &name)
}

fn created(repository: &str, blob: &str) -> Answer {
    Answer::new(201, "")
        .with("Location", format!("/v2/{repository}/blobs/{blob}"))
        .with("Docker-Content-Digest", blob)
}

/// PUT of a manifest: everything that it names has to be there.
pub(super) fn manifest(
    state: &mut State,
    request: &Request,
    repository: &str,
    reference: &str,
    body: &[u8],
) -> Answer {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let lacks = |list: &str| {
        let names = document[list].as_array().into_iter().flatten();
        let names: Vec<String> = names
            .filter_map(|one| Some(one["digest"].as_str()?.to_owned()))
            .collect();
        names
    };
    let mut blobs = lacks("layers");
    blobs.extend(document["config"]["digest"].as_str().map(str::to_owned));
    for blob in blobs {
        if !state.held.contains(&(repository.to_owned(), blob.clone())) {
            return Answer::error(400, "MANIFEST_BLOB_UNKNOWN", &blob);
        }
    }
    for manifest in lacks("manifests") {
        let key = (repository.to_owned(), manifest.clone());
        if !state.manifests.contains_key(&key) {
            return Answer::error(400, "MANIFEST_UNKNOWN", &manifest);
        }
    }
    let name = digest(body);
    if reference.contains(':') && reference != name {
        return Answer::error(400, "DIGEST_INVALID", "provided digest did not match");
    }
    let media_type = request.header("content-type").to_owned();
    let mut references = request.all_asked("tag");
    references.extend([reference.to_owned(), name.clone()]);
    for reference in references {
        let key = (repository.to_owned(), reference);
        state
            .manifests
            .insert(key, (media_type.clone(), body.to_vec()));
    }
    let answer = Answer::new(201, "")
        .with("Location", format!("/v2/{repository}/manifests/{name}"))
        .with("Docker-Content-Digest", name);
    match document["subject"]["digest"].as_str() {
        Some(subject) if state.manner.referrers => answer.with("OCI-Subject", subject),
        _ => answer,
    }
}
