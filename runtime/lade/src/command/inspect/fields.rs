//! The fields that docker's type of an image has, in its order: templates find them also where the document leaves them out.

use crate::template::Shape::{
    self, Duration, List, Map, Number, Pointer, Struct, Text, Time, Truth,
};

const TEXTS: Shape = List(&Text);
const SET: Shape = Map(&Struct(&[]));

/// An image.
pub(super) static IMAGE: Shape = Struct(&[
    ("ID", "Id", Text),
    ("RepoTags", "RepoTags", TEXTS),
    ("RepoDigests", "RepoDigests", TEXTS),
    ("Parent", "Parent", Text),
    ("Comment", "Comment", Text),
    ("Created", "Created", Text),
    ("Container", "Container", Text),
    ("DockerVersion", "DockerVersion", Text),
    ("Author", "Author", Text),
    ("Config", "Config", Pointer(&CONFIG)),
    ("Architecture", "Architecture", Text),
    ("Variant", "Variant", Text),
    ("Os", "Os", Text),
    ("OsVersion", "OsVersion", Text),
    ("Size", "Size", Number),
    ("VirtualSize", "VirtualSize", Number),
    (
        "GraphDriver",
        "GraphDriver",
        Struct(&[("Data", "Data", Map(&Text)), ("Name", "Name", Text)]),
    ),
    (
        "RootFS",
        "RootFS",
        Struct(&[
            ("Type", "Type", Text),
            ("Layers", "Layers", TEXTS),
            ("BaseLayer", "BaseLayer", Text),
        ]),
    ),
    (
        "Metadata",
        "Metadata",
        Struct(&[("LastTagTime", "LastTagTime", Time)]),
    ),
]);

static CONFIG: Shape = Struct(&[
    ("Hostname", "Hostname", Text),
    ("Domainname", "Domainname", Text),
    ("User", "User", Text),
    ("AttachStdin", "AttachStdin", Truth),
    ("AttachStdout", "AttachStdout", Truth),
    ("AttachStderr", "AttachStderr", Truth),
    ("ExposedPorts", "ExposedPorts", SET),
    ("Tty", "Tty", Truth),
    ("OpenStdin", "OpenStdin", Truth),
    ("StdinOnce", "StdinOnce", Truth),
    ("Env", "Env", TEXTS),
    ("Cmd", "Cmd", TEXTS),
    ("Healthcheck", "Healthcheck", Pointer(&HEALTH)),
    ("ArgsEscaped", "ArgsEscaped", Truth),
    ("Image", "Image", Text),
    ("Volumes", "Volumes", SET),
    ("WorkingDir", "WorkingDir", Text),
    ("Entrypoint", "Entrypoint", TEXTS),
    ("NetworkDisabled", "NetworkDisabled", Truth),
    ("MacAddress", "MacAddress", Text),
    ("OnBuild", "OnBuild", TEXTS),
    ("Labels", "Labels", Map(&Text)),
    ("StopSignal", "StopSignal", Text),
    ("StopTimeout", "StopTimeout", Pointer(&Number)),
    ("Shell", "Shell", TEXTS),
]);

static HEALTH: Shape = Struct(&[
    ("Test", "Test", TEXTS),
    ("Interval", "Interval", Duration),
    ("Timeout", "Timeout", Duration),
    ("StartPeriod", "StartPeriod", Duration),
    ("Retries", "Retries", Number),
]);
