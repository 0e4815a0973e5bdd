// The Bazel rule sets that the Go module proxy has. Locked by go.sum beside this file.
module pangea.example/door

go 1.23.0

require (
	github.com/bazelbuild/bazel-gazelle v0.47.0
	github.com/bazelbuild/rules_go v0.59.0
)
