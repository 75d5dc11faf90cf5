//! Which files say how registries are reached: ours, and those of the programs that a host has already.

use std::path::{Path, PathBuf};

use engine::{Files, Network, Patience, Proxies};

use super::{Settings, Sources, Surroundings};
use crate::failure::Failure;

pub(super) fn resolve(sources: &Sources<'_>) -> Result<Network, Failure> {
    let around = sources.around;
    let retries = sources.value("retries");
    let retries = retries.map(|value| value.number()).transpose()?;
    let config = around.own("XDG_CONFIG_HOME", ".config");
    let config = config.filter(|_| !around.root);
    // An ordinary user's files are read before the host's.
    let both = |own: &str, host: &str| {
        let own = config.as_ref().map(|dir| dir.join(own));
        own.into_iter().chain([PathBuf::from(host)]).collect()
    };
    let native = match sources.value("registries") {
        // Who names a file wants it to be read.
        Some(value) if !Path::new(&value.text).exists() => {
            return Err(value.refuse("is not there"));
        }
        value => value.map(|value| vec![PathBuf::from(value.text)]),
    };
    let podman = around.path("CONTAINERS_REGISTRIES_CONF");
    // A web server sets HTTP_PROXY for its programs from whatever a client sends (CVE-2016-5385), and then REQUEST_METHOD, too.
    let http: &[&str] = match around.get("REQUEST_METHOD") {
        None => &["http_proxy", "HTTP_PROXY"],
        Some(_) => &["http_proxy"],
    };
    Ok(Network {
        files: Files {
            native: native
                .unwrap_or_else(|| both("lade/registries.toml", "/etc/lade/registries.toml")),
            containerd: both("lade/hosts.d", "/etc/containerd/certs.d"),
            podman: match podman {
                Some(path) => vec![path],
                None => vec![
                    "/etc/containers/registries.conf".into(),
                    "/etc/containers/registries.conf.d".into(),
                ],
            },
            docker: both("docker/daemon.json", "/etc/docker/daemon.json"),
            certs: vec![
                "/etc/lade/certs.d".into(),
                "/etc/containers/certs.d".into(),
                "/etc/docker/certs.d".into(),
            ],
        },
        insecure: sources.list("insecure-registries"),
        credentials: credentials(around),
        proxies: Proxies {
            http: proxy(sources, "http-proxy", http),
            https: proxy(sources, "https-proxy", &["https_proxy", "HTTPS_PROXY"]),
            no_proxy: proxy(sources, "no-proxy", &["no_proxy", "NO_PROXY"]),
        },
        patience: retries.map(|retries| Patience {
            retries,
            ..Patience::default()
        }),
        foreign: false,
        trace: None,
    })
}

impl Settings {
    /// Returns the file in which a user says something of a registry: the first that is there, else the first that would be read.
    pub(crate) fn registries_file(&self) -> &Path {
        let files = &self.network.files.native;
        let there = files.iter().find(|file| file.exists());
        // There is always one.
        let file = there.or(files.first());
        file.map_or(Path::new("registries.toml"), PathBuf::as_path)
    }
}

/// Returns the files with logins in podman's order and then docker's, which is where one for a new host is written. A file that the user
/// names is the only one.
fn credentials(around: &Surroundings<'_>) -> Vec<PathBuf> {
    if let Some(named) = around.path("REGISTRY_AUTH_FILE") {
        return vec![named];
    }
    let runtime = around.path("XDG_RUNTIME_DIR");
    let runtime = runtime.map(|dir| dir.join("containers/auth.json"));
    let config = around.own("XDG_CONFIG_HOME", ".config");
    let config = config.map(|dir| dir.join("containers/auth.json"));
    let docker = around.own("DOCKER_CONFIG", ".docker");
    let docker = docker.map(|dir| dir.join("config.json"));
    runtime.into_iter().chain(config).chain(docker).collect()
}

/// Returns a proxy: what lade was told counts more than what all programs are told.
fn proxy(sources: &Sources<'_>, key: &str, names: &[&str]) -> Option<String> {
    let general = || names.iter().find_map(|name| sources.around.get(name));
    let general = || Some(general()?.to_string_lossy().into_owned());
    sources.string(key).or_else(general)
}
