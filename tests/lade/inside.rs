//! What strange images make of a run: nothing of the host is reached, and nothing is waited for.

use orlop_tests::registry::{Image, Layer, Registry, Tar};
use orlop_tests::{Cmd, Lade, Must, complaint};
use serde_json::json;
use std::fs;

fn run(lade: &Lade, args: &[&str]) -> Cmd {
    lade.cmd(&["run", "--rm", "--network", "none"]).args(args)
}

#[test]
fn volumes_show_what_the_image_has_and_lead_nowhere_else() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let host = lade.env.dir.join("host");
    fs::create_dir(&host).must("a directory of the host");
    fs::write(host.join("secret"), "of the host\n").must("a file of the host");
    let text = host.display().to_string();
    let own = Tar::new()
        .dir("data/", 0o750)
        .file("data/file", 0o640, "of the image\n")
        .symlink("data/link", &format!("{text}/secret"))
        .symlink("away", &text)
        .symlink("above", &format!("../../../../../..{text}"));
    let image = Image::with(vec![Layer::busybox(), Layer::gzip(own)], |config| {
        config["config"]["Volumes"] =
            json!({ "/data": {}, "/away": {}, "/above/below": {}, "/new/one": {} });
    });
    let name = registry.serve("box:one", &image);
    lade.ok(&["pull", &name]);
    let sh = |script: &str| run(&lade, &[&name, "sh", "-c", script]).run();
    sh("cat /data/file; stat -c %a /data /data/file")
        .ok()
        .prints("of the image\n750\n640");
    for path in ["/data/link", "/away/secret", "/above/secret"] {
        let done = sh(&format!("cat {path}")).exits(1);
        assert!(!done.stdout().contains("of the host"), "{done}");
    }
    sh("mkdir -p /above/below; echo x >/data/new; echo x >/away/new; echo x >/data/link; true")
        .ok();
    let left: Vec<_> = fs::read_dir(&host).must("the host's").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let secret = fs::read_to_string(host.join("secret")).must("a file of the host");
    assert_eq!(secret, "of the host\n");
    sh("ls /data").ok().prints("file\nlink");
    lade.whole();
}

#[test]
fn user_databases_are_the_images_own_files_or_none() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let users = lade.env.dir.join("users");
    fs::write(&users, "theirs:x:4242:4242::/:/bin/sh\n").must("users of the host");
    let text = users.display().to_string();
    let large = vec![b'a'; 17 << 20];
    let rows: [(&str, Tar, Option<&str>); 7] = [
        ("link", Tar::new().symlink("etc/passwd", &text), None),
        (
            "above",
            Tar::new().symlink("etc/passwd", &format!("../../../../..{text}")),
            None,
        ),
        ("loop", Tar::new().symlink("etc/passwd", "passwd"), None),
        ("fifo", Tar::new().node("etc/passwd", 'p', (0, 0)), None),
        // Without end.
        ("device", Tar::new().node("etc/passwd", 'c', (1, 5)), None),
        ("directory", Tar::new().dir("etc/passwd/", 0o755), None),
        (
            "large",
            Tar::new().file("etc/passwd", 0o644, large),
            Some("/etc/passwd is longer than"),
        ),
    ];
    for (kind, tar, refused) in rows {
        let image = Image::new(vec![Layer::busybox(), Layer::gzip(tar)]);
        let name = registry.serve(&format!("box:{kind}"), &image);
        lade.ok(&["pull", "-q", &name]);
        let by_name = run(&lade, &["-u", "theirs", &name, "true"]).run();
        let parts = [refused.unwrap_or("unable to find user theirs")];
        assert_eq!(
            complaint(&by_name, &[125], &parts),
            None,
            "{kind}: {by_name}"
        );
        // A program that does not read them itself.
        let by_number = run(&lade, &["-u", "7:8", &name, "cat", "/proc/self/status"]).run();
        match refused {
            None => assert!(by_number.ok().stdout().contains("Uid:\t7\t"), "{kind}"),
            Some(part) => assert_eq!(complaint(&by_number, &[125], &[part]), None, "{by_number}"),
        }
    }
    let tar = Tar::new()
        .file("users", 0o644, "inner:x:77:88::/:/bin/sh\n")
        .symlink("etc/passwd", "/users");
    let image = Image::new(vec![Layer::busybox(), Layer::gzip(tar)]);
    let name = registry.serve("box:inner", &image);
    let done = run(
        &lade,
        &["-q", "-u", "inner", &name, "sh", "-c", "id -u; id -g"],
    )
    .run();
    done.ok().prints("77\n88");
}

#[test]
fn two_hundred_layers_are_pulled_and_run() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let mut layers = vec![Layer::busybox()];
    layers.extend((1..200).map(|number| {
        let file = format!("{number}\n");
        let tar = Tar::new().dir("all/", 0o755);
        let tar = tar.file(&format!("all/{number}"), 0o644, &file);
        Layer::gzip(tar.file("last", 0o644, &file))
    }));
    let name = registry.serve("box:one", &Image::new(layers));
    lade.ok(&["pull", &name]);
    let script = "ls /all | wc -l; cat /last /all/1 /all/199; echo new >/all/1; cat /all/1";
    let done = run(&lade, &[&name, "sh", "-c", script]).run();
    done.ok().prints("199\n199\n1\n199\nnew");
    lade.whole();
}
