//! Lade for an ordinary user: with ranges of ids by newuidmap(1), with the own id alone, and as root of a user namespace.

use orlop_tests::registry::{Head, Image, Layer, Registry, Tar};
use orlop_tests::{Cmd, Done, Env, Must, complaint, copy_program, disk, lade, orlop, skip, sys};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nobody on a usual machine has this id, nor this range.
pub(crate) const NOBODYS: u32 = 73_002;
const RANGE: (u32, u32) = (731_000_000, 65_536);

/// An ordinary user with a home of its own, in the mount namespace of one test: the machine's files stay as they are.
#[derive(Debug)]
pub(crate) struct User {
    env: Env,
    pub(crate) own: PathBuf,
    covered: Vec<&'static str>,
}

impl User {
    /// None where the kernel gives an ordinary user no user namespace.
    #[track_caller]
    pub(crate) fn new(case: &str) -> Option<Self> {
        let env = Env::new();
        let mut user = Self {
            own: env.dir.join("own"),
            covered: Vec::new(),
            env,
        };
        let passwd = fs::read_to_string("/etc/passwd").must("/etc/passwd");
        let line = format!("ot{NOBODYS}:x:{NOBODYS}:{NOBODYS}::/:/bin/sh\n");
        user.cover("/etc/passwd", &(passwd + &line));
        user.ids(&format!("ot{NOBODYS}:{}:{}\n", RANGE.0, RANGE.1));
        for dir in ["", "home", "run"] {
            let dir = user.own.join(dir);
            fs::create_dir_all(&dir).must(dir.display());
            chown(&dir, Some(NOBODYS), Some(NOBODYS)).must(dir.display());
        }
        fs::set_permissions(user.own.join("run"), Permissions::from_mode(0o700)).must("run");
        // The checkout may lie where no other user looks.
        copy_program(&lade(), &user.own.join("lade"));
        copy_program(&orlop(), &user.own.join("orlop"));
        let tried = user.cmd("unshare").args(["--user", "true"]).run();
        if tried.rc != 0 {
            skip(case, "an ordinary user gets no user namespace here");
            return None;
        }
        Some(user)
    }

    /// Gives both files of subordinate ids this text.
    fn ids(&mut self, text: &str) {
        self.cover("/etc/subuid", text);
        self.cover("/etc/subgid", text);
    }

    /// Lays a file over one of the host's.
    fn cover(&mut self, file: &'static str, text: &str) {
        let name = Path::new(file).file_name().must(file);
        let own = self.env.dir.join(name);
        fs::write(&own, text).must(own.display());
        fs::set_permissions(&own, Permissions::from_mode(0o644)).must(own.display());
        if self.covered.contains(&file) {
            return;
        }
        assert!(
            Path::new(file).exists(),
            "{file} is missing: install uidmap (hack/deps test)"
        );
        sys::mount(&own, file, "", libc::MS_BIND, "").must(file);
        self.covered.push(file);
    }

    /// Prepares a program that the user runs.
    fn cmd(&self, program: &str) -> Cmd {
        let id = NOBODYS.to_string();
        let args = ["--reuid", &id, "--regid", &id, "--clear-groups", program];
        self.env
            .cmd("setpriv")
            .args(args)
            .dir(&self.own)
            .with(|command| {
                command.env_clear();
            })
            .env("ORLOP_TEST", &self.env.tag)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("USER", format!("ot{NOBODYS}"))
            .env("HOME", self.own.join("home"))
            .env("XDG_RUNTIME_DIR", self.own.join("run"))
            .env("LADE_RUNTIME", self.own.join("orlop"))
            .limit(Duration::from_secs(120))
    }

    fn program(&self) -> String {
        let program = self.own.join("lade");
        program.to_str().must("a plain path").to_owned()
    }

    pub(crate) fn lade(&self, args: &[&str]) -> Cmd {
        self.cmd(&self.program()).args(args)
    }

    #[track_caller]
    pub(crate) fn says(&self, args: &[&str]) -> String {
        self.lade(args).run().ok().stdout().trim_end().to_owned()
    }

    /// What a script prints in a container of its own, with nothing on stderr.
    #[track_caller]
    fn sh(&self, network: &str, name: &str, script: &str) -> String {
        let args = [
            "run",
            "--rm",
            "--network",
            network,
            name,
            "sh",
            "-c",
            script,
        ];
        let done = self.lade(&args).run().ok();
        assert_eq!(done.stderr(), "", "{done}");
        done.stdout().trim_end().to_owned()
    }

    #[track_caller]
    fn fails(&self, args: &[&str], codes: &[i32], parts: &[&str]) -> Done {
        let done = self.lade(args).run();
        assert_eq!(complaint(&done, codes, parts), None, "{done}");
        done
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.own.join("home/.local/share/lade")
    }

