//! What the kernel answers over rtnetlink: links and addresses.

use sys::netlink::LONGEST_NAME;
use sys::netlink::wire::{Address, Link, NEW_ADDRESS, NEW_LINK, Reply, Request, replies};

/// The bytes before a message's own part.
const HEADER: usize = 16;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(list) = replies(bytes) else {
        return;
    };
    // Every message has a header at least, and none is made of nothing.
    let bodies: usize = list.iter().map(|reply| reply.body.len() + HEADER).sum();
    assert!(bodies <= bytes.len(), "{bodies} bytes from {}", bytes.len());
    for reply in &list {
        // Zero alone says that all is well.
        let errno = reply.body.get(..4);
        assert_eq!(reply.outcome().is_ok(), errno == Some(&[0; 4]));
        if reply.kind == NEW_LINK
            && let Some(link) = Link::parse(reply.body)
        {
            // What it tells is found again in the message itself.
            let name = link.name.as_bytes();
            let known = reply
                .body
                .windows(name.len().max(1))
                .any(|part| part == name);
            assert!(
                known || name.is_empty() || link.name.contains('\u{fffd}'),
                "{link:?}"
            );
        }
        if reply.kind == NEW_ADDRESS
            && let Some(address) = Address::parse(reply.body)
        {
            added(&address, reply);
        }
    }
}

/// An address that is added elsewhere is the same there; so is one that is renamed there and back.
fn added(address: &Address, reply: &Reply<'_>) {
    let sent = |address: &Address, index: u32| {
        let bytes = Request::of_address(address, index).finish(3);
        bytes.expect("of what came in one message")
    };
    let again = |bytes: &[u8]| -> Address {
        let list = replies(bytes).expect("one of ours");
        assert_eq!((list.len(), list[0].sequence), (1, 3));
        Address::parse(list[0].body).expect("an address")
    };
    let first = sent(address, 7);
    let there = again(&first);
    assert_eq!(sent(&there, 7), first, "{reply:?}");
    assert_eq!(there.to_string(), address.to_string());
    let long = "x".repeat(LONGEST_NAME);
    let renamed = address.renamed("eth0", &long);
    assert_eq!(renamed.to_string(), address.to_string());
    // Names and labels have one length. The kernel may say what a label says elsewhere, too.
    let too_long = |bytes: &[u8]| {
        let mut parts = bytes.windows(LONGEST_NAME + 2);
        parts.any(|part| part.starts_with(long.as_bytes()) && part[LONGEST_NAME] == b':')
    };
    assert!(too_long(&first) || !too_long(&sent(&renamed, 7)));
}
