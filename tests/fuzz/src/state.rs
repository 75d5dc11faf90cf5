//! state.json -> [`Record`], and back.

use std::path::Path;

use container::{Record, Status};

use crate::is_message;

pub(crate) fn run(bytes: &[u8]) {
    let file = Path::new("/run/orlop/id/state.json");
    let parse = |bytes: &[u8]| Record::parse(bytes, file);
    let (record, again) = match (parse(bytes), parse(bytes)) {
        (Ok(record), Ok(again)) => (record, again),
        (Err(error), Err(_)) => return is_message(&error.to_string()),
        _ => panic!("the same text is a record and is none"),
    };
    let text = |record: &Record| serde_json::to_string(record).expect("a record as JSON");
    let written = text(&record);
    assert_eq!(written, text(&again), "the same container, the same record");
    let read = parse(written.as_bytes()).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(written, text(&read), "what is written is read back");
    for status in [Status::Created, Status::Running, Status::Stopped] {
        let state = record.state(status);
        assert_eq!(
            state.pid == 0,
            status == Status::Stopped || record.process.pid == 0
        );
        serde_json::to_string(&state).expect("a state as JSON");
    }
}
