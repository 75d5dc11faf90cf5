//! Device rules as systemd takes them: a list of what is allowed (`DeviceAllow`), without which a `systemctl daemon-reload` would
//! take devices away.
//!
//! systemd knows no denials, so the rules are carried out here, on a list. What such a list cannot say is said more widely, with
//! a warning: on cgroup v2 the container's own program still stands in front of it.

use crate::bus::Property;
use crate::bus::value::{Type, Value};
use crate::devices::DeviceRule;

/// What is allowed to some devices, as bits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    kind: char,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

const LETTERS: [(char, u8); 3] = [('r', 1), ('w', 2), ('m', 4)];

impl Allowed {
    fn of(rule: &DeviceRule) -> Self {
        let letters = LETTERS.iter().filter(|(c, _)| rule.access.contains(*c));
        Self {
            kind: rule.kind,
            major: rule.major,
            minor: rule.minor,
            access: letters.map(|(_, bit)| bit).sum(),
        }
    }

    /// Whether every device of `other` is one of these.
    fn covers(&self, other: &Self) -> bool {
        let within = |own: Option<u32>, theirs: Option<u32>| own.is_none() || own == theirs;
        self.kind == other.kind
            && within(self.major, other.major)
            && within(self.minor, other.minor)
    }

    /// Whether some device is one of both.
    fn meets(&self, other: &Self) -> bool {
        let may = |own: Option<u32>, theirs: Option<u32>| {
            own.is_none() || theirs.is_none() || own == theirs
        };
        self.kind == other.kind && may(self.major, other.major) && may(self.minor, other.minor)
    }

    fn specifier(&self) -> String {
        let (directory, class) = match self.kind {
            'b' => ("block", "block"),
            _ => ("char", "char"),
        };
        match (self.major, self.minor) {
            // systemd takes the numbers from this path, whether a node is there or not.
            (Some(major), Some(minor)) => format!("/dev/{directory}/{major}:{minor}"),
            (Some(major), None) => format!("{class}-{major}"),
            (None, _) => format!("{class}-*"),
        }
    }
}

/// Returns the properties that say what a complete list of rules says, and warnings about what they say more widely.
pub(crate) fn properties(rules: &[DeviceRule]) -> (Vec<Property>, Vec<String>) {
    let mut warnings = Vec::new();
    let mut everything = false;
    let mut list: Vec<Allowed> = Vec::new();
    for rule in rules {
        let own = Allowed::of(rule);
        let wider = |what: &str| {
            format!(
                "{}: systemd has no word for {what}; what it keeps over a daemon-reload is wider",
                rule.json_path
            )
        };
        if rule.kind == 'a' {
            everything = rule.allow;
            list.clear();
        } else if rule.allow {
            if rule.major.is_none() && rule.minor.is_some() {
                warnings.push(wider("one minor number of every major one"));
            }
            list.push(own);
        } else if everything {
            warnings.push(wider("a denial where everything else is allowed"));
        } else {
            for allowed in &mut list {
                if own.covers(allowed) {
                    allowed.access &= !own.access;
                } else if own.meets(allowed) && own.access & allowed.access != 0 {
                    warnings.push(wider("a denial within what is allowed"));
                }
            }
        }
    }
    let allow = if everything {
        Vec::new()
    } else {
        entries(&list)
    };
    let policy = if everything { "auto" } else { "strict" };
    let properties = vec![
        Property::new("DevicePolicy", Value::String(policy.to_owned())),
        Property::new("DeviceAllow", listed(allow)),
    ];
    (properties, warnings)
}

/// Returns the properties that put other rules in the place of those that a unit has.
pub(crate) fn replacement(rules: &[DeviceRule]) -> Vec<Property> {
    // systemd adds to a list, but for an empty one, which clears it.
    let cleared = Property::new("DeviceAllow", listed(Vec::new()));
    std::iter::once(cleared)
        .chain(properties(rules).0)
        .collect()
}

fn listed(entries: Vec<Value>) -> Value {
    let kind = Type::Struct(vec![Type::Basic(b's'), Type::Basic(b's')]);
    Value::Array(kind, entries)
}

