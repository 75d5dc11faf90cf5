//! The wire against itself and against rubbish, and the client against a real bus.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::address::{Address, Socket};
use super::client::{Connection, call};
use super::message::{Fields, Message, PRELUDE};
use super::value::{Type, Value};
use super::wire::{self, Order, Reader};
use super::{Manager, text};

/// Marsaglia's xorshift: the same values in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % 1_000_003).expect("small") % bound
    }

    fn text(&mut self) -> String {
        let letters = ['a', 'Z', '\'', '\\', '"', 'é', '\n', '漢', ' ', '\u{7}'];
        (0..self.below(6))
            .map(|_| letters[self.below(letters.len())])
            .collect()
    }

    fn kind(&mut self, depth: usize) -> Type {
        let letters = b"ybnqiuxtdsogh";
        match self.below(if depth == 0 { 13 } else { 18 }) {
            n if n < 13 => Type::Basic(letters[n]),
            13 | 14 => Type::Array(Box::new(self.kind(depth - 1))),
            15 | 16 => Type::Struct((0..=self.below(3)).map(|_| self.kind(depth - 1)).collect()),
            _ => Type::Variant,
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    fn value(&mut self, kind: &Type, depth: usize) -> Value {
        let n = self.next() >> self.below(64);
        match kind {
            Type::Variant => {
                let inner = self.kind(depth.saturating_sub(1));
                Value::Variant(Box::new(self.value(&inner, depth.saturating_sub(1))))
            }
            Type::Array(element) => {
                let list = (0..self.below(4))
                    .map(|_| self.value(element, depth))
                    .collect();
                Value::Array((**element).clone(), list)
            }
            Type::Struct(fields) => Value::Struct(
                fields
                    .iter()
                    .map(|field| self.value(field, depth))
                    .collect(),
            ),
            Type::Basic(letter) => match letter {
                b'y' => Value::Byte(n as u8),
                b'b' => Value::Bool(n.is_multiple_of(2)),
                b'n' => Value::Int16(n as i16),
                b'q' => Value::Uint16(n as u16),
                b'i' => Value::Int32(n as i32),
                b'u' => Value::Uint32(n as u32),
                b'x' => Value::Int64(n as i64),
                b't' => Value::Uint64(n),
                b'd' => Value::Double(f64::from(n as i32) / 8.0),
                b's' => Value::String(self.text()),
                b'o' => Value::ObjectPath(format!("/a{}", n % 7)),
                b'g' => Value::Signature(self.kind(1).to_string()),
                _ => Value::Handle(n as u32),
            },
        }
    }
}

#[test]
fn values_survive_the_wire_and_the_text() {
    let mut random = Random(88_172_645_463_325_252);
    for _ in 0..20_000 {
        let kind = random.kind(4);
        let value = random.value(&kind, 4);
        let mut bytes = Vec::new();
        wire::write(&mut bytes, &value);
        let mut reader = Reader::new(&bytes, Order::Little);
        assert_eq!(reader.value(&kind).as_ref(), Ok(&value), "{bytes:?}");
        assert_eq!(reader.at(), bytes.len());
        assert_eq!(Type::parse(&kind.to_string()), Some(kind));
        let written = value.to_string();
        assert_eq!(text::parse(&written).as_ref(), Ok(&value), "{written}");
    }
}

fn message(random: &mut Random) -> Message {
    let arguments: Vec<Value> = (0..random.below(4))
        .map(|_| {
            let kind = random.kind(3);
            random.value(&kind, 3)
        })
        .collect();
    let mut message = call(
        "org.example",
        "/org/example",
        "org.example.A",
        "B",
        &arguments,
    );
    message.serial = 7;
    assert_eq!(message.arguments().as_ref(), Ok(&arguments));
    message
}

#[test]
fn messages_survive_the_wire() {
    let mut random = Random(4_242);
    for _ in 0..2_000 {
        let message = message(&mut random);
        let bytes = message.encode();
        assert_eq!(
            Message::size(bytes.first_chunk::<PRELUDE>().expect("long enough")),
            Ok(bytes.len())
        );
        assert_eq!(Message::decode(&bytes), Ok(message));
    }
}

#[test]
fn rubbish_is_refused_and_never_believed() {
    let mut random = Random(99);
    for _ in 0..20_000 {
        let mut bytes = message(&mut random).encode();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = u8::try_from(random.next() % 256).expect("a byte");
        }
        if random.below(3) == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
        // Whatever it is: no panic, no endless loop, no more memory than a message may need.
        if let Ok(message) = Message::decode(&bytes) {
            message.arguments().ok();
        }
    }
    let check = |bytes: &[u8], signature: &str| {
        let kind = Type::parse(signature).expect("a type");
        assert!(Reader::new(bytes, Order::Little).value(&kind).is_err());
    };
    check(&[2, 0, 0, 0], "b");
    check(&[255, 255, 255, 255], "s");
    check(&[1, 0, 0, 0, b'a', 1], "s");
    check(&[1, 0, 0, 0, 0, 0], "s");
    check(&[1, 0, 0, 0, 0xff, 0], "s");
    check(&[255, 255, 255, 3, 0, 0, 0, 0], "at");
    check(&[3, 0, 0, 0, 1, 0, 0], "aq");
    check(&[0, 0, 0, 1], "(yu)");
    // A variant in a variant, for ever.
    check(&[1, b'v', 0].repeat(200), "v");
    let mut long = call("a", "/b", "c", "d", &[]).encode();
    long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Message::size(long.first_chunk().expect("long enough")).is_err());
}

