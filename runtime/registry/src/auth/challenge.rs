//! `WWW-Authenticate`: what a server wants to see before it answers (RFC 9110, section 11.6.1). Its text is a stranger's.

/// More than any server sends; the rest is not looked at.
const MOST_BYTES: usize = 16 << 10;
const MOST_CHALLENGES: usize = 16;
const MOST_PARAMETERS: usize = 32;

/// One challenge of a header: a scheme and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// In small letters: `bearer`, `basic`.
    pub scheme: String,
    /// Names in small letters, values without their quotes, in the order of the header.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Returns the first value of a parameter; `name` is in small letters.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.parameters.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Parses one header, which may hold several challenges. Never fails: what cannot be read ends the list.
pub fn challenges(header: &str) -> Vec<Challenge> {
    let mut text = Text(
        header
            .as_bytes()
            .get(..MOST_BYTES)
            .unwrap_or(header.as_bytes()),
    );
    let mut all = Vec::new();
    loop {
        text.skip(|byte| byte == b',' || blank(byte));
        if all.len() == MOST_CHALLENGES {
            return all;
        }
        let Some(scheme) = text.token() else {
            return all;
        };
        let mut challenge = Challenge {
            scheme: scheme.to_ascii_lowercase(),
            parameters: Vec::new(),
        };
        text.skip(blank);
        let whole = text.parameters(&mut challenge.parameters);
        all.push(challenge);
        if !whole {
            return all;
        }
    }
}

fn blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn in_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What is not yet read.
#[derive(Clone, Copy)]
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    fn skip(&mut self, what: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !what(*byte));
        let (skipped, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        skipped
    }

    fn token(&mut self) -> Option<&'a str> {
        let token = self.skip(in_token);
        std::str::from_utf8(token)
            .ok()
            .filter(|token| !token.is_empty())
    }

    /// Passes over the one value without a name that some schemes have instead of parameters.
    fn token68(&mut self) {
        let mut rest = *self;
        let taken = rest.skip(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
        rest.skip(|byte| byte == b'=');
        rest.skip(blank);
        if !taken.is_empty() && matches!(rest.0.first(), None | Some(b',')) {
            *self = rest;
        }
    }

    /// Reads `name=value, ..` up to the next challenge; false when the rest makes no sense.
    fn parameters(&mut self, into: &mut Vec<(String, String)>) -> bool {
        self.token68();
        loop {
            self.skip(|byte| byte == b',' || blank(byte));
            if self.0.is_empty() {
                return true;
            }
            let before = *self;
            let Some(name) = self.token() else {
                return false;
            };
            self.skip(blank);
            let Some(behind) = self.0.strip_prefix(b"=") else {
                *self = before;
                return true;
            };
            self.0 = behind;
            self.skip(blank);
            let Some(value) = self.value() else {
                return false;
            };
            if into.len() == MOST_PARAMETERS {
                return false;
            }
            into.push((name.to_ascii_lowercase(), value));
        }
    }

    /// Reads a value, quoted or not; nothing where a quote does not end.
    fn value(&mut self) -> Option<String> {
        if self.0.first() != Some(&b'"') {
            // More than a token may have: realms without quotes are seen.
            let value = self.skip(|byte| byte != b',' && !blank(byte) && byte != b'"');
            return Some(String::from_utf8_lossy(value).into_owned());
        }
        let mut value = Vec::new();
        let mut bytes = self.0[1..].iter();
        loop {
            match bytes.next() {
                None => return None,
                Some(b'"') => break,
                Some(b'\\') => value.push(*bytes.next()?),
                Some(byte) => value.push(*byte),
            }
        }
        self.0 = bytes.as_slice();
        Some(String::from_utf8_lossy(&value).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, want: &str) {
        let shown: Vec<String> = challenges(header)
            .iter()
            .map(|challenge| {
                let parameters: Vec<String> = challenge
                    .parameters
                    .iter()
                    .map(|(name, value)| format!("{name}=<{value}>"))
                    .collect();
                format!("{}({})", challenge.scheme, parameters.join(" "))
            })
            .collect();
        assert_eq!(shown.join(" "), want, "{header}");
    }

    #[test]
    fn headers_of_real_and_of_hostile_servers() {
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="invalid_token""#,
            "bearer(realm=<https://auth.docker.io/token> service=<registry.docker.io> scope=<repository:a/b:pull,push> error=<invalid_token>)",
        );
        check(
            r#"Basic realm="a \"b\" \\ c""#,
            r#"basic(realm=<a "b" \ c>)"#,
        );
        check(
            r#"Basic realm="x", Bearer realm="y", service=z"#,
            "basic(realm=<x>) bearer(realm=<y> service=<z>)",
        );
        check(
            r#"Negotiate, Basic realm="x""#,
            "negotiate() basic(realm=<x>)",
        );
        check(
            r#"Negotiate YII/+abc==, Basic realm="x""#,
            "negotiate() basic(realm=<x>)",
        );
        check(
            "BEARER Realm = \"x\" ,\t Service = y ",
            "bearer(realm=<x> service=<y>)",
        );
        check(
            ",, Bearer realm=http://h/t?a=b,,scope=\"\"",
            "bearer(realm=<http://h/t?a=b> scope=<>)",
        );
        check("Basic", "basic()");
        check("", "");
        check(" , ,", "");
        check("\"", "");
        check("Bearer realm=\"unended", "bearer()");
        check("Bearer realm=\"x\\", "bearer()");
        check("Bearer realm=", "bearer()");
        check("Bearer realm=,service=x", "bearer(service=<x>)");
        check("Bearer =x", "bearer()");
        check("Bearer realm=\"é\u{7f}\"", "bearer(realm=<é\u{7f}>)");
    }

    #[test]
    fn a_header_without_end_is_cut() {
        assert_eq!(
            challenges(&"Basic, ".repeat(100_000)).len(),
            MOST_CHALLENGES
        );
        let many = format!("Bearer {}", "a=b, ".repeat(100_000));
        assert_eq!(challenges(&many)[0].parameters.len(), MOST_PARAMETERS);
        assert_eq!(challenges(&",".repeat(1 << 20)), []);
        assert!(challenges(&"é".repeat(1 << 20)).is_empty());
    }
}
