//! Architectures: which of them one kernel runs side by side, and how their system calls look to a filter.

use crate::machine::ARGUMENTS;
use crate::table::{self, ABSENT, COLUMNS};
use oci_spec::runtime::Arch;

/// One way to call the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abi {
    pub(crate) arch: Arch,
    /// Where `table` keeps its numbers.
    pub(crate) column: usize,
    /// Arguments have 64 bits; where they do not, only the low half is compared.
    wide: bool,
}

/// Numbers from here on belong to x32, which shares its audit architecture with x86_64.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

const fn abi(arch: Arch, column: usize, wide: bool) -> Abi {
    Abi { arch, column, wide }
}

/// The architectures with a table, in the order of its columns; the last four share theirs with a sibling of the other byte order.
static ABIS: [Abi; COLUMNS + 4] = [
    abi(Arch::ScmpArchX86_64, 0, true),
    abi(Arch::ScmpArchX86, 1, false),
    abi(Arch::ScmpArchX32, 2, false),
    abi(Arch::ScmpArchAarch64, 3, true),
    abi(Arch::ScmpArchArm, 4, false),
    abi(Arch::ScmpArchRiscv64, 5, true),
    abi(Arch::ScmpArchLoongarch64, 6, true),
    abi(Arch::ScmpArchPpc, 7, false),
    abi(Arch::ScmpArchPpc64, 8, true),
    abi(Arch::ScmpArchS390, 9, false),
    abi(Arch::ScmpArchS390x, 10, true),
    abi(Arch::ScmpArchMips, 11, false),
    abi(Arch::ScmpArchMips64, 12, true),
    abi(Arch::ScmpArchMips64n32, 13, false),
    abi(Arch::ScmpArchPpc64le, 8, true),
    abi(Arch::ScmpArchMipsel, 11, false),
    abi(Arch::ScmpArchMipsel64, 12, true),
    abi(Arch::ScmpArchMipsel64n32, 13, false),
];

/// Returns the architecture's system calls; none where there is no table.
pub(crate) fn find(arch: Arch) -> Option<&'static Abi> {
    ABIS.iter().find(|abi| abi.arch == arch)
}

/// Returns the architectures that have a table.
pub(crate) fn all() -> impl Iterator<Item = Arch> {
    ABIS.iter().map(|abi| abi.arch)
}

/// Returns the architectures whose programs a kernel of the `native` one can also run.
pub(crate) fn siblings(native: Arch) -> &'static [Arch] {
    match native {
        Arch::ScmpArchX86_64 => &[Arch::ScmpArchX86, Arch::ScmpArchX32],
        Arch::ScmpArchAarch64 => &[Arch::ScmpArchArm],
        Arch::ScmpArchPpc64 => &[Arch::ScmpArchPpc],
        Arch::ScmpArchS390x => &[Arch::ScmpArchS390],
        Arch::ScmpArchMips64 => &[Arch::ScmpArchMips, Arch::ScmpArchMips64n32],
        Arch::ScmpArchMipsel64 => &[Arch::ScmpArchMipsel, Arch::ScmpArchMipsel64n32],
        _ => &[],
    }
}

/// Returns the architecture that this program was compiled for.
pub fn native() -> Arch {
    let little = cfg!(target_endian = "little");
    match std::env::consts::ARCH {
        "x86" => Arch::ScmpArchX86,
        "aarch64" => Arch::ScmpArchAarch64,
        "arm" => Arch::ScmpArchArm,
        "riscv64" => Arch::ScmpArchRiscv64,
        "loongarch64" => Arch::ScmpArchLoongarch64,
        "powerpc" => Arch::ScmpArchPpc,
        "powerpc64" if little => Arch::ScmpArchPpc64le,
        "powerpc64" => Arch::ScmpArchPpc64,
        "s390x" => Arch::ScmpArchS390x,
        "mips" if little => Arch::ScmpArchMipsel,
        "mips" => Arch::ScmpArchMips,
        "mips64" if little => Arch::ScmpArchMipsel64,
        "mips64" => Arch::ScmpArchMips64,
        _ => Arch::ScmpArchX86_64,
    }
}

/// Returns the number of a system call; for x32 with the bit that marks its calls.
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    let number = table::row(name)?.numbers[find(arch)?.column];
    (number != ABSENT).then_some(number)
}

/// Returns the newest system call number that is known for an architecture; calls that stand apart from the others do not count.
pub fn newest(arch: Arch) -> Option<u32> {
    Some(find(arch)?.unused().0 - 1)
}

/// Returns every system call name of any architecture.
pub fn names() -> impl Iterator<Item = &'static str> {
    table::names()
}

impl Abi {
    /// Returns what the kernel calls this architecture in `Data::arch`.
    pub(crate) fn audit(&self) -> u32 {
        match self.arch {
            Arch::ScmpArchX32 => Arch::ScmpArchX86_64 as u32,
            arch => arch as u32,
        }
    }

    /// Returns the first number that no call has yet, and the first one after it that one has.
    pub(crate) fn unused(&self) -> (u32, u32) {
        table::UNUSED[self.column]
    }

    /// Returns how arguments are compared.
    pub(crate) fn words(&self) -> Words {
        Words {
            wide: self.wide,
            big_endian: self.audit() & 0x4000_0000 == 0,
        }
    }
}

/// How an argument lies in `Data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) wide: bool,
    big_endian: bool,
}

impl Words {
    /// Returns the offset of an argument's low half.
    pub(crate) fn low(self, argument: u8) -> u32 {
        ARGUMENTS + 8 * u32::from(argument) + if self.big_endian { 4 } else { 0 }
    }

    /// Returns the offset of an argument's high half.
    pub(crate) fn high(self, argument: u8) -> u32 {
        self.low(argument) ^ 4
    }
}
