use super::*;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn read(text: &str) -> Result<Config, DocumentError> {
    Config::parse(
        text.replace("'D'", &format!("'{D}'"))
            .replace('\'', "\"")
            .as_bytes(),
    )
}

#[test]
fn dockers_own() {
    let config = read(
        "{'architecture':'amd64','os':'linux','container':'x','docker_version':'20.10','created':'2026-01-31T23:59:59.5Z',\
        'config':{'Hostname':'','User':'app','ExposedPorts':{'80/tcp':{},'53/udp':null},'Env':['A=1'],'Cmd':['a','b'],\
        'Entrypoint':null,'Volumes':{'/x':{}},'WorkingDir':'/w','Labels':{'k':'v'},'OnBuild':null,'StopSignal':'9','ArgsEscaped':true,\
        'Healthcheck':{'Test':['CMD','x'],'Interval':30000000000,'Retries':3},'Shell':['/bin/sh','-c']},\
        'history':[{'created':'2026-01-31T23:59:59Z','created_by':'x & <y>','empty_layer':true},{}],\
        'rootfs':{'type':'layers','diff_ids':['D']}}",
    )
    .unwrap();
    let process = config.config.clone().unwrap();
    assert_eq!(process.cmd, ["a", "b"]);
    assert!(process.entrypoint.is_empty());
    assert_eq!(Vec::from_iter(&process.exposed_ports), ["53/udp", "80/tcp"]);
    assert_eq!(process.healthcheck.as_ref().unwrap().retries, 3);
    assert_eq!(config.rootfs.diff_ids, [Digest::of(b"")]);
    assert!(config.history[0].empty_layer && !config.history[1].empty_layer);
    assert_eq!(config.platform().to_string(), "linux/amd64");
    assert_eq!(Config::parse(&config.to_bytes()).unwrap(), config);
    let text = String::from_utf8(config.to_bytes()).unwrap();
    let expected = "{'created':'2026-01-31T23:59:59.5Z','architecture':'amd64','os':'linux','config':{'User':'app',\
        'ExposedPorts':{'53/udp':{},'80/tcp':{}},'Env':['A=1'],'Cmd':['a','b'],'Volumes':{'/x':{}},'WorkingDir':'/w',\
        'Labels':{'k':'v'},'StopSignal':'9','ArgsEscaped':true,'Healthcheck':{'Test':['CMD','x'],'Interval':30000000000,'Retries':3},\
        'Shell':['/bin/sh','-c']},'rootfs':{'type':'layers','diff_ids':['DIGEST']},\
        'history':[{'created':'2026-01-31T23:59:59Z','created_by':'x & <y>','empty_layer':true},{}]}";
    assert_eq!(text, expected.replace('\'', "\"").replace("DIGEST", D));
}

#[test]
fn what_go_lets_pass() {
    for text in [
        "{'rootfs':{}}",
        "{'rootfs':{'diff_ids':null},'config':null,'history':null,'architecture':null,'os':null,'created':null}",
        "{'rootfs':{'type':'layers','diff_ids':[]},'created':''}",
        "{'rootfs':{'diff_ids':[]},'config':{'ExposedPorts':null,'Volumes':null,'Labels':null,'Env':null,'Cmd':null}}",
        "{'rootfs':{'diff_ids':[]},'config':{'Healthcheck':null,'User':null}}",
        "{'rootfs':{'diff_ids':[]},'config':{'Cmd':'one','Entrypoint':['two']}}",
        "{'rootfs':{'diff_ids':[]},'created':'0001-01-01T00:00:00Z'}",
        "{'rootfs':{'diff_ids':[]},'moby.buildkit.trace':'x'}",
    ] {
        let config = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(Config::parse(&config.to_bytes()).unwrap(), config);
        assert_eq!(config.platform(), Platform::host(), "{text}");
    }
}

#[test]
fn what_is_refused_and_why() {
    let sha512 = format!("sha512:{}", "0".repeat(128));
    let many = |count: usize| {
        format!(
            "{{'rootfs':{{'diff_ids':[{}]}}}}",
            vec!["'D'"; count].join(",")
        )
    };
    assert!(read(&many(500)).is_ok());
    for (text, why) in [
        ("", "cannot be read"),
        ("{}", "missing field `rootfs`"),
        (
            "[null,null,null,null,null,null,null,null,{},null]",
            "it is a list",
        ),
        ("{'rootfs':null}", "cannot be read"),
        ("{'rootfs':{'type':'x'}}", "rootfs type \"x\""),
        ("{'rootfs':{'diff_ids':['sha256:']}}", "as many digits"),
        ("{'rootfs':{'diff_ids':[]},'rootfs':{}}", "duplicate field"),
        (
            "{'rootfs':{},'created':'yesterday'}",
            "created: time \"yesterday\"",
        ),
        (
            "{'rootfs':{},'history':[{'created':'x'}]}",
            "created: time \"x\"",
        ),
        ("{'rootfs':{},'config':{'Env':'A=1'}}", "cannot be read"),
        ("{'rootfs':{},'config':{'Cmd':[1]}}", "cannot be read"),
        (
            "{'rootfs':{},'config':{'Healthcheck':{'Interval':1e99}}}",
            "cannot be read",
        ),
        (
            &format!("{{'rootfs':{{'diff_ids':['{sha512}']}}}}"),
            "not of sha256",
        ),
        (&many(501), "501 diff ids"),
        (&" ".repeat(Config::MOST_BYTES + 1), "at most 8388608"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains('\n') && error.len() < 500, "{error}");
    }
}

/// Computed with sha256sum: `printf 'sha256:aa.. sha256:bb..' | sha256sum`, and so on.
#[test]
fn chains() {
    let id = |digit: &str| {
        format!("sha256:{}", digit.repeat(64))
            .parse::<Digest>()
            .unwrap()
    };
    let chain = chain_ids(&[id("a"), id("b"), id("c")]);
    let chain: Vec<String> = chain.iter().map(ToString::to_string).collect();
    assert_eq!(
        chain,
        [
            format!("sha256:{}", "a".repeat(64)),
            "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c".to_owned(),
            "sha256:c1377126441fb2f5ec2c21ae2a60255331d639e830f0ee1b40a36e52d4c40588".to_owned(),
        ]
    );
    assert!(chain_ids(&[]).is_empty());
}