/// systemd wants one entry to allow all that is asked for at once: to open a device for reading and writing, say. So every entry
/// gets what others allow to the same devices.
fn entries(list: &[Allowed]) -> Vec<Value> {
    let mut merged: Vec<(String, u8)> = Vec::new();
    for allowed in list.iter().filter(|allowed| allowed.access != 0) {
        let all = list.iter().filter(|other| other.covers(allowed));
        let access = all.fold(0, |bits, other| bits | other.access);
        let specifier = allowed.specifier();
        match merged.iter_mut().find(|(known, _)| *known == specifier) {
            Some((_, known)) => *known |= access,
            None => merged.push((specifier, access)),
        }
    }
    let entry = |(specifier, access): (String, u8)| {
        let letters = LETTERS.iter().filter(|(_, bit)| access & bit != 0);
        let letters = letters.map(|(c, _)| c).collect();
        Value::Struct(vec![Value::String(specifier), Value::String(letters)])
    };
    merged.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a rule from a sign and a line of cgroup v1.
    fn rule(text: &str) -> DeviceRule {
        let mut words = text[1..].split([' ', ':']);
        let kind = words.next().and_then(|word| word.chars().next());
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let (major, minor) = (number(), number());
        DeviceRule {
            allow: text.starts_with('+'),
            kind: kind.expect("a kind"),
            major,
            minor,
            access: words.next().unwrap_or("rwm").to_owned(),
            json_path: "here".to_owned(),
        }
    }

    fn shown(lines: &[&str]) -> String {
        let rules: Vec<DeviceRule> = lines.iter().map(|text| rule(text)).collect();
        let (properties, warnings) = properties(&rules);
        let warned = if warnings.is_empty() { "" } else { " (wider)" };
        let list: Vec<String> = properties.iter().map(ToString::to_string).collect();
        format!("{}{warned}", list.join(" "))
    }

    #[test]
    fn rules_become_a_list_of_what_is_allowed() {
        let check = |lines: &[&str], want: &str| assert_eq!(shown(lines), want, "{lines:?}");
        check(
            &["-a", "+c *:* m", "+c 1:3 rw", "+c 136:* rwm", "+b 8:0 r"],
            "DevicePolicy='strict' DeviceAllow=[('char-*', 'm'), ('/dev/char/1:3', 'rwm'), ('char-136', 'rwm'), ('/dev/block/8:0', 'r')]",
        );
        check(&["-a"], "DevicePolicy='strict' DeviceAllow=@a(ss) []");
        check(&["-a", "+a"], "DevicePolicy='auto' DeviceAllow=@a(ss) []");
        check(
            &["+a", "-c 1:3 r"],
            "DevicePolicy='auto' DeviceAllow=@a(ss) [] (wider)",
        );
        // The last word counts.
        check(
            &["-a", "+c 1:3 rwm", "-c 1:* w", "+c 1:5 w"],
            "DevicePolicy='strict' DeviceAllow=[('/dev/char/1:3', 'rm'), ('/dev/char/1:5', 'w')]",
        );
        check(
            &["-a", "+c 1:3 r", "-c 1:3 r"],
            "DevicePolicy='strict' DeviceAllow=@a(ss) []",
        );
        // One entry has to allow both at once.
        check(
            &["-a", "+c 1:3 r", "+c 1:3 w", "+c 1:* m"],
            "DevicePolicy='strict' DeviceAllow=[('/dev/char/1:3', 'rwm'), ('char-1', 'm')]",
        );
        check(
            &["-a", "+c 1:* rwm", "-c 1:3 w"],
            "DevicePolicy='strict' DeviceAllow=[('char-1', 'rwm')] (wider)",
        );
        check(
            &["-a", "+c *:5 rw"],
            "DevicePolicy='strict' DeviceAllow=[('char-*', 'rw')] (wider)",
        );
        // A denial of what was not allowed anyway takes nothing away.
        check(
            &["-a", "+c 1:* r", "-c 1:3 w", "-b *:* rwm"],
            "DevicePolicy='strict' DeviceAllow=[('char-1', 'r')]",
        );
    }
}
