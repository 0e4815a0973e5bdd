"""`coverage_guided`: a program in which every branch that is taken is counted, so that a fuzzer sees what an input has reached."""

_GO = "@rules_go//go/config:gc_goopts"
_RUST = "@rules_rust//:extra_rustc_flags"
_NO_VET = "@rules_go//go/private:bootstrap_nogo"

# What LLVM's pass inserts is what libFuzzer reads: counters of edges, which edges there are, and
# the operands of comparisons, from which it learns the bytes that a reader waits for.
_SANITIZER_COVERAGE = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    # An addition that overflows is a finding, and not a number that is too small.
    "-Cdebug-assertions",
]

def _instrumented_impl(settings, attr):
    return {
        # As `go test -fuzz` compiles.
        _GO: settings[_GO] + ["-d=libfuzzer"],
        _RUST: settings[_RUST] + _SANITIZER_COVERAGE,
        # rules_go would compile vet with the flags of Go as well, and cannot link it then. The same
        # code is vetted where it is built ordinarily.
        _NO_VET: settings[_NO_VET] or attr.is_go,
    }

_instrumented = transition(
    implementation = _instrumented_impl,
    inputs = [_GO, _NO_VET, _RUST],
    outputs = [_GO, _NO_VET, _RUST],
)

def _coverage_guided_impl(ctx):
    program = ctx.attr.program[0][DefaultInfo]
    link = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = link, target_file = program.files_to_run.executable, is_executable = True)
    return DefaultInfo(
        executable = link,
        files = depset([link]),
        runfiles = ctx.runfiles([link]).merge(program.default_runfiles),
    )

coverage_guided = rule(
    doc = "A Go test or a Rust program, built with counters in all of its own code and that of its modules and crates.",
    implementation = _coverage_guided_impl,
    executable = True,
    attrs = {
        "is_go": attr.bool(doc = "Whether the program is one of Go."),
        "program": attr.label(
            doc = "What is built so.",
            cfg = _instrumented,
            executable = True,
            mandatory = True,
        ),
    },
)
