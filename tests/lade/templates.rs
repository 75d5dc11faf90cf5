//! `inspect --format`: what docker prints for the same images, also where their documents leave a field out.

use crate::others::Docker;
use orlop_tests::registry::image::docker_archive;
use orlop_tests::registry::{Image, Layer, Registry};
use orlop_tests::{Lade, Must};
use serde_json::json;
use std::fs;

/// Everything that a config may say; little; and none at all.
fn images() -> [(&'static str, Image); 3] {
    let last = json!({"created": "2024-05-06T07:08:09.5Z", "created_by": "CMD", "empty_layer": true, "comment": "the last"});
    let rich = Image::with(vec![Layer::noise(1, 100), Layer::noise(2, 100)], |config| {
        config["author"] = "me <m@x>".into();
        config["variant"] = "v1".into();
        config["history"]
            .as_array_mut()
            .must("history")
            .push(last.clone());
        config["config"] = json!({
            "Hostname": "h", "User": "ann", "ExposedPorts": {"80/tcp": {}}, "Env": ["PATH=/bin", "A=1"], "Cmd": ["sh"],
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000, "Retries": 3}, "Volumes": {"/data": {}},
            "WorkingDir": "/w", "Entrypoint": ["/e", "x"], "OnBuild": ["RUN x"], "Labels": {"foo": "bar", "a.b": "c"},
            "StopSignal": "SIGQUIT", "Shell": ["/bin/ash", "-c"],
        });
    });
    let plain = Image::with(vec![Layer::noise(1, 100)], |config| {
        config["history"]
            .as_array_mut()
            .must("history")
            .push(last.clone());
    });
    let bare = Image::with(vec![Layer::noise(3, 100)], |config| {
        let config = config.as_object_mut().must("an object");
        config.remove("config");
        config.remove("history");
    });
    [
        ("t/rich:one", rich),
        ("t/plain:one", plain),
        ("t/bare:one", bare),
    ]
}