    /// Waits until what was removed is deleted.
    #[track_caller]
    pub(crate) fn swept(&self) {
        let trash = self.data().join("trash");
        let empty = || {
            let entries = fs::read_dir(&trash).into_iter().flatten().flatten();
            (entries.filter(|entry| entry.file_name() != "lock").count() == 0).then_some(())
        };
        orlop_tests::soon(Duration::from_secs(20), empty).must("the trash is empty within 20 s");
    }

    /// Removes all images, and demands that nothing of them is left.
    #[track_caller]
    fn leaves_nothing(&self, names: &[&str]) {
        self.lade(&[&["rmi"], names].concat()).run().ok();
        self.lade(&["image", "prune", "-a", "-f"]).run().ok();
        self.swept();
        for dir in ["blobs/sha256", "layers/sha256", "containers", "unpack"] {
            let dir = self.data().join(dir);
            let left: Vec<_> = fs::read_dir(&dir).into_iter().flatten().flatten().collect();
            assert!(left.is_empty(), "{left:?}");
        }
        self.lade(&["system", "check"]).run().ok();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        for file in &self.covered {
            sys::umount(file).unwrap_or_default();
        }
    }
}

/// An entry with an owner.
fn owned(tar: Tar, name: &str, kind: u8, owner: (u64, u64), data: &str) -> Tar {
    let head = Head {
        uid: owner.0,
        gid: owner.1,
        size: data.len() as u64,
        ..Head::new(name, kind)
    };
    tar.raw(&head, data.as_bytes())
}

/// busybox; a layer with other owners, a capability and a device; one with a whiteout and an opaque directory.
fn image() -> Image {
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::new().dir("own/", 0o755).dir("hidden/", 0o755);
    let tar = owned(tar, "own/mail", b'0', (8, 12), "of the mail\n");
    let tar = owned(tar, "own/nobody", b'0', (65_534, 65_534), "of nobody\n");
    let lower = owned(tar, "home/ann/", b'5', (1000, 1000), "")
        .file("own/gone", 0o644, "removed above\n")
        .file("hidden/below", 0o644, "hidden above\n")
        .node("dev/rtc", 'c', (10, 135))
        .node("own/pipe", 'p', (0, 0))
        .pax(&[("SCHILY.xattr.security.capability", &capability)])
        .file("own/able", 0o755, "able\n");
    let upper = Tar::new()
        .file("own/.wh.gone", 0o644, "")
        .dir("hidden/", 0o755)
        .file("hidden/.wh..wh..opq", 0o644, "")
        .file("hidden/above", 0o644, "seen\n");
    Image::new(vec![
        Layer::busybox(),
        Layer::gzip(lower),
        Layer::zstd(upper),
    ])
}

#[test]
fn an_ordinary_user_has_images_of_his_own() {
    let Some(user) = User::new("ordinary images") else {
        return;
    };
    let registry = Registry::new();
    let name = registry.serve("box:one", &image());
    let done = user.lade(&["pull", &name]).run().ok();
    assert!(done.stderr().contains("device left out"), "{done}");
    assert_eq!(
        user.says(&["images", "--format", "{{.Repository}}:{{.Tag}}"]),
        name
    );
    assert!(user.data().join("version").exists());
    let layers = fs::read_dir(user.data().join("layers/sha256")).must("layers");
    let mails: Vec<_> = layers
        .flatten()
        .filter_map(|layer| fs::metadata(layer.path().join("fs/own/mail")).ok())
        .map(|found| (found.uid(), found.gid()))
        .collect();
    assert_eq!(mails, [(RANGE.0 + 7, RANGE.0 + 11)]);
    let script =
        "stat -c %u:%g /own/mail /own/nobody /home/ann; ls /own /hidden; cat /hidden/above; id";
    let want = "8:12\n65534:65534\n1000:1000\n/hidden:\nabove\n\n/own:\nable\nmail\nnobody\npipe\nseen\nuid=0(root) gid=0(root) groups=0(root)";
    assert_eq!(user.sh("none", &name, script), want);
    user.lade(&["image", "verify", &name]).run().ok();
    user.lade(&["system", "check"]).run().ok();

    // What goes out is what came in, to the bit.
    let pushed = registry.name("box:again");
    user.lade(&["tag", &name, &pushed]).run().ok();
    user.lade(&["push", &pushed]).run().ok();
    assert_eq!(
        registry.manifest("box", "again"),
        registry.manifest("box", "one")
    );
    let archive = user.own.join("home/box.tar");
    let path = archive.to_str().must("a plain path");
    user.lade(&["save", "-o", path, &name]).run().ok();
    assert_eq!(fs::metadata(&archive).must(path).uid(), NOBODYS);
    user.leaves_nothing(&[&name, &pushed]);
    user.lade(&["load", "-i", path]).run().ok();
    user.lade(&["image", "verify", &name]).run().ok();
    assert_eq!(user.sh("none", &name, "cat /own/mail"), "of the mail");
    fs::remove_file(&archive).must(path);
    user.leaves_nothing(&[&name]);
}

