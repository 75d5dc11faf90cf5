//! Overwriting the runtime's own executable from inside (CVE-2019-5736).

use orlop_tests::{Bundle, Cmd, Env, Must, copy_program, hidden, orlop};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A copy of the runtime that may be lost.
struct Copy {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Copy {
    fn new(env: &Env) -> Self {
        let path = env.dir.join("runtime-copy");
        copy_program(&orlop(), &path);
        let bytes = fs::read(&path).must("the copy");
        Self { path, bytes }
    }

    fn cmd(&self, env: &Env, args: &[&str]) -> Cmd {
        env.cmd(&self.path).arg("--root").arg(&env.root).args(args)
    }

    #[track_caller]
    fn untouched(&self, context: &str) {
        assert!(
            fs::read(&self.path).must("the copy") == self.bytes,
            "{context}: the runtime is overwritten"
        );
        let mode = fs::metadata(&self.path)
            .must("the copy")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o755, "{context}");
    }
}

/// Holds every executable that is not the image's own, and writes to it when its process has gone. The mode of a sealed copy in memory is
/// nobody else's, and no seal keeps it.
const OVERWRITE: &str = "echo armed; while :; do for p in /proc/[0-9]*; do \
    case $(readlink $p/exe) in *busybox*|'') ;; *) if command exec 9< $p/exe; then sleep 0.02; case $(readlink /proc/self/fd/9) in *busybox*) exec 9<&-; continue;; esac; echo seen; \
    (echo pwned > /proc/self/fd/9) 2>/dev/null && echo OVERWRITTEN; \
    case $(readlink /proc/self/fd/9) in */memfd:*) ;; *) (chmod 777 /proc/self/fd/9) 2>/dev/null && echo CHANGED;; esac; exec 9<&-; fi;; \
    esac; done 2>/dev/null; done";

fn powerful(env: &Env) -> Bundle {
    let mut bundle = env.bundle();
    bundle
        .set("/root/readonly", json!(false))
        .set("/process/noNewPrivileges", json!(false));
    bundle.capabilities(&[
        "CAP_SYS_PTRACE",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_CHOWN",
        "CAP_FOWNER",
        "CAP_SYS_ADMIN",
        "CAP_KILL",
    ]);
    let script = bundle.rootfs().join("bin/script");
    fs::write(&script, "#!/proc/self/exe\n").must("a script");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).must("a script");
    symlink("/proc/self/exe", bundle.rootfs().join("bin/link")).must("a link");
    bundle
}

/// The programs that are the runtime itself once they run inside.
const SELF: [&str; 4] = ["/proc/self/exe", "/bin/link", "/bin/script", "/proc/1/exe"];

#[test]
fn cve_2019_5736_as_entry_point() {
    let env = Env::new();
    let copy = Copy::new(&env);
    // The attacker sits in a second container of the same pid namespace.
    let mut attacker = powerful(&env);
    attacker.sh(OVERWRITE);
    attacker.write();
    let id = env.id();
    let running = copy
        .cmd(&env, &["run", "--bundle"])
        .arg(&attacker.dir)
        .arg(&id)
        .spawn();
    running.expect("armed");
    let mut victim = powerful(&env);
    victim.namespace("pid", Some(&format!("/proc/{}/ns/pid", env.pid(&id))));
    for program in SELF.iter().cycle().take(24) {
        victim.args(&[program, "features"]).write();
        copy.cmd(&env, &["run", "--bundle"])
            .arg(&victim.dir)
            .arg(env.id())
            .run();
        copy.untouched(program);
    }
    finish(&env, running, &copy, &id);
}

#[test]
fn cve_2019_5736_by_exec() {
    let env = Env::new();
    let copy = Copy::new(&env);
    let mut bundle = powerful(&env);
    bundle.sh(OVERWRITE);
    bundle.write();
    let id = env.id();
    let running = copy
        .cmd(&env, &["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .spawn();
    running.expect("armed");
    for program in SELF.iter().cycle().take(40) {
        copy.cmd(&env, &["exec", &id, program, "features"]).run();
        copy.untouched(program);
    }
    finish(&env, running, &copy, &id);
}

/// A procfs shows the pid namespace of the process that makes it, so that one has to be visible in the container for a moment.
#[test]
fn cve_2019_5736_by_a_mount() {
    if hidden("mounts add", "open_tree") {
        return;
    }
    let env = Env::new();
    let copy = Copy::new(&env);
    let mut bundle = powerful(&env);
    bundle.sh(OVERWRITE);
    bundle.write();
    let id = env.id();
    let running = copy
        .cmd(&env, &["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .spawn();
    running.expect("armed");
    let file = env.dir.join("mounts.json");
    let mounts = json!([{"destination": "/procfs", "type": "proc", "source": "proc"}]);
    fs::write(&file, mounts.to_string()).must("a file");
    for verb in ["add", "remove"].iter().cycle().take(40) {
        copy.cmd(&env, &["mounts", verb, &id]).arg(&file).run().ok();
        copy.untouched(verb);
    }
    finish(&env, running, &copy, &id);
}

fn finish(env: &Env, running: orlop_tests::Running, copy: &Copy, id: &str) {
    env.orlop(&["delete", "--force", id]).run().ok();
    let done = running.wait();
    let text = done.stdout();
    assert!(
        !text.contains("OVERWRITTEN") && !text.contains("CHANGED"),
        "an executable of the host's was writable\n{done}"
    );
    copy.untouched("at the end");
}

#[test]
fn the_runtime_stays_as_it_is_for_its_other_users() {
    let env = Env::new();
    let copy = Copy::new(&env);
    let mut bundle = env.bundle();
    bundle.args(&["true"]).write();
    copy.cmd(&env, &["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .run()
        .ok();
    copy.untouched("after a run");
    fs::File::options()
        .append(true)
        .open(&copy.path)
        .must("nothing holds the executable afterwards");
    let table = fs::read_to_string("/proc/thread-self/mountinfo").must("mountinfo");
    assert!(
        !table.contains(&Path::new(&copy.path).display().to_string()),
        "a mount of the sealed executable is left:\n{table}"
    );
}
