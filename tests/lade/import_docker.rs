//! `lade import-docker`: a Docker installation's images, by its socket and by its program.

use crate::others::Docker;
use orlop_tests::registry::image::docker_archive;
use orlop_tests::registry::{Image, Layer};
use orlop_tests::{Lade, Must};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program that is not open for writing by anybody when it is started.
fn script(lade: &Lade, text: &str) -> PathBuf {
    let path = lade.env.dir.join("script");
    lade.other("tee").arg(&path).stdin(text).run().ok();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).must(path.display());
    path
}

/// What docker has: images of two names, and one that has lost its own to another.
struct Given {
    large: Image,
    busybox: Image,
    nameless: Image,
}

impl Given {
    fn to(docker: &Docker, lade: &Lade) -> Self {
        let given = Self {
            large: Image::noise(1, 3, 200_000),
            busybox: Image::busybox(),
            nameless: Image::noise(2, 1, 1000),
        };
        let archive = docker_archive(&[
            ("large:one", &given.large),
            ("team/box:two", &given.busybox),
            ("gone:x", &given.nameless),
        ]);
        let load = docker.cmd(lade, &["load"]);
        load.stdin(archive).run().ok();
        for names in [
            ["large:one", "also/large:three"],
            ["team/box:two", "gone:x"],
        ] {
            docker.cmd(lade, &["tag", names[0], names[1]]).run().ok();
        }
        given
    }

    /// Ids and names, sorted.
    fn rows(&self) -> Vec<String> {
        let mut rows = vec![
            format!("{} also/large:three", self.large.id()),
            format!("{} large:one", self.large.id()),
            format!("{} gone:x", self.busybox.id()),
            format!("{} team/box:two", self.busybox.id()),
            format!("{} <none>:<none>", self.nameless.id()),
        ];
        rows.sort_unstable();
        rows
    }
}

/// Brings one image, then all, to a data root of their own.
fn everything_comes(lade: &Lade, data: &Path, from: [&str; 2], given: &Given) {
    let engine = |args: &[&str]| lade.at(data, args).run();
    let import = |names: &[&str]| engine(&[&["import-docker"], &from as &[&str], names].concat());
    let done = import(&["team/box:two"]).ok();
    assert!(
        done.stdout().contains("Loaded image: team/box:two"),
        "{done}"
    );
    let done = engine(&["images", "-q", "--no-trunc"]).ok();
    assert_eq!(done.stdout().trim(), given.busybox.id(), "{from:?}");
    import(&["nosuch:one"]).refused(1, &["nosuch:one|reference does not exist|No such image"]);
    import(&["--quiet"]).ok();
    let row = "{{.ID}} {{.Repository}}:{{.Tag}}";
    let done = engine(&["images", "-a", "--no-trunc", "--format", row]).ok();
    let said = done.stdout();
    let mut found: Vec<&str> = said.lines().collect();
    found.sort_unstable();
    assert_eq!(found, given.rows(), "{from:?}");
    engine(&["run", "--rm", "--network", "none", "gone:x", "echo", "here"])
        .ok()
        .prints("here");
    engine(&["image", "verify", "large:one"]).ok();
    engine(&["system", "check"]).ok();
}

#[test]
fn everything_comes_by_the_socket_and_by_the_program() {
    let lade = Lade::new();
    let Some(docker) = Docker::start(&lade, "everything_comes_by_the_socket_and_by_the_program")
    else {
        return;
    };
    let given = Given::to(&docker, &lade);
    let socket = docker.socket().display().to_string();
    let line = format!("#!/bin/sh\nexec docker --host unix://{socket} \"$@\"\n");
    let program = script(&lade, &line).display().to_string();
    for (case, from) in [
        ("socket", ["--socket", &socket]),
        ("program", ["--program", &program]),
    ] {
        let data = lade.env.dir.join(format!("of-{case}"));
        everything_comes(&lade, &data, from, &given);
    }
    // It keeps them.
    docker
        .cmd(&lade, &["image", "inspect", "large:one", "gone:x"])
        .run()
        .ok();
}

#[test]
fn a_program_may_say_as_much_as_it_likes() {
    let lade = Lade::new();
    let archive = lade.env.dir.join("archive");
    fs::write(&archive, docker_archive(&[("it:one", &Image::busybox())])).must("the archive");
    let text = format!(
        "#!/bin/sh\n[ \"$1 $2 $3\" = 'save -- it:one' ] || {{ echo \"odd: $*\" >&2; exit 2; }}\nhead -c 300000 /dev/zero | tr '\\0' w >&2\nexec cat {}\n",
        archive.display()
    );
    let program = script(&lade, &text).display().to_string();
    lade.ok(&["import-docker", "--program", &program, "it:one"]);
    assert_eq!(lade.names(), ["it:one"]);
    lade.fails(
        &["import-docker", "--program", &program, "other:one"],
        &["odd: save -- other:one"],
    );
    lade.fails(
        &["import-docker", "--program", "/no/such/docker"],
        &["/no/such/docker"],
    );
    let socket = "/no/such/socket";
    lade.fails(
        &["import-docker", "--socket", socket],
        &[socket, "cannot be reached"],
    );
    let file = Path::new(&program).display().to_string();
    lade.fails(&["import-docker", "--socket", &file], &[&file]);
    lade.whole();
}

/// What a daemon answers that is none, or one that goes away.
#[test]
fn a_strange_daemon_is_said_in_a_line() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    let lade = Lade::new();
    let layer = Layer::noise(1, 100_000);
    let half = docker_archive(&[("it:one", &Image::new(vec![layer]))]);
    let half = &half[..half.len() / 2];
    let sized = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", half].concat();
    let ended = [b"HTTP/1.1 200 OK\r\n\r\n", half].concat();
    for (number, (answer, part)) in [
        (b"SSH-2.0-x\r\n".to_vec(), "no HTTP"),
        (
            b"HTTP/1.1 500 Oh\r\n\r\n{\"message\": \"it is unwell\"}".to_vec(),
            "it is unwell",
        ),
        (Vec::new(), "hung up"),
        (sized, "hung up|ends"),
        (ended, "end|cut"),
    ]
    .into_iter()
    .enumerate()
    {
        let socket = lade.env.dir.join(format!("s{number}"));
        let listener = UnixListener::bind(&socket).must(socket.display());
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().must("a client");
            let mut head = [0_u8; 1000];
            stream.read(&mut head).must("a request");
            // A client that has heard enough goes.
            stream.write_all(&answer).unwrap_or_default();
        });
        let socket = socket.display().to_string();
        lade.fails(&["import-docker", "--socket", &socket, "it:one"], &[part]);
        daemon.join().expect("the daemon");
        assert!(lade.ids().is_empty());
    }

    lade.ok(&["system", "check"]);
}
