//! Headers of a registry's answers, a line each: `WWW-Authenticate`, `Link`, `Content-Range`, `Range`, `Retry-After`.

use std::time::{Duration, SystemTime};

use registry::headers::{self, Challenge};

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.split('\n').take(8) {
        challenges(line);
        link(line);
        ranges(line);
        retry_after(line);
    }
}

/// What is read is the same when it is written as the standard has it.
fn challenges(line: &str) {
    const LONGEST: usize = 16 << 10;
    let read = headers::challenges(line);
    assert!(read.len() <= 16, "{} challenges", read.len());
    let mut long = 0;
    for challenge in &read {
        let names = challenge.parameters.iter().map(|(name, _)| name);
        for name in names.chain([&challenge.scheme]) {
            let plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
            assert!(!name.is_empty() && name.bytes().all(plain), "{name:?}");
        }
        assert!(challenge.parameters.len() <= 32);
        for (name, value) in &challenge.parameters {
            assert!(challenge.get(name).is_some(), "{name}");
            long += value.len();
        }
    }
    // A character that is none is read as one of three bytes.
    assert!(long <= 3 * line.len(), "more than there was");
    let written: Vec<String> = read.iter().map(written).collect();
    let written = written.join(", ");
    if written.len() <= LONGEST {
        assert_eq!(headers::challenges(&written), read, "{written}");
    }
}

fn written(challenge: &Challenge) -> String {
    let parameters = challenge.parameters.iter().map(|(name, value)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        format!("{name}=\"{value}\"")
    });
    let parameters: Vec<String> = parameters.collect();
    format!("{} {}", challenge.scheme, parameters.join(","))
}

fn link(line: &str) {
    let Some(target) = headers::next_link(line) else {
        return;
    };
    assert!(line.contains(&format!("<{target}>")), "{target:?}");
    assert!(!target.contains('>'), "{target:?}");
    let alone = format!("<{target}>; rel=\"next\"");
    // A comma ends a link.
    assert!(!target.contains(','), "{target:?}");
    assert_eq!(headers::next_link(&alone), Some(target));
}

fn ranges(line: &str) {
    if let Some((span, total)) = headers::content_range(line) {
        let total_text = total.map_or("*".to_owned(), |total| total.to_string());
        let text = format!("bytes {}-{}/{total_text}", span.start, span.end - 1);
        assert_eq!(headers::content_range(&text), Some((span, total)), "{text}");
    }
    if let Some(received) = headers::received(line) {
        let last = i64::try_from(received).expect("it was one") - 1;
        assert_eq!(headers::received(&format!("0-{last}")), Some(received));
    }
}

fn retry_after(line: &str) {
    let epoch = SystemTime::UNIX_EPOCH;
    let Some(pause) = headers::retry_after(line, epoch) else {
        return;
    };
    // Later it is not longer.
    let later = headers::retry_after(line, epoch + Duration::from_secs(1 << 30));
    assert!(later.is_some_and(|later| later <= pause), "{later:?}");
    let seconds = pause.as_secs();
    let again = headers::retry_after(&seconds.to_string(), epoch);
    assert_eq!(again, Some(pause));
}
