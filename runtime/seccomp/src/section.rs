//! Ranges of numbers with the same verdict, for each architecture that the kernel tells apart.

use crate::arch::{Abi, Words, X32_BIT};
use crate::machine::{ALLOW, ERRNO, KILL_THREAD, LOG, NOTIFY, TRACE};
use crate::multiplex::Part;
use crate::policy::{Condition, Policy, Rule};
use crate::table::{self, ABSENT};
use oci_spec::runtime::{Arch, LinuxSeccompOperator as Operator};

/// What libseccomp, and so runc, answers to an architecture that the profile does not list.
pub(crate) const BAD_ARCH: u32 = KILL_THREAD;

const ENOSYS: u32 = 38;

/// The system calls of one audit architecture: ranges that begin at zero and have no hole.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) audit: u32,
    pub(crate) ranges: Vec<Range>,
    pub(crate) checks: Vec<Check>,
}

/// The numbers from `start` to the next range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Return(u32),
    /// Look at the arguments: an index into `Section::checks`.
    Check(usize),
}

/// The rules of one system call that looks at arguments. The first that holds decides; where none does, `otherwise`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) words: Words,
    pub(crate) rules: Vec<(Vec<Condition>, u32)>,
    pub(crate) otherwise: u32,
}

/// Returns a section for each audit architecture, the native one first.
pub(crate) fn sections(policy: &Policy) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::with_capacity(policy.abis.len());
    for (abi, newest) in policy.abis.iter().zip(&policy.newest_named) {
        let home = sections
            .iter()
            .position(|section| section.audit == abi.audit())
            .unwrap_or_else(|| {
                sections.push(Section {
                    audit: abi.audit(),
                    ranges: Vec::with_capacity(256),
                    checks: Vec::new(),
                });
                sections.len() - 1
            });
        let section = &mut sections[home];
        if abi.arch == Arch::ScmpArchX32 {
            // x86_64 comes before x32 and ended with the numbers that it gave up; here they get their own rules.
            section.ranges.retain(|range| range.start < X32_BIT);
        }
        section.fill(policy, abi, *newest);
        if abi.arch == Arch::ScmpArchX86_64 {
            // A tracer sets the number -1 to have a call skipped: that one is not x32's, and nobody is killed for it.
            section.push(X32_BIT, Verdict::Return(BAD_ARCH));
            section.push(u32::MAX, Verdict::Return(policy.default));
        }
    }
    sections
}

impl Section {
    fn fill(&mut self, policy: &Policy, abi: &Abi, newest_named: u32) {
        let mut background = background(policy.default, abi, newest_named)
            .into_iter()
            .peekable();
        let mut calls = calls(policy, abi);
        calls.sort_unstable_by_key(|call| (call.number, call.position));
        let mut ground = Verdict::Return(policy.default);
        for group in calls.chunk_by(|a, b| a.number == b.number) {
            let number = group[0].number;
            while let Some((start, action)) = background.next_if(|(start, _)| *start <= number) {
                ground = Verdict::Return(action);
                self.push(start, ground);
            }
            let verdict = self.decide(policy, abi, group);
            self.push(number, verdict);
            self.push(number + 1, ground);
        }
        for (start, action) in background {
            self.push(start, Verdict::Return(action));
        }
    }

    /// Starts a range, in place of one that starts at the same number; ranges with the same verdict become one.
    fn push(&mut self, start: u32, verdict: Verdict) {
        self.ranges.pop_if(|last| last.start == start);
        if self
            .ranges
            .last()
            .is_none_or(|last| last.verdict != verdict)
        {
            self.ranges.push(Range { start, verdict });
        }
    }

    /// Decides what becomes of one system call. A rule without conditions wins over all that have some, wherever it stands, and among
    /// those the first wins: so it is in libseccomp.
    fn decide(&mut self, policy: &Policy, abi: &Abi, group: &[Call]) -> Verdict {
        if let Some(call) = group
            .iter()
            .find(|call| call.conditions(abi).next().is_none())
        {
            return Verdict::Return(call.rule.action);
        }
        let rule = |call: &Call| (call.conditions(abi).collect::<Vec<_>>(), call.rule.action);
        let mut rules: Vec<_> = group.iter().map(rule).collect();
        rules.sort_by_key(|(conditions, _)| {
            std::cmp::Reverse(conditions.iter().map(precedence).collect::<Vec<_>>())
        });
        let check = Check {
            words: abi.words(),
            rules,
            otherwise: policy.default,
        };
        let known = self.checks.iter().position(|other| *other == check);
        Verdict::Check(known.unwrap_or_else(|| {
            self.checks.push(check);
            self.checks.len() - 1
        }))
    }
}

