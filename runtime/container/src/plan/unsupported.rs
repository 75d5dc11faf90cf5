//! Fields of the specification that are not built yet: refused by name, because to ignore one would run something else than was asked for.

use oci_spec::runtime::Spec;

use super::Refusal;

fn check(at: &str, present: bool) -> Result<(), Refusal> {
    if present {
        Err(Refusal::new(
            at,
            "not supported by this version; remove the field",
        ))
    } else {
        Ok(())
    }
}

pub(super) fn refuse(spec: &Spec) -> Result<(), Refusal> {
    if let Some(linux) = spec.linux() {
        check(
            "linux.netDevices",
            linux
                .net_devices()
                .as_ref()
                .is_some_and(|map| !map.is_empty()),
        )?;
    }
    Ok(())
}
