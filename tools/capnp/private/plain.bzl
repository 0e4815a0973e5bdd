"""A transition to what a build uses without the options by which tests instrument our code."""

_OPTIONS = {
    "@rules_go//go/config:gc_goopts": [],
    "@rules_rust//:extra_rustc_flags": [],
}

plain = transition(
    implementation = lambda _settings, _attr: _OPTIONS,
    inputs = [],
    outputs = _OPTIONS.keys(),
)