#[test]
fn both_byte_orders_are_read() {
    let bytes = [0, 0, 0, 2, b'h', b'i', 0];
    let value = Reader::new(&bytes, Order::Big).value(&Type::Basic(b's'));
    assert_eq!(value, Ok(Value::String("hi".into())));
}

#[test]
fn types_are_complete_or_none() {
    let check = |text: &str, right: bool| assert_eq!(Type::parse(text).is_some(), right, "{text}");
    check("a(sv)", true);
    check("aas", true);
    check("(s(ub))", true);
    for text in ["", "a", "(", "()", "(s", "s)", "ss", "z", "a{sv}"] {
        check(text, false);
    }
    check(&format!("{}s", "a".repeat(31)), true);
    check(&format!("{}s", "a".repeat(40)), false);
}

#[test]
fn annotations_are_read_as_gvariant_text() {
    let check = |text: &str, want: Value| assert_eq!(text::parse(text), Ok(want), "{text}");
    check("true", Value::Bool(true));
    check(
        " 'inactive-or-failed' ",
        Value::String("inactive-or-failed".into()),
    );
    check("\"it's\"", Value::String("it's".into()));
    check("'a\\'b\\\\\\u0041'", Value::String("a'b\\A".into()));
    check("5", Value::Int32(5));
    check("-5", Value::Int32(-5));
    check("0x10", Value::Int32(16));
    check("010", Value::Int32(8));
    check("0", Value::Int32(0));
    check("uint64 123456789012", Value::Uint64(123_456_789_012));
    check("@t 5", Value::Uint64(5));
    check("byte 0x2a", Value::Byte(42));
    check("1.5", Value::Double(1.5));
    check("['a', 'b']", Value::strings(["a", "b"]));
    check("@as []", Value::strings([""; 0]));
    check(
        "[('/dev/null', 'rw')]",
        Value::Array(
            Type::parse("(ss)").expect("a type"),
            vec![Value::Struct(vec![
                Value::String("/dev/null".into()),
                Value::String("rw".into()),
            ])],
        ),
    );
    let odd = text::parse("[double nan, inf, -inf]").expect("numbers");
    assert_eq!(odd.to_string(), "[double nan, double inf, double -inf]");
    let again = text::parse(&odd.to_string()).expect("what was printed");
    assert_eq!(again.to_string(), odd.to_string());
}

