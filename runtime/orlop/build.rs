//! The program is linked anew where the order of its functions has changed (hack/build).

fn main() {
    println!("cargo::rerun-if-changed=hot.txt");
    println!("cargo::rerun-if-changed=../../hack/link");
}
