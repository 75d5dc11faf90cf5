//! The program; all of it is in the library.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

sys::main!(orlop::main);