/// Templates, and what docker 20.10.24 prints for each image; `!` where it refuses. What differs by nature (sizes, paths) is not here.
#[rustfmt::skip]
const TABLE: &[(&str, [&str; 3])] = &[
    ("{{slice .ID 0 7}}", ["sha256:", "sha256:", "sha256:"]),
    ("{{slice .Id 0 7}}", ["sha256:", "sha256:", "sha256:"]),
    ("{{.ID}}{{.Id}}", ["!", "!", "!"]),
    ("{{len .RootFS.Layers}} {{.RootFS.BaseLayer}}|", ["2 |", "1 |", "1 |"]),
    ("{{.RepoTags}}", ["[t/rich:one]", "[t/plain:one]", "[t/bare:one]"]),
    ("{{.RepoDigests}}", ["[]", "[]", "[]"]),
    ("{{.Parent}}|{{.Comment}}|{{.Container}}|{{.DockerVersion}}|{{.Author}}", ["|the last|||me <m@x>", "|the last|||", "||||"]),
    ("{{.Created}}", ["2024-05-06T07:08:09Z", "2024-05-06T07:08:09Z", "2024-05-06T07:08:09Z"]),
    ("{{.Config.Healthcheck}}", ["{[CMD true] 1s 0s 0s 3}", "<nil>", "!"]),
    ("{{json .Config.Healthcheck}}", ["{\"Test\":[\"CMD\",\"true\"],\"Interval\":1000000000,\"Retries\":3}", "null", "!"]),
    ("{{.Config.Healthcheck.Test}}", ["[CMD true]", "!", "!"]),
    ("{{.Config.StopSignal}}", ["SIGQUIT", "", "!"]),
    ("{{.Config.Shell}}", ["[/bin/ash -c]", "[]", "!"]),
    ("{{.Config.Labels}}", ["map[a.b:c foo:bar]", "map[]", "!"]),
    ("{{.Config.Labels.foo}}", ["bar", "<no value>", "!"]),
    ("{{.Config.Labels.nosuch}}", ["<no value>", "<no value>", "!"]),
    (r#"{{index .Config.Labels "nosuch"}}"#, ["", "", "!"]),
    (r#"{{index .Config.Labels "a.b"}}"#, ["c", "", "!"]),
    ("{{.Config.ExposedPorts}}", ["map[80/tcp:{}]", "map[]", "!"]),
    ("{{.Config.Volumes}}", ["map[/data:{}]", "map[]", "!"]),
    ("{{.Config.Env}}", ["[PATH=/bin A=1]", "[PATH=/bin]", "!"]),
    ("{{.Config.Cmd}}", ["[sh]", "[sh]", "!"]),
    ("{{.Config.Entrypoint}}", ["[/e x]", "[]", "!"]),
    ("{{.Config.OnBuild}}", ["[RUN x]", "[]", "!"]),
    ("{{.Config.User}}|{{.Config.WorkingDir}}|{{.Config.Hostname}}|{{.Config.Tty}}", ["ann|/w|h|false", "|||false", "!"]),
    ("{{.Config.ArgsEscaped}}", ["false", "false", "!"]),
    ("{{.Config.NetworkDisabled}}", ["false", "false", "!"]),
    ("{{.Config.MacAddress}}", ["", "", "!"]),
    ("{{.Config.StopTimeout}}", ["<nil>", "<nil>", "!"]),
    ("{{json .Config.StopTimeout}}", ["null", "null", "!"]),
    ("{{.Config.Nosuch}}", ["!", "!", "!"]),
    ("{{.Nosuch}}", ["!", "!", "!"]),
    ("{{.Variant}}", ["v1", "", ""]),
    ("{{.OsVersion}}", ["", "", ""]),
    ("{{.Architecture}}/{{.Os}}", ["amd64/linux", "amd64/linux", "amd64/linux"]),
    ("{{.GraphDriver.Name}}", ["overlay2", "overlay2", "overlay2"]),
    ("{{.RootFS.Type}}", ["layers", "layers", "layers"]),
    ("{{.RootFS.BaseLayer}}", ["", "", ""]),
    ("{{json .Config}}", ["{\"Hostname\":\"h\",\"Domainname\":\"\",\"User\":\"ann\",\"AttachStdin\":false,\"AttachStdout\":false,\"AttachStderr\":false,\"ExposedPorts\":{\"80/tcp\":{}},\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":false,\"Env\":[\"PATH=/bin\",\"A=1\"],\"Cmd\":[\"sh\"],\"Healthcheck\":{\"Test\":[\"CMD\",\"true\"],\"Interval\":1000000000,\"Retries\":3},\"Image\":\"\",\"Volumes\":{\"/data\":{}},\"WorkingDir\":\"/w\",\"Entrypoint\":[\"/e\",\"x\"],\"OnBuild\":[\"RUN x\"],\"Labels\":{\"a.b\":\"c\",\"foo\":\"bar\"},\"StopSignal\":\"SIGQUIT\",\"Shell\":[\"/bin/ash\",\"-c\"]}", "{\"Hostname\":\"\",\"Domainname\":\"\",\"User\":\"\",\"AttachStdin\":false,\"AttachStdout\":false,\"AttachStderr\":false,\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":false,\"Env\":[\"PATH=/bin\"],\"Cmd\":[\"sh\"],\"Image\":\"\",\"Volumes\":null,\"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":null,\"Labels\":null}", "null"]),
    ("{{html .Config.Env}}", ["[PATH=/bin A=1]", "[PATH=/bin]", "!"]),
    (r#"{{html "<a&b>"}}"#, ["&lt;a&amp;b&gt;", "&lt;a&amp;b&gt;", "&lt;a&amp;b&gt;"]),
    (r#"{{urlquery "a b&c"}}"#, ["a+b%26c", "a+b%26c", "a+b%26c"]),
    (r#"{{js "a'b"}}"#, ["a\\'b", "a\\'b", "a\\'b"]),
    ("{{len .Config.Labels}}", ["2", "0", "!"]),
    ("{{range .Config.Labels}}{{.}},{{end}}", ["c,bar,", "", "!"]),
    ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}},{{end}}", ["a.b=c,foo=bar,", "", "!"]),
    ("{{range $p, $c := .Config.ExposedPorts}}{{$p}} {{end}}", ["80/tcp ", "", "!"]),
    ("{{json .Config.Cmd}}", ["[\"sh\"]", "[\"sh\"]", "!"]),
    ("{{json .Config.Labels}}", ["{\"a.b\":\"c\",\"foo\":\"bar\"}", "null", "!"]),
    ("{{json .RepoDigests}}", ["[]", "[]", "[]"]),
    ("{{with .Config.Healthcheck}}{{.Interval}}{{else}}none{{end}}", ["1s", "none", "!"]),
    ("{{if .Config.Labels}}y{{else}}n{{end}}", ["y", "n", "!"]),
    ("{{.Config.Healthcheck.Interval}}", ["1s", "!", "!"]),
    (r#"{{printf "%v %s %q" .Config.OnBuild .Config.Labels .Config.Env}}"#, ["[RUN x] map[a.b:c foo:bar] [\"PATH=/bin\" \"A=1\"]", "[] map[] [\"PATH=/bin\"]", "!"]),
    ("{{println .Config.Healthcheck .Config.OnBuild}}", ["&{[CMD true] 1s 0s 0s 3} [RUN x]\n", "<nil> []\n", "!"]),
    (r#"{{print .Config.Volumes}} {{printf "%v" .Config.Healthcheck}}"#, ["map[/data:{}] &{[CMD true] 1s 0s 0s 3}", "map[] <nil>", "!"]),
    (r#"{{eq .Config.StopSignal ""}}"#, ["false", "true", "!"]),
    (r#"{{len .Config.OnBuild}} {{json .Config.OnBuild}} {{join .Config.OnBuild ","}}"#, ["1 [\"RUN x\"] RUN x", "0 null ", "!"]),
    ("{{.Config.Healthcheck.StartPeriod}} {{.Config.Healthcheck.Retries}}", ["0s 3", "!", "!"]),
    ("{{index .Config.Env 0}}", ["PATH=/bin", "PATH=/bin", "!"]),
    ("{{with .Config.Labels}}{{.foo}}{{end}}", ["bar", "", "!"]),
    ("{{.Metadata.Nosuch}}", ["!", "!", "!"]),
    ("{{html .Config.Labels}}", ["map[a.b:c foo:bar]", "map[]", "!"]),
];

#[test]
fn inspect_prints_what_docker_prints() {
    let lade = Lade::new();
    let images = images();
    let named: Vec<(&str, &Image)> = images.iter().map(|(name, image)| (*name, image)).collect();
    let archive = lade.env.dir.join("images.tar");
    fs::write(&archive, docker_archive(&named)).must("an archive");
    let archive = archive.display().to_string();
    lade.ok(&["load", "-i", &archive]);
    let docker = Docker::start(&lade, "inspect_prints_what_docker_prints");
    if let Some(docker) = &docker {
        docker.cmd(&lade, &["load", "-i", &archive]).run().ok();
    }
    let mut wrong = Vec::new();
    for (template, wanted) in TABLE {
        for ((name, _), wanted) in images.iter().zip(wanted) {
            let args = ["image", "inspect", "--format", template, name];
            let ours = ("lade", lade.cmd(&args).run());
            let theirs = docker
                .as_ref()
                .map(|docker| ("docker", docker.cmd(&lade, &args).run()));
            for (who, done) in [ours].into_iter().chain(theirs) {
                let out = done.stdout();
                let said = if done.rc == 0 {
                    out.strip_suffix('\n').unwrap_or(&out)
                } else {
                    "!"
                };
                if said != *wanted {
                    wrong.push(format!(
                        "{who}: {name}: {template}: {said:?}, not {wanted:?}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The image whose config says everything, which is here then.
fn loaded(lade: &Lade) -> (&'static str, Image) {
    let [rich, ..] = images();
    lade.cmd(&["load"])
        .stdin(docker_archive(&[(rich.0, &rich.1)]))
        .run()
        .ok();
    rich
}

#[test]
fn other_templates_have_dockers_fields() {
    let lade = Lade::new();
    let (name, image) = loaded(&lade);
    let (id, root) = (image.id(), lade.data.display().to_string());
    let table: [(&[&str], &str, &str); 8] = [
        (
            &["images"],
            "{{.Repository}}|{{.Tag}}|{{.Digest}}|{{.CreatedAt}}|{{html .Tag}}",
            "t/rich|one|<none>|2024-05-06 07:08:09 +0000 UTC|one",
        ),
        (
            &["images"],
            "{{len .Tag}} {{.Tag | printf \"%q\"}} {{upper .Tag}}",
            "3 \"one\" ONE",
        ),
        (
            &["history", name],
            "{{.ID}}|{{.CreatedAt}}|{{.CreatedBy}}|{{.Comment}}",
            &format!("{}|2024-05-06T07:08:09Z|CMD|the last", &id[7..19]),
        ),
        (
            &["info"],
            "{{.Images}}|{{.Driver}}|{{.OSType}}|{{.DockerRootDir}}",
            &format!("1|overlay2|linux|{root}"),
        ),
        (
            &["system", "info"],
            "{{.DefaultRuntime}}|{{len .InsecureRegistries}}",
            &format!("{}|0", orlop_tests::orlop().display()),
        ),
        (
            &["version"],
            "{{.Client.Os}}/{{.Server.Os}} {{eq .Client.Version .Server.Version}}",
            "linux/linux true",
        ),
        (
            &["system", "df"],
            "{{.Type}}|{{.TotalCount}}|{{.Active}}",
            "Images|1|0",
        ),
        (
            &["inspect", name],
            "{{.GraphDriver.Data.MergedDir}}",
            "<no value>",
        ),
    ];
    for (command, template, wanted) in table {
        let said = lade.says(&[command, &["--format", template]].concat());
        let first = said.lines().next().unwrap_or_default();
        assert_eq!(first, wanted, "{command:?} {template}");
    }
}

#[test]
fn an_image_that_came_just_now_has_its_name_since_then() {
    let lade = Lade::new();
    let (name, _) = loaded(&lade);
    let said = lade.inspect(name, "{{.Metadata.LastTagTime}}");
    assert!(
        said.ends_with(" +0000 UTC") && !said.starts_with("0001-01-01"),
        "{said}"
    );
}

#[test]
fn a_field_that_no_template_has_is_refused() {
    let lade = Lade::new();
    let (name, _) = loaded(&lade);
    for command in [
        &["images"] as &[&str],
        &["history", name],
        &["info"],
        &["version"],
        &["system", "df"],
    ] {
        lade.fails(
            &[command, &["--format", "{{.Nosuch}}"]].concat(),
            &["Nosuch", "--format"],
        );
    }
}

#[test]
fn a_moment_is_shown_with_the_fractions_that_the_config_has() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let moment = "2024-02-29T12:30:15.123456789Z";
    let image = Image::with(vec![Layer::noise(1, 100)], |config| {
        config["created"] = moment.into();
    });
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    assert_eq!(lade.inspect(&name, "{{.Created}}"), moment);
    let all: serde_json::Value =
        serde_json::from_str(&lade.says(&["image", "inspect", &name])).must("JSON");
    assert_eq!(all[0]["Created"], moment);
    // Docker's table has whole seconds.
    let said = lade.says(&["images", "--format", "{{.CreatedAt}}"]);
    assert_eq!(said, "2024-02-29 12:30:15 +0000 UTC");
}

#[test]
fn an_image_of_no_date_has_none() {
    let lade = Lade::new();
    let image = Image::with(vec![Layer::noise(1, 100)], |config| {
        let config = config.as_object_mut().must("an object");
        config.remove("created");
        config.remove("history");
    });
    lade.cmd(&["load"])
        .stdin(docker_archive(&[("t/old:one", &image)]))
        .run()
        .ok();
    for command in [&["images"] as &[&str], &["history", "t/old:one"]] {
        let said = lade.says(&[command, &["--format", "{{.CreatedSince}}"]].concat());
        assert_eq!(said, "N/A", "{command:?}");
    }
}
