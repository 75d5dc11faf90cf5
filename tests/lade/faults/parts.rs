//! Parts that were not asked for, statuses, challenges and redirects.

use super::{
    Auth, Case,
    End::{Either, Fine, Refused},
    Fault, Image, Registry, Rule, What, case, layer,
};

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases() -> Vec<Case> {
    use Fault::{
        Challenge, DropAt, Header, Loop, Page, Pieces, RangeElsewhere, RangeIgnored, RangeShifted,
        Redirect, RedirectTo, RetryAfter, Status, Unauthorized,
    };
    /// Breaks the first answer, so that a part is asked for next.
    fn broken(registry: &Registry, image: &Image, then: Rule) {
        registry.fault(Rule::once(What::Blob, DropAt(100_000)).only(&layer(image)));
        registry.fault(then.only(&layer(image)));
    }
    vec![
        case("range: ignored", Fine, |registry, image| {
            registry.change(|manner| manner.ranges = false);
            broken(registry, image, Rule::always(What::Blob, RangeIgnored));
        }),
        case(
            "range: a Content-Range of elsewhere",
            Either,
            |registry, image| broken(registry, image, Rule::always(What::Blob, RangeElsewhere)),
        ),
        case(
            "range: bytes of elsewhere",
            Refused(&["sha256:"]),
            |registry, image| broken(registry, image, Rule::always(What::Blob, RangeShifted)),
        ),
        case(
            "range: a byte at a time",
            Refused(&["sha256:", "no more than 1 bytes at a time"]),
            |registry, image| broken(registry, image, Rule::always(What::Blob, Pieces(1))),
        ),
        case("range: a third at a time", Fine, |registry, image| {
            broken(registry, image, Rule::always(What::Blob, Pieces(80_000)))
        }),
        case("range: 416", Either, |registry, image| {
            broken(registry, image, Rule::once(What::Blob, Status(416)))
        }),
        case("500, three times", Fine, |registry, _| {
            registry.fault(Rule::times(What::Blob, 3, Status(500)))
        }),
        case("503, three times, of a manifest", Fine, |registry, _| {
            registry.fault(Rule::times(What::Manifest, 3, Status(503)))
        }),
        case(
            "500, always",
            Refused(&["500", "127.0.0.1"]),
            |registry, _| registry.fault(Rule::always(What::Blob, Status(500))),
        ),
        case(
            "a proxy's page with 502, always",
            Refused(&["502"]),
            |registry, _| registry.fault(Rule::always(What::Manifest, Page(502))),
        ),
        case("429 with Retry-After", Fine, |registry, _| {
            registry.fault(Rule::times(What::Blob, 2, RetryAfter(429, "1")))
        }),
        case("429, always", Refused(&["429|too many"]), |registry, _| {
            registry.fault(Rule::always(What::Blob, RetryAfter(429, "1")))
        }),
        case(
            "429 with an hour to wait",
            Refused(&["429|too many"]),
            |registry, _| registry.fault(Rule::always(What::Blob, RetryAfter(429, "3600"))),
        ),
        case(
            "429 with a Retry-After that is none",
            Fine,
            |registry, _| registry.fault(Rule::once(What::Blob, RetryAfter(429, "soon, perhaps"))),
        ),
        case(
            "403, always",
            Refused(&["403|denied|forbidden"]),
            |registry, _| registry.fault(Rule::always(What::Manifest, Status(403))),
        ),
        case("404 of a blob", Refused(&["sha256:"]), |registry, _| {
            registry.fault(Rule::always(What::Blob, Status(404)))
        }),
        case("418, always", Refused(&["418"]), |registry, _| {
            registry.fault(Rule::always(What::Manifest, Status(418)))
        }),
        case("401 in the middle, of tokens", Fine, |registry, _| {
            registry.change(|manner| manner.auth = Auth::bearer("ann", "secret"));
            registry.fault(Rule::once(What::Blob, Unauthorized).after(1));
        }),
        case(
            "401, always, with tokens",
            Refused(&["401|login|unauthorized|denied"]),
            |registry, _| {
                registry.change(|manner| manner.auth = Auth::bearer("ann", "secret"));
                registry.fault(Rule::always(What::Blob, Unauthorized));
            },
        ),
        case(
            "401 with a challenge that is none",
            Refused(&["127.0.0.1"]),
            |registry, _| registry.fault(Rule::always(What::Any, Challenge("Bearer realm=\""))),
        ),
        case(
            "401 with a scheme that nobody knows",
            Refused(&["127.0.0.1"]),
            |registry, _| registry.fault(Rule::always(What::Any, Challenge("Negotiate abc"))),
        ),
        case(
            "401 with a realm that does not answer",
            Refused(&["127.0.0.1:1|token"]),
            |registry, _| {
                registry.fault(Rule::always(
                    What::Any,
                    Challenge("Bearer realm=\"http://127.0.0.1:1/token\",service=\"x\""),
                ))
            },
        ),
        case(
            "redirect to itself",
            Refused(&["redirect"]),
            |registry, _| registry.fault(Rule::always(What::Blob, Loop)),
        ),
        case(
            "redirect to itself with another port",
            Either,
            |registry, _| {
                registry.fault(Rule::once(
                    What::Blob,
                    Redirect("http://127.0.0.1:1".to_owned()),
                ))
            },
        ),
        case(
            "redirect to a file",
            Refused(&["127.0.0.1"]),
            |registry, _| {
                registry.fault(Rule::always(What::Blob, RedirectTo("file:///etc/passwd")))
            },
        ),
        case(
            "redirect to nothing",
            Refused(&["127.0.0.1"]),
            |registry, _| registry.fault(Rule::always(What::Blob, RedirectTo(""))),
        ),
        case("a header of 100 kB", Either, |registry, _| {
            registry.fault(Rule::always(
                What::Manifest,
                Header("X-Long", Box::leak("x".repeat(100_000).into_boxed_str())),
            ))
        }),
        case("a warning", Fine, |registry, _| {
            registry.fault(Rule::always(
                What::Manifest,
                Header("Warning", "299 - \"this repository will be deleted\""),
            ))
        }),
    ]
}
