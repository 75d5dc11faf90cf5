//! What criu is told: each option as the field of a request that criu's `rpc.proto` has for it. A program that only writes the request down
//! stands in for criu, since few of these options show on a machine, and some only where a criu fails without them.

use crate::counter;
use orlop_tests::{Cmd, Env, Must, hierarchies};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

/// A value in protocol buffers' encoding.
#[derive(Debug, PartialEq)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().must("a byte");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Value)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let number = varint(&mut bytes);
        let value = if key & 7 == 0 {
            Value::Number(number)
        } else {
            let length = usize::try_from(number).must("a length");
            let (value, rest) = bytes.split_at(length);
            bytes = rest;
            Value::Bytes(value.to_owned())
        };
        found.push((key >> 3, value));
    }
    found
}

/// A place with such a program, in which a container has been saved and is gone.
struct Told {
    env: Env,
    id: String,
    bundle: orlop_tests::Bundle,
    /// The host is compared, and a real criu of another test would show there.
    _alone: File,
}

impl Told {
    fn new() -> Self {
        let alone = hierarchies();
        let env = Env::new();
        let (dir, request) = (env.dir.join("bin"), env.dir.join("request"));
        fs::create_dir(&dir).must("a directory");
        fs::create_dir(env.dir.join("images")).must("a directory");
        // A question of two bytes is the one for criu's version, and the answer is 4.0; anything else is written down.
        let script = format!(
            "#!/bin/sh\ndd bs=65536 count=1 of={0}.$$ <&3 2>/dev/null\nif [ $(wc -c < {0}.$$) -lt 8 ]\nthen printf \
             '\\010\\012\\020\\001\\122\\004\\010\\004\\020\\000' >&3\nelse mv {0}.$$ {0}\nfi\n",
            request.display()
        );
        fs::write(dir.join("criu"), script).must("the program");
        fs::set_permissions(dir.join("criu"), fs::Permissions::from_mode(0o755)).must("its mode");
        let bundle = counter(&env);
        let id = env.start(&bundle);
        Self {
            env,
            id,
            bundle,
            _alone: alone,
        }
    }

    /// Returns the options of the request that a command sends before it hears no answer.
    #[track_caller]
    fn request(&self, verb: &[&str], options: &[&str]) -> Vec<(u64, Value)> {
        let path = format!("{}/bin:/usr/bin:/bin", self.env.dir.display());
        let command: Cmd = self.env.orlop(verb).env("PATH", path).args(options);
        let done = command.arg(&self.id).run();
        done.refused(1, &["criu: no answer"]);
        let request = fs::read(self.env.dir.join("request")).must("a request");
        fs::remove_file(self.env.dir.join("request")).must("the request");
        let found = fields(&request).into_iter().find_map(|(field, value)| {
            let Value::Bytes(bytes) = value else {
                return None;
            };
            (field == 2).then(|| fields(&bytes))
        });
        found.must("options")
    }
}

/// The options that checkpoint and restore have in common: as written, the field, its value.
const BOTH: [(&[&str], u64, Value); 13] = [
    (&["--ext-unix-sk"], 4, Value::Number(1)),
    (&["--tcp-established"], 5, Value::Number(1)),
    (&["--shell-job"], 7, Value::Number(1)),
    (&["--file-locks"], 8, Value::Number(1)),
    (&["--auto-dedup"], 16, Value::Number(1)),
    (&["--tcp-close"], 52, Value::Number(1)),
    (&["--manage-cgroups-mode", "ignore"], 34, Value::Number(0)),
    (&["--manage-cgroups-mode=full"], 34, Value::Number(4)),
    (&["--manage-cgroups-mode", "strict"], 34, Value::Number(5)),
    (&["--empty-ns", "network"], 38, Value::Number(0x4000_0000)),
    (&["--network-lock", "iptables"], 64, Value::Number(1)),
    (&["--network-lock", "nftables"], 64, Value::Number(2)),
    (&["--network-lock", "skip"], 64, Value::Number(3)),
];

#[track_caller]
fn check(told: &Told, verb: &[&str], rows: &[(&[&str], u64, Value)]) {
    let without = told.request(verb, &[]);
    for (options, field, value) in rows {
        let with = told.request(verb, options);
        let wanted = with.iter().find(|(number, _)| number == field);
        assert_eq!(wanted.map(|(_, value)| value), Some(value), "{options:?}");
        let other = without.iter().find(|(number, _)| number == field);
        assert_ne!(other.map(|(_, value)| value), Some(value), "{options:?}");
    }
}

#[test]
fn options_of_a_checkpoint() {
    let told = Told::new();
    let images = told.env.dir.join("images").display().to_string();
    let verb = ["checkpoint", "--image-path", &images];
    check(&told, &verb, &BOTH);
    let work = told.env.dir.join("work").display().to_string();
    // An address as its first field, and a port.
    let server = b"\x0a\x09127.0.0.1\x10\xad\x39".to_vec();
    check(
        &told,
        &verb,
        &[
            (&["--leave-running"], 3, Value::Number(1)),
            (
                &["--page-server", "127.0.0.1:7341"],
                11,
                Value::Bytes(server),
            ),
            (&["--work-path", &work], 17, Value::Number(5)),
            (&["--link-remap"], 18, Value::Number(1)),
            (&["--tcp-skip-in-flight"], 46, Value::Number(1)),
        ],
    );
    assert_eq!(
        told.env.state(&told.id)["status"],
        "running",
        "nothing has happened to it"
    );
}

#[test]
fn options_of_a_restore() {
    let told = Told::new();
    let images = told.env.dir.join("images").display().to_string();
    // It writes down which streams the container has, before criu is asked.
    told.request(&["checkpoint", "--image-path", &images], &[]);
    told.env.orlop(&["delete", "--force", &told.id]).run().ok();
    let dir = told.bundle.dir.display().to_string();
    let verb = [
        "restore",
        "--detach",
        "--bundle",
        &dir,
        "--image-path",
        &images,
    ];
    let world = told.env.world();
    check(&told, &verb, &BOTH);
    let work = told.env.dir.join("work").display().to_string();
    let text = |text: &str| Value::Bytes(text.as_bytes().to_owned());
    check(
        &told,
        &verb,
        &[
            (&["--work-path", &work], 17, Value::Number(5)),
            (&["--lsm-profile", "apparmor:one"], 53, text("apparmor:one")),
            (&["--lsm-mount-context", "u:r:t:s0"], 63, text("u:r:t:s0")),
            // Accepted, since the default is what they ask for: the fields are those of any request.
            (
                &["--no-subreaper", "--lsm-profile=apparmor:two"],
                53,
                text("apparmor:two"),
            ),
            (
                &["--no-pivot", "--lsm-profile=apparmor:two"],
                53,
                text("apparmor:two"),
            ),
        ],
    );
    told.env
        .as_before(&world, "restores that criu did not answer");
}
