//! Roots made of layers by mount(2), in a mount namespace of one's own.

mod filter;
mod support;

use support::{apart, check, layers, plan};

#[test]
fn without_a_mount_that_is_attached_nowhere() {
    apart("before-5.2", |place| {
        filter::before_5_2();
        let error = snapshot::mount(&plan(&layers(place, 2), None, false), false);
        assert_eq!(
            error.expect_err("nowhere to make it").to_string(),
            "mount 2 layers: function not implemented by this kernel, or hidden by a seccomp filter (this needs Linux 5.12)"
        );
        sys::mount::claim_namespace();
        let here = std::env::current_dir().expect("a working directory");
        for count in [1, 2, 200, 500] {
            check(place, count);
        }
        assert_eq!(std::env::current_dir().expect("still there"), here);
        sys::mount::strike_stage().expect("take the stage away");
    });
}
