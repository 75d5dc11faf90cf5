//! cgroupsPath and annotations -> a unit of systemd. The first text is the path, the second `KEY=VALUE` on each line.

use cgroup::bus::message::{Fields, Message};
use cgroup::{Property, Value, Wanted, plan_unit};

use crate::machine::{layout, systemd};
use crate::{config, is_message, parts};

pub(crate) fn run(bytes: &[u8]) {
    let [path, annotations] = parts(bytes);
    let pairs = annotations
        .split('\n')
        .filter_map(|line| line.split_once('='));
    let wanted = Wanted {
        id: "id",
        cgroups_path: Some(&path),
        annotations: pairs.collect(),
        resources: None,
    };
    let user = (bytes.len().is_multiple_of(3)).then_some(1000);
    let systemd = cgroup::Systemd { user, ..systemd() };
    let layout = layout(bytes.len());
    let planned = plan_unit(&layout, &systemd, &wanted);
    assert_eq!(planned, plan_unit(&layout, &systemd, &wanted));
    let plan = match planned {
        Ok(plan) => plan,
        Err(refusal) => return is_message(&refusal.message),
    };
    config::cgroups(&plan);
    let unit = plan.unit.expect("a unit was asked for");
    let name = &unit.unit.name;
    let known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    assert!(name.len() <= 255 && name.chars().all(known), "{name:?}");
    assert!(
        name.ends_with(".scope") || name.ends_with(".slice"),
        "{name:?}"
    );
    for (index, property) in unit.properties.iter().enumerate() {
        check(property);
        let twice = unit.properties[..index]
            .iter()
            .any(|other| other.name == property.name);
        assert!(!twice, "{property} comes twice");
    }
    // Whose processes they are is not for a configuration to say.
    let own = |property: &Property| ["PIDs", "PIDFDs"].contains(&property.name.as_str());
    assert!(!unit.properties.iter().any(own), "{:?}", unit.properties);
    let slice = unit
        .properties
        .iter()
        .find(|property| property.name == "Slice");
    assert!(slice.is_none_or(
        |slice| matches!(&slice.value, Value::String(name) if name.ends_with(".slice"))
    ));
}

/// What systemd is told arrives as it was meant.
fn check(property: &Property) {
    let sent = [Value::Variant(Box::new(property.value.clone()))];
    let message = Message::call(Fields::default(), &sent).encode();
    let read = Message::decode(&message).and_then(|message| message.arguments());
    let read = read.unwrap_or_else(|why| panic!("{property}: {why}"));
    assert_eq!(read[0].to_string(), sent[0].to_string(), "{property}");
    let line = property.to_string();
    assert!(!line.contains('\n'), "{line:?}");
    let (_, text) = line.split_once('=').expect("name and value");
    let value: Value = text.parse().unwrap_or_else(|why| panic!("{line}: {why}"));
    assert_eq!(value.to_string(), text);
}
