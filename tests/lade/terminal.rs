//! A Debian-like image at a terminal, as people use it: bash in tmux, with job control, resized, and its exit code.

use orlop_tests::registry::{Fault, Image, Registry, Rule, What};
use orlop_tests::{Lade, Must, Pty, soon};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Makes an image of what this Debian has: bash and some programs, with their libraries and the loader.
fn bash_image(lade: &Lade) -> &'static str {
    let tree = lade.env.dir.join("tree");
    for dir in [
        "usr/bin",
        "usr/lib",
        "usr/lib64",
        "etc",
        "root",
        "tmp",
        "proc",
        "sys",
        "dev",
    ] {
        fs::create_dir_all(tree.join(dir)).must(dir);
    }
    for dir in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{dir}"), tree.join(dir)).must(dir);
    }
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    for program in ["bash", "cat", "sleep", "stty", "tty"] {
        let program = Path::new("/usr/bin").join(program);
        let done = lade.other("ldd").arg(&program).run().ok();
        let said = done.stdout();
        let libraries = said.split_whitespace().filter(|word| word.starts_with('/'));
        files.extend(libraries.map(PathBuf::from));
        files.insert(program);
    }
    for file in files {
        let inside = file.strip_prefix("/").must("a path from /");
        let target = tree.join(inside);
        fs::create_dir_all(target.parent().must("a parent")).must(target.display());
        orlop_tests::copy_program(&file, &target);
    }
    lade.other("cp")
        .args(["-a", "/lib/terminfo"])
        .arg(tree.join("usr/lib"))
        .run()
        .ok();
    fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/bash\n").must("passwd");
    // It says when it can be stopped, and when it goes on.
    let job = "trap 'echo continued' CONT\necho begun\nwhile :; do sleep 0.1; done\n";
    fs::write(tree.join("job"), job).must("job");
    let tar = lade.env.dir.join("tree.tar");
    lade.other("tar")
        .arg("-cf")
        .arg(&tar)
        .arg("-C")
        .arg(&tree)
        .arg(".")
        .run()
        .ok();
    let tar = tar.display().to_string();
    lade.ok(&[
        "import",
        "--change",
        "CMD [\"bash\", \"--norc\"]",
        "--change",
        "ENV PS1='inside> '",
        &tar,
        "bash:one",
    ]);
    "bash:one"
}

/// A server of tmux of the test's own, with one window; it ends with the test.
struct Tmux<'a>(&'a Lade);

impl<'a> Tmux<'a> {
    fn start(lade: &'a Lade) -> Self {
        let tmux = Self(lade);
        let config = lade.env.dir.join("tmux.conf");
        fs::write(&config, "set -g status off\n").must("tmux.conf");
        let config = config.display().to_string();
        let shell = "exec env PS1='outside> ' bash --norc --noprofile";
        tmux.tell(&[
            "-f",
            &config,
            "new-session",
            "-d",
            "-x",
            "90",
            "-y",
            "30",
            shell,
        ]);
        tmux.shows("outside>");
        tmux
    }

    fn tell(&self, args: &[&str]) -> String {
        let tmux = self.0.other("tmux").env("TMUX_TMPDIR", &self.0.env.dir);
        tmux.args(["-L", "own"]).args(args).run().ok().stdout()
    }

    /// Types a line.
    fn line(&self, text: &str) {
        self.tell(&["send-keys", "-l", text]);
        self.key("Enter");
    }

    fn key(&self, key: &str) {
        self.tell(&["send-keys", key]);
    }

    /// Waits until a line of the screen is this.
    fn shows(&self, text: &str) {
        let mut screen = String::new();
        let seen = soon(Duration::from_secs(30), || {
            screen = self.tell(&["capture-pane", "-p"]);
            screen
                .lines()
                .any(|line| line.trim_end() == text)
                .then_some(())
        });
        assert!(seen.is_some(), "{text:?} is not on the screen:\n{screen}");
    }

    /// Empties the screen, so that what it shows next is new.
    fn clear(&self) {
        self.tell(&["send-keys", "-R"]);
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let tmux = self.0.other("tmux").env("TMUX_TMPDIR", &self.0.env.dir);
        tmux.args(["-L", "own", "kill-server"]).run();
    }
}

