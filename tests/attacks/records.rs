//! Records that somebody else has written: they name hooks, which would run as whoever runs a verb.

use orlop_tests::{Env, Must};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const NOBODY: u32 = 65534;
const ID: &str = "planted";

/// A record of a container that has ended, with a hook that leaves a file.
struct Planted {
    env: Env,
    record: Value,
    ran: PathBuf,
}

impl Planted {
    fn new() -> Self {
        let env = Env::new();
        let mut bundle = env.bundle();
        bundle.args(&["true"]);
        let id = env.create(&bundle);
        let file = env.root.join(&id).join("state.json");
        let text = fs::read_to_string(&file).must("a record");
        env.orlop(&["delete", &id]).run().ok();
        let mut record: Value = serde_json::from_str(&text).must("JSON");
        let ran = env.dir.join("ran");
        record["id"] = json!(ID);
        record["hooks"]["poststop"] = json!([{
            "at": "hooks.poststop[0]", "path": "/bin/touch", "args": ["touch", ran], "env": [], "timeout": null,
        }]);
        Self { env, record, ran }
    }

    /// Puts the record into a state root, with these owners of the container's directory and of the file.
    fn put(&self, root: &Path, dir_owner: u32, file_owner: u32) {
        let dir = root.join(ID);
        fs::create_dir_all(&dir).must("a directory");
        let file = dir.join("state.json");
        fs::write(&file, self.record.to_string()).must("a record");
        std::os::unix::fs::chown(&file, Some(file_owner), None).must("chown");
        std::os::unix::fs::chown(&dir, Some(dir_owner), None).must("chown");
    }

    /// Demands that no verb takes the record for ours, nor runs the hook.
    #[track_caller]
    fn refused(&self, root: &Path, what: &str) {
        let verb = |args: &[&str]| {
            let orlop = self.env.cmd(orlop_tests::orlop());
            orlop.arg("--root").arg(root).args(args).run()
        };
        for args in [
            &["state", ID][..],
            &["start", ID],
            &["kill", ID],
            &["exec", ID, "true"],
            &["delete", ID],
            &["delete", "--force", ID],
        ] {
            let rc = if args[0] == "exec" { 255 } else { 1 };
            let done = verb(args).refused(rc, &[what]);
            assert!(!self.ran.exists(), "the hook has run: {done}");
        }
        let list = verb(&["list", "--quiet"]);
        assert!(!list.stdout().contains(ID), "{list}");
        assert!(list.stderr().contains(what), "{list}");
    }
}

#[test]
fn a_record_by_somebody_else_in_a_root_that_all_may_write_runs_no_hook() {
    let planted = Planted::new();
    let root = planted.env.dir.join("open");
    planted.put(&root, NOBODY, NOBODY);
    fs::set_permissions(&root, Permissions::from_mode(0o1777)).must("its mode");
    planted.refused(&root, "others may write to it");
    let mut bundle = planted.env.bundle();
    bundle.args(&["true"]).write();
    let run = planted.env.cmd(orlop_tests::orlop()).arg("--root");
    let run = run.arg(&root).args(["run", "--bundle"]).arg(&bundle.dir);
    run.arg("own")
        .run()
        .refused(1, &["state root", "others may write to it", "--root"]);
}

#[test]
fn a_record_by_somebody_else_in_our_root_runs_no_hook() {
    let planted = Planted::new();
    let root = planted.env.dir.join("ours");
    for (dir, file) in [(NOBODY, NOBODY), (NOBODY, 0), (0, NOBODY)] {
        planted.put(&root, dir, file);
        planted.refused(&root, &format!("belongs to user {NOBODY}"));
    }
    planted.put(&root, 0, 0);
    fs::set_permissions(root.join(ID), Permissions::from_mode(0o777)).must("its mode");
    planted.refused(&root, "others may write to it");
}

#[test]
fn a_link_to_a_record_runs_no_hook() {
    let planted = Planted::new();
    let (root, other) = (planted.env.dir.join("ours"), planted.env.dir.join("other"));
    planted.put(&other, 0, 0);
    fs::create_dir(&root).must("a directory");
    std::os::unix::fs::symlink(other.join(ID), root.join(ID)).must("a link");
    planted.refused(&root, ID);
}