/// Among rules for one call that contradict each other the more special one decides, wherever it stands in the profile: a comparison with one
/// value before those with a range, a narrow range before a wide one. This is the order of libseccomp's tree.
fn precedence(condition: &Condition) -> (u8, u8, u64) {
    let (kind, narrow) = match condition.operator {
        Operator::ScmpCmpEq | Operator::ScmpCmpNe | Operator::ScmpCmpMaskedEq => {
            (3, condition.value)
        }
        Operator::ScmpCmpLt | Operator::ScmpCmpLe => (2, !condition.value),
        Operator::ScmpCmpGt | Operator::ScmpCmpGe => (1, condition.value),
    };
    (condition.argument, kind, narrow)
}

/// What happens to numbers without a rule: where it changes, and to what.
///
/// A C library tries a new system call and falls back to an older one when it hears ENOSYS. A profile that is older than the call would
/// make it hear EPERM instead, and the program fails. So, as runc does it: where the default is to deny, everything newer than the newest
/// call that the profile names is unknown to its author and answers ENOSYS. The same holds for the numbers that no call has yet; they lie
/// below the newest one where calls stand apart from the others (x32, arm).
fn background(default: u32, abi: &Abi, newest_named: u32) -> Vec<(u32, u32)> {
    let base = if abi.arch == Arch::ScmpArchX32 {
        X32_BIT
    } else {
        0
    };
    let permissive = matches!(default & 0xffff_0000, ALLOW | LOG | TRACE | NOTIFY);
    if permissive || newest_named == 0 {
        return vec![(base, default)];
    }
    let unknown = ERRNO | ENOSYS;
    let (unused, apart) = abi.unused();
    let mut background = vec![(base, default)];
    if matches!(abi.arch, Arch::ScmpArchS390 | Arch::ScmpArchS390x) {
        // Large numbers are passed in a register there. Where the kernel does not know one it leaves the number 0, which is no call.
        background = vec![(base, unknown), (base + 1, default)];
    }
    if newest_named >= apart {
        background.extend([(unused, unknown), (apart, default)]);
    }
    background.push((newest_named + 1, unknown));
    background
}

/// A rule for one number.
struct Call<'a> {
    number: u32,
    position: usize,
    rule: &'a Rule,
    /// The rule is for a part of this multiplexer: what its first argument is then, and the bits of it that count.
    part: Option<(u8, u32)>,
}

fn calls<'a>(policy: &'a Policy, abi: &Abi) -> Vec<Call<'a>> {
    let multiplexer = |name| table::row(name).map_or(ABSENT, |row| row.numbers[abi.column]);
    let (socketcall, ipc) = (multiplexer("socketcall"), multiplexer("ipc"));
    let mut calls = Vec::with_capacity(policy.rules.len() + 32);
    for (position, rule) in policy.rules.iter().enumerate() {
        let mut add = |number, part| {
            if number != ABSENT {
                calls.push(Call {
                    number,
                    position,
                    rule,
                    part,
                });
            }
        };
        add(rule.row.numbers[abi.column], None);
        if reaches_multiplexer(rule, policy.default) {
            match rule.row.part {
                Part::Socket(part) => add(socketcall, Some((part, 0xffff_ffff))),
                // The upper half of ipc's first argument is a version, not a part of the number.
                Part::Ipc(part) => add(ipc, Some((part, 0xffff))),
                Part::None => {}
            }
        }
    }
    calls
}

impl Call<'_> {
    fn conditions(&self, abi: &Abi) -> impl Iterator<Item = Condition> {
        let part = self.part.map(|(part, mask)| {
            let (mask, value) = (u64::from(mask), u64::from(part));
            Condition {
                argument: 0,
                operator: Operator::ScmpCmpMaskedEq,
                mask,
                value,
            }
        });
        // Behind a multiplexer the rule's own conditions cannot be checked.
        let own = if part.is_some() {
            &[]
        } else {
            self.rule.conditions.as_slice()
        };
        // A mask without bits in the words that are compared always fits.
        let bits = if abi.words().wide {
            u64::MAX
        } else {
            0xffff_ffff
        };
        let always = move |condition: &Condition| {
            condition.operator == Operator::ScmpCmpMaskedEq && condition.mask & bits == 0
        };
        part.into_iter().chain(
            own.iter()
                .copied()
                .filter(move |condition| !always(condition)),
        )
    }
}

/// A filter cannot read the arguments behind a multiplexer. So a rule that looks at them cannot open it, and one that forbids more than the
/// default does closes it whatever the arguments are. (libseccomp forgets the first argument in both cases, and so opens it.)
fn reaches_multiplexer(rule: &Rule, default: u32) -> bool {
    rule.conditions.is_empty() || rule.action.cast_signed() < default.cast_signed()
}
