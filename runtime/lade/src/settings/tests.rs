use super::*;
use crate::failure::Problem;

/// Directory of a test's own, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lade-settings-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn resolve(options: &Options, variables: &[(&str, &str)], root: bool) -> Result<Settings, Failure> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let around = Surroundings {
        variable: &variable,
        root,
    };
    Settings::resolve(options, &around)
}

fn config(path: PathBuf) -> Options {
    Options {
        config: Some(path),
        ..Options::default()
    }
}

#[test]
fn an_option_counts_more_than_the_environment_and_that_more_than_the_file() {
    let scratch = Scratch::new("order");
    let file = scratch.write(
        "config.json",
        r#"{"data-root": "/file", "run-root": "/file/run", "runtime": "runc", "debug": true, "log-format": "json",
            "insecure-registries": ["a:1", "b"], "connections": 3, "piece": 1000000, "retries": 1, "https-proxy": "http://file"}"#,
    );
    let variables = [
        ("LADE_DATA_ROOT", "/variable"),
        ("LADE_RUN_ROOT", "/variable/run"),
        ("LADE_CONNECTIONS", "4"),
        ("LADE_INSECURE_REGISTRIES", "c, d:5000"),
        ("HTTPS_PROXY", "http://all"),
        ("http_proxy", "http://plain"),
        ("HTTP_PROXY", "http://capitals"),
    ];
    let mut options = config(file);
    let settings = resolve(&options, &[], true).unwrap();
    assert_eq!(settings.data_root, Path::new("/file"));
    assert_eq!(settings.runtime, Path::new("runc"));
    assert!(settings.debug);
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.network.insecure, ["a:1", "b"]);
    assert_eq!((settings.connections, settings.piece), (3, 1_000_000));
    assert_eq!(settings.network.patience.unwrap().retries, 1);

    let settings = resolve(&options, &variables, true).unwrap();
    assert_eq!(settings.data_root, Path::new("/variable"));
    assert_eq!(settings.connections, 4);
    assert_eq!(settings.network.insecure, ["c", "d:5000"]);
    let proxies = settings.network.proxies;
    assert_eq!(proxies.https.as_deref(), Some("http://file"));
    assert_eq!(proxies.http.as_deref(), Some("http://plain"));

    options.data_root = Some("/option".into());
    let settings = resolve(&options, &variables, true).unwrap();
    assert_eq!(settings.data_root, Path::new("/option"));
    assert_eq!(settings.run_root, Path::new("/variable/run"));
}

#[test]
fn a_proxy_in_capitals_counts_unless_a_web_server_may_have_set_it() {
    let http = |variables: &[(&str, &str)]| {
        let settings = resolve(&Options::default(), variables, true).unwrap();
        settings.network.proxies.http
    };
    let capitals = ("HTTP_PROXY", "http://capitals");
    assert_eq!(http(&[capitals]).as_deref(), Some("http://capitals"));
    assert_eq!(http(&[capitals, ("REQUEST_METHOD", "GET")]), None);
}

#[test]
fn an_ordinary_user_has_places_of_its_own() {
    let scratch = Scratch::new("user");
    let home = scratch.0.to_str().unwrap();
    let variables = [("HOME", home), ("XDG_RUNTIME_DIR", "/run/user/7")];
    let settings = resolve(&Options::default(), &variables, false).unwrap();
    assert_eq!(settings.data_root, scratch.0.join(".local/share/lade"));
    assert_eq!(settings.run_root, Path::new("/run/user/7/lade"));
    let want = [
        PathBuf::from("/run/user/7/containers/auth.json"),
        scratch.0.join(".config/containers/auth.json"),
        scratch.0.join(".docker/config.json"),
    ];
    assert_eq!(settings.network.credentials, want);

    scratch.write(".config/lade/config.json", r#"{"data-root": "/elsewhere"}"#);
    let settings = resolve(&Options::default(), &variables, false).unwrap();
    assert_eq!(settings.data_root, Path::new("/elsewhere"));

    let failure = resolve(&Options::default(), &[], false).unwrap_err();
    assert!(failure.problems[0].message.contains("HOME"));
    let settings = resolve(&config(scratch.write("c", "{}")), &variables, true).unwrap();
    assert_eq!(settings.data_root, Path::new("/var/lib/lade"));
    assert_eq!(settings.run_root, Path::new("/run/lade"));
}

#[test]
fn a_login_file_that_is_named_is_the_only_one() {
    let variables = [
        ("HOME", "/h"),
        ("REGISTRY_AUTH_FILE", "/a"),
        ("LADE_DATA_ROOT", "/d"),
    ];
    let settings = resolve(&Options::default(), &variables, false).unwrap();
    assert_eq!(settings.network.credentials, [PathBuf::from("/a")]);
}

#[test]
fn what_is_wrong_is_named() {
    let scratch = Scratch::new("wrong");
    let check = |text: &str, variables: &[(&str, &str)], want: &str, hint: Option<&str>| {
        let path = scratch.write("config.json", text);
        let failure = resolve(&config(path.clone()), variables, true).unwrap_err();
        let message = want.replace("FILE", path.to_str().unwrap());
        let problem = Problem {
            message,
            hint: hint.map(str::to_owned),
        };
        assert_eq!(failure.problems, [problem]);
    };
    check(
        r#"{"data_root": "/x"}"#,
        &[],
        "FILE: unknown key \"data_root\"",
        Some("did you mean \"data-root\"?"),
    );
    check(
        r#"{"runtime": {}}"#,
        &[],
        "FILE: runtime: {} is not a text, a number or a list of texts",
        None,
    );
    check("[]", &[], "FILE: not a JSON object", None);
    check(
        r#"{"debug": "maybe"}"#,
        &[],
        "FILE: debug: \"maybe\" is neither true nor false",
        None,
    );
    check(
        "{}",
        &[("LADE_LOG_FORMAT", "xml")],
        "LADE_LOG_FORMAT: \"xml\" is not known; use text or json",
        None,
    );
    check(
        "{}",
        &[("LADE_RETRIES", "-1")],
        "LADE_RETRIES: \"-1\" is not a whole number",
        None,
    );
    let failure = resolve(&config("/nonexistent/x".into()), &[], true).unwrap_err();
    assert_eq!(
        failure.problems[0].message,
        "/nonexistent/x: there is no such file"
    );
}

#[test]
fn of_two_files_with_registries_the_one_that_is_there_is_named() {
    let scratch = Scratch::new("registries");
    let file = scratch.write(".config/lade/registries.toml", "");
    let home = scratch.0.display().to_string();
    let named = |root| {
        let settings = resolve(&Options::default(), &[("HOME", &home)], root);
        settings.unwrap().registries_file().to_owned()
    };
    assert_eq!(named(false), file);
    assert_eq!(named(true), Path::new("/etc/lade/registries.toml"));
}
