//! Roots made of layers by mount(2), as a copy of a mount that nobody sees.

mod filter;
mod support;

use std::fs;

use support::{apart, check, layers, mounted, plan, prepared};

#[test]
fn without_layers_one_by_one() {
    apart("before-6.8", |place| {
        filter::before_6_8();
        let here = std::env::current_dir().expect("a working directory");
        for count in [2, 200, 500] {
            check(place, count);
        }
        let odd = place.join(r"a:b,c\d");
        fs::create_dir(&odd).expect("a directory");
        check(&odd, 3);
        let (layers, dir) = (layers(place, 2), prepared(place, "changes"));
        for name in ["first", "second"] {
            let root = mounted(place, name, &plan(&layers, Some(&dir), true));
            fs::write(root.join(name), "").expect("write");
            sys::mount::umount2(&root, sys::mount::MntFlags::empty()).expect("unmount");
        }
        assert_eq!(std::env::current_dir().expect("still there"), here);
        let none = [place.join("none"), place.join("layer1")];
        let error = snapshot::mount(&plan(&none, None, false), false);
        assert_eq!(
            error.expect_err("no such layer").to_string(),
            format!(
                "open layer {}: no such file or directory",
                none[0].display()
            )
        );
    });
}
