//! What hack/install puts in place.

use orlop_tests::{Must, skip};
use std::path::Path;
use std::process::Command;

/// Completes a line by the installed script, as bash does on a tab.
fn completed(prefix: &Path, line: &[&str]) -> Vec<String> {
    let words = line
        .iter()
        .map(|word| format!("'{word}'"))
        .collect::<Vec<_>>()
        .join(" ");
    let script = format!(
        "PATH={0}/bin:$PATH; . {0}/share/bash-completion/completions/orlop; \
         COMP_WORDS=({words}) COMP_CWORD={1}; _orlop 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        prefix.display(),
        line.len() - 1
    );
    let output = Command::new("bash")
        .args(["-c", &script])
        .output()
        .must("bash");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().map(String::from).collect()
}

#[test]
fn a_prefix_gets_binary_link_completions_and_manual() {
    // The installer takes what was built; a foreign binary is not its business.
    if std::env::var_os("ORLOP").is_some() {
        skip("install", "ORLOP names another binary");
        return;
    }
    let prefix = std::env::temp_dir().join(format!("orlop-install-{}", std::process::id()));
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .must("the checkout");
    let mut install = Command::new(checkout.join("hack/install"));
    let status = install
        .arg(&prefix)
        .arg("--as-runc")
        .status()
        .must("hack/install");
    assert!(status.success());
    let version = Command::new(prefix.join("bin/runc"))
        .arg("--version")
        .output()
        .must("runc");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let commands = completed(&prefix, &["orlop", "st"]);
    let options = completed(&prefix, &["runc", "create", "--pid"]);
    for (line, wanted) in [
        (&["orlop", "mounts", ""][..], "add remove"),
        (&["orlop", "--log-format", ""], "text json"),
        (&["orlop", "--rootless", ""], "true false auto"),
        (&["orlop", "--rootless", "true", "lis"], "list"),
        (&["orlop", "kill", "x", "KI"], "KILL"),
        (&["orlop", "kill", "--regex", "x", "SIGKI"], "SIGKILL"),
        (&["orlop", "list", "--format", ""], "table json"),
        (&["orlop", "--he"], "--help"),
        (&["orlop", "kill", "--"], "--all --regex --help"),
        (&["orlop", "run", "--bundle", "/etc", "--keep"], "--keep"),
    ] {
        assert_eq!(completed(&prefix, line).join(" "), wanted, "{line:?}");
    }
    let page = std::fs::read_to_string(prefix.join("share/man/man8/orlop.8")).must("the manual");
    std::fs::remove_dir_all(&prefix).must("clean up");
    for wanted in [
        ".TH ORLOP 8",
        ".SS mounts\n",
        ".B \\-\\-systemd\\-cgroup\nMake cgroups",
        ".B \\-\\-memory\\-swap <SIZE>\nMost memory",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(!page.contains('@'), "{page}");
    assert!(version.starts_with("runc version "), "{version}");
    assert_eq!(commands, ["start", "state"]);
    assert_eq!(options, ["--pidfd-socket", "--pid-file"]);
}
