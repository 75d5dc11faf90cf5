//! The calls of systemd's manager object.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::address::Address;
use super::client::{Connection, call};
use super::error::Error;
use super::message::Message;
use super::value::{Type, Value};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const JOB_REMOVED: &str = "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
    interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// How long a job may take. A scope needs no more than systemd's attention, which a machine that is starting may want first.
const PATIENCE: Duration = Duration::from_secs(60);

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    pub name: String,
    pub value: Value,
    /// Whether a systemd that is too old for it may do without, because the cgroup's own files say the same.
    pub optional: bool,
}

impl Property {
    pub(crate) fn new(name: &str, value: Value) -> Self {
        Self {
            name: name.to_owned(),
            value,
            optional: false,
        }
    }

    pub(crate) fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl Serialize for Property {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A connection to a manager of units: the system's, or a user's.
#[derive(Debug)]
pub(crate) struct Manager(Connection);

impl Manager {
    /// Connects; returns before the manager has answered, so that other work can be done meanwhile.
    pub(crate) fn connect(addresses: &[Address]) -> Result<Self, Error> {
        Connection::open(addresses, JOB_REMOVED).map(Self)
    }

    /// Asks for a unit to be made and started; [`Manager::started`] waits for it.
    pub(crate) fn start(&mut self, unit: &str, properties: &[Property]) -> Result<Starting, Error> {
        let name = Value::String(unit.to_owned());
        let auxiliary = Type::Struct(vec![Type::Basic(b's'), list(&[]).kind()]);
        let none = Value::Array(auxiliary, Vec::new());
        let serial = self.send(
            "StartTransientUnit",
            &[name, mode(), list(properties), none],
        )?;
        Ok(Starting {
            serial,
            unit: unit.to_owned(),
            properties: properties.to_vec(),
        })
    }

    /// Waits until a unit is there. What an earlier unit of its name has left by failing is forgotten, and the unit is asked for
    /// again; likewise without a property that this systemd does not know, if it can do without.
    pub(crate) fn started(&mut self, starting: Starting) -> Result<(), Error> {
        let Starting {
            mut serial,
            unit,
            mut properties,
        } = starting;
        let mut reset = false;
        loop {
            match self.0.answer(serial) {
                Ok(answer) => return self.finish("start", &unit, &answer),
                Err(error) if error.is("UnitExists") && !reset => {
                    self.reset_failed(&unit)?;
                    reset = true;
                }
                Err(error) => drop(without(&mut properties, error)?),
            }
            serial = self.start(&unit, &properties)?.serial;
        }
    }

    /// Stops a unit, and returns when it is gone; one that does not exist is none.
    pub(crate) fn stop(&mut self, unit: &str) -> Result<(), Error> {
        let arguments = [Value::String(unit.to_owned()), mode()];
        let stopped = match self.call("StopUnit", &arguments) {
            Ok(answer) => self.finish("stop", unit, &answer),
            Err(error) if error.is("NoSuchUnit") => return Ok(()),
            Err(error) => Err(error),
        };
        // A unit that failed stays listed until it is told to be forgotten; that one has not failed is no news.
        self.reset_failed(unit)?;
        stopped
    }

    /// Forgets that a unit has failed; a unit that does not exist has not.
    pub(crate) fn reset_failed(&mut self, unit: &str) -> Result<(), Error> {
        match self.call("ResetFailedUnit", &[Value::String(unit.to_owned())]) {
            Err(error) if !error.is("NoSuchUnit") => Err(error),
            _ => Ok(()),
        }
    }

    /// Changes properties of a unit for as long as it lives.
    pub(crate) fn set(&mut self, unit: &str, properties: &[Property]) -> Result<(), Error> {
        let mut properties = properties.to_vec();
        while !properties.is_empty() {
            let name = Value::String(unit.to_owned());
            let arguments = [name, Value::Bool(true), list(&properties)];
            match self.call("SetUnitProperties", &arguments) {
                Ok(_) => break,
                Err(error) => drop(without(&mut properties, error)?),
            }
        }
        Ok(())
    }

    fn send(&mut self, member: &str, arguments: &[Value]) -> Result<u32, Error> {
        self.0.send(call(NAME, PATH, INTERFACE, member, arguments))
    }

    fn call(&mut self, member: &str, arguments: &[Value]) -> Result<Vec<Value>, Error> {
        let serial = self.send(member, arguments)?;
        self.0.answer(serial)
    }

    /// Waits for the end of the job that a call has answered with.
    fn finish(&mut self, verb: &'static str, unit: &str, answer: &[Value]) -> Result<(), Error> {
        let [Value::ObjectPath(job)] = answer else {
            return Err(Error::Malformed("an answer that names no job"));
        };
        let what = format!("the end of the job that has to {verb} {unit}");
        let result = self
            .0
            .signal(&what, PATIENCE, |message| ended(message, job))?;
        if result == "done" {
            return Ok(());
        }
        Err(Error::Job {
            job: verb,
            unit: unit.to_owned(),
            result,
        })
    }
}

/// A unit that was asked for.
#[derive(Debug)]
pub(crate) struct Starting {
    serial: u32,
    unit: String,
    properties: Vec<Property>,
}

/// Takes out the property that an error is about, if it is one to do without; any other error stands.
fn without(properties: &mut Vec<Property>, error: Error) -> Result<Property, Error> {
    let Error::Refused { text, .. } = &error else {
        return Err(error);
    };
    if !error.is("PropertyReadOnly") && !error.is("InvalidArgs") {
        return Err(error);
    }
    let named = |property: &Property| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        property.optional && words.any(|word| word == property.name)
    };
    match properties.iter().position(named) {
        Some(index) => Ok(properties.remove(index)),
        None => Err(error),
    }
}

/// Returns how a job ended, if this is the signal of its end: `JobRemoved(u id, o job, s unit, s result)`.
fn ended(message: &Message, wanted: &str) -> Result<Option<String>, Error> {
    if message.fields.member.as_deref() != Some("JobRemoved") {
        return Ok(None);
    }
    match message.arguments()?.as_mut_slice() {
        [_, Value::ObjectPath(job), _, Value::String(result)] if job == wanted => {
            Ok(Some(std::mem::take(result)))
        }
        _ => Ok(None),
    }
}

/// What becomes of jobs that are in the way: they are replaced.
fn mode() -> Value {
    Value::String("replace".to_owned())
}

fn list(properties: &[Property]) -> Value {
    let one = |property: &Property| {
        let value = Value::Variant(Box::new(property.value.clone()));
        Value::Struct(vec![Value::String(property.name.clone()), value])
    };
    let kind = Type::Struct(vec![Type::Basic(b's'), Type::Variant]);
    Value::Array(kind, properties.iter().map(one).collect())
}