#[test]
fn text_that_is_no_value_is_refused_with_its_fault() {
    let refuse = |text: &str, why: &str| {
        let error = text::parse(text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    };
    refuse("", "expected a value");
    refuse("hello", "text stands in quotes");
    refuse("'open", "has no end");
    refuse("5000000000", "uint64 5000000000");
    refuse("byte 256", "not a number of type y");
    refuse("true false", "expected nothing more");
    refuse("[]", "@as []");
    refuse("['a', 5]", "not a number of type s");
    refuse("@as ['a', true]", "expected a value of type s");
    refuse("['a', @t 5]", "@t where a value of type s has to be");
    refuse("@zz 5", "not a type");
    refuse(&"[".repeat(100), "too deep");
    refuse("'a\0b'", "NUL");
    refuse("--5", "not a number");
    // The length of a signature is one byte; cut, the whole message would be none.
    let cannot = "too long or too deep to be sent";
    refuse(&format!("({})", "1,".repeat(300)), cannot);
    refuse(&format!("<({})>", "1,".repeat(300)), cannot);
    // The type alone is as deep as one may be, the structs around it make it deeper.
    let deep = format!("@{}y []", "a".repeat(30));
    assert!(deep.parse::<Value>().is_ok(), "{deep}");
    refuse(&format!("((1, (1, {deep})), 1)"), cannot);
}

#[expect(clippy::print_stdout, reason = "a visible skip")]
fn skip(case: &str, reason: &str) {
    println!("skip {case}: {reason}");
}

/// A message bus of our own.
struct Bus {
    daemon: Child,
    address: Address,
}

impl Bus {
    fn start() -> Option<Self> {
        let daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .args(["--address=unix:tmpdir=/tmp"])
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut daemon) = daemon else {
            skip("the bus", "no dbus-daemon; hack/deps test installs it");
            return None;
        };
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().expect("its output"))
            .read_line(&mut line)
            .expect("an address");
        let address = Address::user(None, Some(line.trim()))
            .pop()
            .expect("a socket");
        Some(Self { daemon, address })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.daemon.kill().expect("kill");
        self.daemon.wait().expect("wait");
    }
}

fn bus_call(connection: &mut Connection, member: &str, arguments: &[Value]) -> Vec<Value> {
    let name = "org.freedesktop.DBus";
    let serial = connection
        .send(call(name, "/org/freedesktop/DBus", name, member, arguments))
        .expect("send");
    connection.answer(serial).expect("an answer")
}

#[test]
fn a_real_bus_understands_us() {
    let Some(bus) = Bus::start() else { return };
    let rule = "type='signal',member='NameOwnerChanged'";
    let mut connection = Connection::open(std::slice::from_ref(&bus.address), rule).expect("open");
    let id = bus_call(&mut connection, "GetId", &[]);
    let [Value::String(id)] = id.as_slice() else {
        panic!("{id:?}")
    };
    assert_eq!(id.len(), 32);
    // It calls by name; its signal is the one that was asked for before the greeting was answered.
    let name = || Value::String("org.example.Orlop".into());
    assert_eq!(
        bus_call(&mut connection, "RequestName", &[name(), Value::Uint32(0)]),
        [Value::Uint32(1)]
    );
    let owner = connection.signal("the name", std::time::Duration::from_secs(5), |message| {
        let arguments = message.arguments()?;
        Ok((arguments.first() == Some(&name())).then(|| arguments[2].clone()))
    });
    assert_eq!(
        bus_call(&mut connection, "GetNameOwner", &[name()]),
        [owner.expect("a signal")]
    );
}

#[test]
fn what_is_wrong_with_a_bus_is_told() {
    let nowhere = [
        Address::Direct("/nonexistent/private".into()),
        Address::Bus(Socket::Path("/nonexistent/bus".into())),
    ];
    let error = Manager::connect(&nowhere)
        .expect_err("nobody there")
        .to_string();
    assert_eq!(
        error,
        "systemd is not running here (/nonexistent/private: no such file or directory, /nonexistent/bus: no such file or \
         directory); use --cgroup-manager cgroupfs"
    );
    let Some(bus) = Bus::start() else { return };
    let mut manager = Manager::connect(std::slice::from_ref(&bus.address)).expect("connect");
    let starting = manager.start("x.scope", &[]).expect("sent");
    let error = manager.started(starting).expect_err("no systemd there");
    // The bus may know of systemd, and try in vain to start it.
    let error = error.to_string();
    assert!(error.contains("org.freedesktop.systemd1"), "{error}");
    assert!(error.contains("(org.freedesktop.DBus.Error."), "{error}");
    // The same connection goes on after an error.
    assert!(manager.stop("x.scope").is_err());
}

#[test]
fn fields_of_other_types_are_refused() {
    let fields = Fields {
        path: Some("/a".into()),
        ..Fields::default()
    };
    let mut bytes = Message::call(fields, &[]).encode();
    // The path's code becomes the interface's, which is a string.
    bytes[PRELUDE] = 2;
    assert_eq!(
        Message::decode(&bytes),
        Err("a header field of another type")
    );
}