#[test]
fn containers_of_an_ordinary_user() {
    let Some(user) = User::new("ordinary containers") else {
        return;
    };
    let registry = Registry::new();
    let name = registry.serve("box:one", &image());
    user.lade(&["pull", "-q", &name]).run().ok();
    let before = user.env.world();
    for network in ["none", "host"] {
        assert_eq!(user.sh(network, &name, "true"), "");
        let script = "echo x >/own/new; stat -c %u /own/new; ls /sys/class/net | wc -l; hostname; ls -l /dev/null | head -c 1";
        let said = user.sh(network, &name, script);
        let said: Vec<&str> = said.lines().collect();
        assert_eq!((said[0], said[3]), ("0", "c"), "{said:?}");
        let args = [
            "run",
            "--rm",
            "--network",
            network,
            "-u",
            "ann",
            &name,
            "sh",
            "-c",
        ];
        let by_ann = user
            .lade(
                &[
                    &args[..],
                    &["id -u; cat /own/nobody; touch /home/ann/x; ls -n /home/ann"],
                ]
                .concat(),
            )
            .run()
            .ok()
            .stdout();
        assert!(by_ann.starts_with("1000\nof nobody\n"), "{by_ann}");
        assert!(by_ann.contains(" 1000     1000 "), "{by_ann}");
    }
    user.lade(&[
        "run",
        "--rm",
        "--network",
        "none",
        &name,
        "sh",
        "-c",
        "exit 7",
    ])
    .run()
    .exits(7);
    user.fails(
        &["run", "--rm", &name, "nosuchprogram"],
        &[127],
        &["nosuchprogram"],
    );
    user.swept();
    user.env
        .as_before(&before, "after containers of an ordinary user");
    user.leaves_nothing(&[&name]);
}

#[test]
fn an_ordinary_user_is_told_what_his_images_take_on_disk() {
    let Some(user) = User::new("ordinary disk use") else {
        return;
    };
    let registry = Registry::new();
    let name = registry.serve("box:one", &image());
    user.lade(&["pull", "-q", &name]).run().ok();
    let size = |text: &str| -> f64 {
        let (number, unit) = text.split_at(text.find(char::is_alphabetic).must(text));
        let factor = match unit {
            "B" => 1.0,
            "kB" => 1e3,
            "MB" => 1e6,
            other => panic!("{other}"),
        };
        number.parse::<f64>().must(text) * factor
    };
    let df = user.says(&["system", "df", "--format", "{{.Size}}"]);
    let images = size(df.lines().next().must("a line"));
    let found = ["blobs", "layers"].map(|dir| disk(&user.data().join(dir)));
    let found = found.iter().sum::<u64>() as f64;
    assert!((images - found).abs() <= 0.01 * found, "{df}\n{found}");
}

#[test]
fn without_ids_of_his_own_a_user_is_told_what_to_install() {
    let Some(mut user) = User::new("own id alone") else {
        return;
    };
    user.ids("");
    let registry = Registry::new();
    let (plain, many) = (
        registry.serve("box:plain", &Image::busybox()),
        registry.serve("box:many", &image()),
    );
    let parts = ["its owner", "newuidmap", "uidmap", "--add-subuids"];
    user.fails(&["pull", &many], &[1], &parts);
    user.fails(&["run", "--rm", &many, "true"], &[125], &parts);
    // What is root's alone needs no more.
    user.lade(&["pull", "-q", &plain]).run().ok();
    for network in ["none", "host"] {
        assert_eq!(user.sh(network, &plain, "id -u"), "0");
    }
    let parts = ["user 1000", "newuidmap", "uidmap", "--add-subuids"];
    user.fails(&["run", "--rm", "-u", "1000", &plain, "id"], &[125], &parts);
    let parts = ["group 5", "--add-subuids"];
    user.fails(&["run", "--rm", "-u", "0:5", &plain, "id"], &[125], &parts);
    // Ids that are given later count.
    user.ids(&format!("{NOBODYS}:{}:{}\n", RANGE.0, RANGE.1));
    user.lade(&["pull", "-q", &many]).run().ok();
    user.lade(&["image", "verify"]).run().ok();
    user.leaves_nothing(&[&plain, &many]);
}