#[test]
fn bash_under_tmux_has_job_control() {
    let lade = Lade::new();
    let image = bash_image(&lade);
    let tmux = Tmux::start(&lade);
    let run = format!(
        "{} --data-root {} --run-root {} run --rm -it --network none {image}; echo code=$?",
        orlop_tests::lade().display(),
        lade.data.display(),
        lade.run.display()
    );
    // The command's own line is longer than the screen is wide, and is none that is waited for.
    tmux.line(&run);
    tmux.shows("inside>");
    tmux.line("tty; stty size; echo user=$(id -u 2>/dev/null || echo $UID)");
    tmux.shows("/dev/pts/0");
    tmux.shows("30 90");
    tmux.shows("user=0");

    tmux.line("bash job");
    tmux.shows("begun");
    tmux.key("C-z");
    tmux.shows("[1]+  Stopped                 bash job");
    tmux.clear();
    tmux.line("jobs; fg");
    tmux.shows("[1]+  Stopped                 bash job");
    tmux.shows("continued");
    tmux.clear();
    tmux.key("C-z");
    tmux.shows("[1]+  Stopped                 bash job");
    tmux.line("bg");
    tmux.shows("[1]+ bash job &");
    tmux.line("kill %1; wait %1; echo ended=$?");
    tmux.shows("ended=143");
    tmux.clear();
    tmux.line("bash job");
    tmux.shows("begun");
    tmux.key("C-c");
    tmux.line("echo interrupted=$?");
    tmux.shows("interrupted=130");

    tmux.tell(&["resize-window", "-x", "100", "-y", "40"]);
    tmux.clear();
    tmux.line("stty size");
    tmux.shows("40 100");
    // Not before it reads: what is typed earlier is the shell's.
    tmux.line("echo reading; cat");
    tmux.shows("reading");
    tmux.line("there and back");
    tmux.shows("there and back");
    tmux.key("C-d");
    tmux.line("echo read=$?");
    tmux.shows("read=0");
    tmux.clear();
    // The shell edits its lines: the last one again.
    tmux.key("Up");
    tmux.key("Enter");
    tmux.shows("read=0");
    tmux.line("exit 7");
    tmux.shows("code=7");
    // The terminal is as it was.
    tmux.line("stty -a | grep -o ' icanon\\| echo '");
    tmux.shows(" icanon");
    tmux.shows(" echo");
    lade.whole();
}

#[test]
fn a_terminal_shows_how_far_each_layer_is_and_how_fast() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 2, 400_000);
    let name = registry.serve("thing:one", &image);
    let slow = Fault::Trickle(20_000, Duration::from_millis(100));
    registry.fault(Rule::always(What::Blob, slow));
    let mut terminal = Pty::open();
    let running = lade.cmd(&["pull", &name]).on(&terminal).spawn();
    terminal.expect("one: Pulling from thing");
    terminal.expect(": Downloading [=");
    // How much of how much, how fast, how long it still takes.
    let line = terminal.expect("kB/s  ");
    assert!(
        line.contains("/400kB") || line.contains("/401kB"),
        "{line:?}"
    );
    terminal.expect(": Pull complete");
    terminal.expect("Status: Downloaded newer image");
    running.wait().ok();
}

#[test]
fn of_a_push_a_terminal_shows_the_layers_alone() {
    let (lade, registry, to) = (Lade::new(), Registry::new(), Registry::new());
    let image = Image::noise(1, 1, 100_000);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    let target = to.name("thing:one");
    lade.ok(&["tag", &name, &target]);
    let mut terminal = Pty::open();
    let running = lade.cmd(&["push", &target]).on(&terminal).spawn();
    let said = terminal.expect("one: digest: ");
    running.wait().ok();
    let layer = &image.layers[0].diff_id()[7..19];
    assert!(said.contains(&format!("{layer}: Pushed")), "{said:?}");
    assert!(
        !said.contains(&format!("{}: ", &image.id()[7..19])),
        "{said:?}"
    );
}

#[test]
fn nobody_types_an_archive() {
    let lade = Lade::new();
    for args in [&["load"] as &[&str], &["import", "-"]] {
        let mut terminal = Pty::open();
        let running = lade.cmd(args).on(&terminal).spawn();
        terminal.expect("an archive does not come from a terminal");
        running.wait().exits(1);
    }
    assert!(!lade.data.exists());
}

#[test]
fn a_terminal_of_no_size_has_a_line_for_each_layer() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &Image::noise(1, 3, 100_000));
    let mut terminal = Pty::open();
    orlop_tests::sys::set_window(&terminal.master, (0, 0)).must("a size");
    let running = lade.cmd(&["pull", &name]).on(&terminal).spawn();
    let said = terminal.expect("Status: Downloaded newer image");
    running.wait().ok();
    let done = said
        .lines()
        .filter(|line| line.trim_end().ends_with(": Pull complete"));
    assert_eq!(done.count(), 3, "{said:?}");
    assert!(said.lines().all(|line| line.len() < 80), "{said:?}");
}
