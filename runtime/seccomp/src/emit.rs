//! From ranges to instructions.
//!
//! Conditional jumps reach 255 instructions forward and none backward. So the program is written from its end: whatever an instruction
//! jumps to is there already, and where it has drifted out of reach a copy (of a return) or a long jump is put in between.

use crate::arch::Words;
use crate::machine::{
    AND, ARCH, Instruction, JUMP, JUMP_BITS, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL, LOAD,
    NUMBER, RETURN,
};
use crate::policy::Condition;
use crate::section::{BAD_ARCH, Check, Range, Section, Verdict};
use oci_spec::runtime::LinuxSeccompOperator as Operator;

/// Jumps farther than this go over a stepping stone. Below 255, because one put in for the other branch moves the target by one.
const REACH: usize = 250;

/// Returns the program for all sections.
pub(crate) fn program(sections: &[Section]) -> Vec<Instruction> {
    let mut code = Code::default();
    let mut entries = Vec::with_capacity(sections.len());
    // The native section comes last here and so first in the program, near the choice of the architecture.
    for section in sections.iter().rev() {
        let checks: Vec<Label> = section
            .checks
            .iter()
            .map(|check| code.check(check))
            .collect();
        let tree = code.tree(&section.ranges, &checks);
        entries.push((section.audit, code.load(NUMBER, tree)));
    }
    let mut next = code.give(BAD_ARCH);
    for (audit, entry) in entries {
        next = code.branch(JUMP_EQUAL, audit, entry, next);
    }
    code.load(ARCH, next);
    code.reversed.reverse();
    code.reversed
}

/// An instruction, counted from the end of the program.
#[derive(Clone, Copy, Debug)]
struct Label(usize);

#[derive(Default)]
struct Code {
    reversed: Vec<Instruction>,
    /// The copy of each return that lies nearest to the beginning.
    returns: Vec<(u32, Label)>,
}

impl Code {
    /// A balanced search: whoever calls the kernel pays for every comparison.
    fn tree(&mut self, ranges: &[Range], checks: &[Label]) -> Label {
        if let [only] = ranges {
            return match only.verdict {
                Verdict::Return(action) => self.give(action),
                Verdict::Check(check) => checks[check],
            };
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let yes = self.tree(high, checks);
        let no = self.tree(low, checks);
        self.branch(JUMP_GREATER_EQUAL, high[0].start, yes, no)
    }

    fn check(&mut self, check: &Check) -> Label {
        let mut next = self.give(check.otherwise);
        for (conditions, action) in check.rules.iter().rev() {
            let mut holds = self.give(*action);
            for condition in conditions.iter().rev() {
                holds = self.condition(condition, check.words, holds, next);
            }
            next = holds;
        }
        next
    }

    /// Compares an argument and goes to `yes` or `no`.
    fn condition(&mut self, condition: &Condition, words: Words, yes: Label, no: Label) -> Label {
        match condition.operator {
            Operator::ScmpCmpEq | Operator::ScmpCmpMaskedEq => {
                self.equal(condition, words, yes, no)
            }
            Operator::ScmpCmpNe => self.equal(condition, words, no, yes),
            Operator::ScmpCmpGt => self.greater(JUMP_GREATER, condition, words, yes, no),
            Operator::ScmpCmpLe => self.greater(JUMP_GREATER, condition, words, no, yes),
            Operator::ScmpCmpGe => self.greater(JUMP_GREATER_EQUAL, condition, words, yes, no),
            Operator::ScmpCmpLt => self.greater(JUMP_GREATER_EQUAL, condition, words, no, yes),
        }
    }

    fn equal(&mut self, condition: &Condition, words: Words, yes: Label, no: Label) -> Label {
        let ((mask_low, mask_high), (low, high)) =
            (halves(condition.mask), halves(condition.value));
        let mut yes = yes;
        if mask_low != 0 {
            yes = self.equal_word(words.low(condition.argument), mask_low, low, yes, no);
        }
        if words.wide && mask_high != 0 {
            yes = self.equal_word(words.high(condition.argument), mask_high, high, yes, no);
        }
        yes
    }

    fn equal_word(&mut self, offset: u32, mask: u32, value: u32, yes: Label, no: Label) -> Label {
        if value == 0 && mask != u32::MAX {
            let test = self.branch(JUMP_BITS, mask, no, yes);
            return self.load(offset, test);
        }
        let mut test = self.branch(JUMP_EQUAL, value, yes, no);
        if mask != u32::MAX {
            test = self.push(AND, mask, test);
        }
        self.load(offset, test)
    }

    /// `operator` compares the low halves; it counts only where the high ones are equal.
    fn greater(
        &mut self,
        operator: u16,
        condition: &Condition,
        words: Words,
        yes: Label,
        no: Label,
    ) -> Label {
        let (low, high) = halves(condition.value);
        let test = self.branch(operator, low, yes, no);
        let lower = self.load(words.low(condition.argument), test);
        if !words.wide {
            return lower;
        }
        let equal = self.branch(JUMP_EQUAL, high, lower, no);
        let above = self.branch(JUMP_GREATER, high, yes, equal);
        self.load(words.high(condition.argument), above)
    }

    /// A return of `action` within reach.
    fn give(&mut self, action: u32) -> Label {
        let known = self.returns.iter().position(|(other, _)| *other == action);
        if let Some(label) = known
            .map(|index| self.returns[index].1)
            .filter(|label| self.distance(*label) <= REACH)
        {
            return label;
        }
        self.reversed.push(Instruction {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: action,
        });
        let label = Label(self.reversed.len() - 1);
        match known {
            Some(index) => self.returns[index].1 = label,
            None => self.returns.push((action, label)),
        }
        label
    }

    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        let yes = self.near(yes);
        let no = self.near(no);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "`near` keeps both below 255"
        )]
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.reversed.push(Instruction { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }

    fn load(&mut self, offset: u32, next: Label) -> Label {
        self.push(LOAD, offset, next)
    }

    /// Puts an instruction that goes on to the next one before `next`.
    fn push(&mut self, code: u16, k: u32, next: Label) -> Label {
        if self.distance(next) != 0 {
            self.long_jump(next);
        }
        self.reversed.push(Instruction {
            code,
            jt: 0,
            jf: 0,
            k,
        });
        Label(self.reversed.len() - 1)
    }

    /// The label itself, or a stepping stone to it that a conditional jump reaches.
    fn near(&mut self, label: Label) -> Label {
        if self.distance(label) <= REACH {
            return label;
        }
        let target = self.reversed[label.0];
        if target.code == RETURN {
            self.give(target.k)
        } else {
            self.long_jump(label)
        }
    }

    fn long_jump(&mut self, label: Label) -> Label {
        let k = u32::try_from(self.distance(label)).unwrap_or(u32::MAX); // a program that long is refused
        self.reversed.push(Instruction {
            code: JUMP,
            jt: 0,
            jf: 0,
            k,
        });
        Label(self.reversed.len() - 1)
    }

    /// How many instructions lie between the one that is written next and `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - 1 - label.0
    }
}

#[expect(clippy::cast_possible_truncation, reason = "halves of a 64-bit word")]
fn halves(whole: u64) -> (u32, u32) {
    (whole as u32, (whole >> 32) as u32)
}