#[test]
fn root_of_a_user_namespace_is_an_ordinary_user() {
    let Some(user) = User::new("unshare -r") else {
        return;
    };
    let registry = Registry::new();
    let (plain, many) = (
        registry.serve("box:plain", &Image::busybox()),
        registry.serve("box:many", &image()),
    );
    let inside = |unshare: &[&str], args: &[&str]| {
        let program = user.program();
        let cmd = user.cmd("unshare").args(unshare).arg(program).args(args);
        cmd.run()
    };
    for unshare in [&["-r"][..], &["-rm"]] {
        inside(unshare, &["pull", "-q", &plain]).ok();
        let run = ["run", "--rm", "--network", "none", &plain, "id", "-u"];
        inside(unshare, &run).ok().prints("0");
        let done = inside(unshare, &["pull", "-q", &many]);
        assert_eq!(
            complaint(&done, &[1], &["its owner", "newuidmap"]),
            None,
            "{done}"
        );
    }
    // The root of his is where he finds it without, too.
    assert_eq!(user.sh("none", &plain, "id -u"), "0");
    user.leaves_nothing(&[&plain]);
}

#[test]
fn an_import_leaves_devices_out_and_says_so() {
    let Some(user) = User::new("ordinary import") else {
        return;
    };
    let tar = Tar::new()
        .dir("dev/", 0o755)
        .node("dev/console", 'c', (5, 1));
    let tar = owned(tar, "file", b'0', (5, 6), "text").done();
    let done = user
        .lade(&["import", "-", "made:one"])
        .stdin(tar)
        .run()
        .ok();
    assert!(
        done.stderr().contains("dev/console\": device left out"),
        "{done}"
    );
    user.lade(&["image", "verify", "made:one"]).run().ok();
    user.leaves_nothing(&["made:one"]);
}

#[test]
fn what_an_ordinary_user_cannot_have_is_said_in_a_line() {
    let Some(mut user) = User::new("refusals") else {
        return;
    };
    user.fails(
        &["image", "mount", "x"],
        &[1],
        &["image mount", "ordinary user"],
    );
    user.lade(&["image", "mount"]).run().ok();
    user.lade(&["version"]).run().ok();
    let foreign = user.own.join("foreign");
    fs::create_dir(&foreign).must("a directory of root's");
    let root = foreign.to_str().must("a plain path");
    let args = ["--data-root", root, "images"];
    user.fails(&args, &[1], &[root, "belongs to somebody else"]);
    // Ids for users alone are as good as none, which is said.
    user.cover("/etc/subgid", "");
    let done = user.lade(&["images"]).run().ok();
    let said = "WARNING: no ids but the user's own are mapped: /etc/subgid has no ids of this user";
    assert!(done.stderr().contains(said), "{done}");
    // A kernel that gives no user namespace: this limit holds below the namespace where it is set.
    user.ids("root:0:100000\n");
    let program = user.program();
    let id = NOBODYS;
    for (args, code) in [("images", 1), ("run --rm x true", 125), ("version", 0)] {
        let script = format!(
            "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --reuid {id} --regid {id} --clear-groups {program} {args}"
        );
        let done = user
            .env
            .cmd("unshare")
            .args([
                "--user",
                "--map-users",
                "0,0,100000",
                "--map-groups",
                "0,0,100000",
            ])
            .args(["sh", "-c", &script])
            .env("HOME", user.own.join("home"))
            .env("USER", "other")
            .run();
        if code == 0 {
            done.ok();
            continue;
        }
        let parts = ["user namespace", "user.max_user_namespaces"];
        assert_eq!(complaint(&done, &[code], &parts), None, "{done}");
    }
}

#[test]
fn a_mount_in_a_shell_of_his_own_holds_the_image() {
    let Some(user) = User::new("a mount of an ordinary user") else {
        return;
    };
    let registry = Registry::new();
    let name = registry.serve("box:one", &image());
    user.lade(&["pull", "-q", &name]).run().ok();
    let script = format!("{} image mount {name} && exec sleep 1000", user.program());
    let shell = user
        .cmd("unshare")
        .args(["--map-auto", "-rm", "sh", "-c", &script]);
    let mut shell = shell.spawn();
    shell.expect("/images/");
    user.fails(
        &["rmi", &name],
        &[1],
        &["image is mounted on", "another mount namespace"],
    );
    user.fails(
        &["image", "unmount", &name],
        &[1],
        &["another mount namespace"],
    );
    shell.child.kill().must("kill");
    shell.child.wait().must("wait");
    user.leaves_nothing(&[&name]);
}
