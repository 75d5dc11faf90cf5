//! Inspect: everything that is known of an image, in docker's words.

use image::{Config, Process};
use serde_json::{Map, Value, json};

use crate::find::{Found, familiar, familiar_names, if_here, no_such};
use crate::images::Sizes;
use crate::{Engine, Result, documents, time};

/// What docker writes where nothing is known.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

impl Engine {
    /// Returns one object, as docker's `image inspect` lists them.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let found = self.find(name)?;
        let object = if_here(&self.store, &found.id, || self.object(&found))?;
        object.ok_or_else(|| no_such(name))
    }

    fn object(&self, found: &Found) -> Result<Value> {
        let (config, given) = if found.record.platform.is_some() {
            let id = found.record.config.unwrap_or(found.id);
            let read = documents::read_config(&self.store, &id)?;
            let given = serde_json::from_slice(&read.bytes);
            (read.value, given.unwrap_or_default())
        } else {
            (Config::default(), Value::Null)
        };
        let mut object = Map::new();
        self.names(found, &mut object)?;
        object.insert("Parent".into(), json!(""));
        object.insert("Comment".into(), json!(comment(&config)));
        object.insert(
            "Created".into(),
            json!(config.created.as_deref().unwrap_or(NO_TIME)),
        );
        object.insert("Container".into(), text(&given["container"]));
        object.insert("DockerVersion".into(), text(&given["docker_version"]));
        object.insert(
            "Author".into(),
            json!(config.author.as_deref().unwrap_or("")),
        );
        object.insert(
            "Config".into(),
            process(config.config.as_ref(), &given["config"]),
        );
        object.insert("Architecture".into(), json!(config.architecture));
        if let Some(variant) = &config.variant {
            object.insert("Variant".into(), json!(variant));
        }
        object.insert("Os".into(), json!(config.os));
        if let Some(version) = &config.os_version {
            object.insert("OsVersion".into(), json!(version));
        }
        self.contents(found, &mut object)?;
        Ok(Value::Object(object))
    }

    fn names(&self, found: &Found, object: &mut Map<String, Value>) -> Result<()> {
        let pins = self.store.digests_of(&found.id)?;
        let pins = pins
            .iter()
            .map(|pin| familiar(&format!("{}@{}", pin.repository, pin.digest)));
        object.insert("Id".into(), json!(found.id.to_string()));
        object.insert(
            "RepoTags".into(),
            json!(familiar_names(&self.store, &found.id)?),
        );
        object.insert("RepoDigests".into(), json!(pins.collect::<Vec<_>>()));
        Ok(())
    }

    fn contents(&self, found: &Found, object: &mut Map<String, Value>) -> Result<()> {
        let size = Sizes::new(&self.store).of(&found.record)?;
        let mut paths = Vec::new();
        for diff_id in &found.record.layers {
            if let Some(layer) = self.store.layer(diff_id)? {
                paths.push(layer.path.display().to_string());
            }
        }
        paths.reverse();
        let top = paths.first().cloned().unwrap_or_default();
        let lower = paths.get(1..).unwrap_or_default().join(":");
        let mut data = Map::new();
        if !lower.is_empty() {
            data.insert("LowerDir".into(), json!(lower));
        }
        data.insert("UpperDir".into(), json!(top));
        object.insert("Size".into(), json!(size));
        object.insert("VirtualSize".into(), json!(size));
        object.insert(
            "GraphDriver".into(),
            json!({ "Data": data, "Name": "overlay2" }),
        );
        let layers: Vec<String> = found
            .record
            .layers
            .iter()
            .map(ToString::to_string)
            .collect();
        object.insert(
            "RootFS".into(),
            json!({ "Type": "layers", "Layers": layers }),
        );
        let tagged = self
            .store
            .names_of(&found.id)?
            .iter()
            .map(|name| name.at)
            .max();
        let tagged = tagged
            .and_then(|at| i64::try_from(at).ok())
            .map(time::rfc3339);
        let tagged = tagged.unwrap_or_else(|| NO_TIME.to_string());
        object.insert("Metadata".into(), json!({ "LastTagTime": tagged }));
        if let Some(manifest) = &found.manifest
            && let Some(size) = self.store.blob(manifest)?
        {
            let media_type = documents::read(&self.store, manifest)?;
            let media_type = media_type.value.media_type().to_string();
            let digest = manifest.to_string();
            object.insert(
                "Descriptor".into(),
                json!({ "mediaType": media_type, "digest": digest, "size": size }),
            );
        }
        Ok(())
    }
}

fn comment(config: &Config) -> String {
    let last = config.history.last().and_then(|step| step.comment.clone());
    last.unwrap_or_default()
}

/// A text that only docker's builder writes.
fn text(given: &Value) -> Value {
    json!(given.as_str().unwrap_or(""))
}

/// The config as docker writes it: what is unset is there, too, so that templates find it. `given` is the document itself, which has a few
/// fields that no container here takes notice of.
fn process(process: Option<&Process>, given: &Value) -> Value {
    let Some(process) = process else {
        return Value::Null;
    };
    let list = |words: &Vec<String>| {
        if words.is_empty() {
            Value::Null
        } else {
            json!(words)
        }
    };
    let known = serde_json::to_value(process).unwrap_or_default();
    let mut object = Map::new();
    let mut set = |name: &str, value: Value| drop(object.insert(name.into(), value));
    let flag = |name: &str| json!(given[name].as_bool().unwrap_or(false));
    for name in ["Hostname", "Domainname"] {
        set(name, text(&given[name]));
    }
    set("User", json!(process.user));
    for name in ["AttachStdin", "AttachStdout", "AttachStderr"] {
        set(name, flag(name));
    }
    let optional = |name: &str| known.get(name).cloned();
    if let Some(ports) = optional("ExposedPorts") {
        set("ExposedPorts", ports);
    }
    for name in ["Tty", "OpenStdin", "StdinOnce"] {
        set(name, flag(name));
    }
    set("Env", list(&process.env));
    set("Cmd", list(&process.cmd));
    for name in ["Healthcheck", "ArgsEscaped"] {
        if let Some(value) = optional(name) {
            set(name, value);
        }
    }
    set("Image", text(&given["Image"]));
    set("Volumes", optional("Volumes").unwrap_or(Value::Null));
    set("WorkingDir", json!(process.working_dir));
    set("Entrypoint", list(&process.entrypoint));
    set("OnBuild", list(&process.on_build));
    set("Labels", optional("Labels").unwrap_or(Value::Null));
    for name in ["StopSignal", "Shell"] {
        if let Some(value) = optional(name) {
            set(name, value);
        }
    }
    Value::Object(object)
}
