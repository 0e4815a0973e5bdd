"""Rules for Cap'n Proto schemas and their bindings.

    capnp_library(name = "tensor_capnp", srcs = ["tensor.capnp"], deps = ["//third_party/capnp:go_capnp"])
    go_capnp_library(name = "tensor_go_capnp", importpath = "pangea.example/pangea/schemas/tensor", schema = ":tensor_capnp")
    rust_capnp_library(name = "tensor_rust_capnp", schema = ":tensor_capnp")
    py_capnp_library(name = "tensor_py_capnp", schema = ":tensor_capnp")
    py_capnp_constants(name = "tensor_constants_py", schema = ":tensor_capnp")

Bindings are build outputs. A binding of a schema that imports others names the bindings of those in `deps`.
"""

load("//tools/capnp/private:go.bzl", _go_capnp_library = "go_capnp_library")
load("//tools/capnp/private:library.bzl", _capnp_library = "capnp_library")
load("//tools/capnp/private:providers.bzl", _CapnpInfo = "CapnpInfo")
load("//tools/capnp/private:python.bzl", _py_capnp_constants = "py_capnp_constants", _py_capnp_library = "py_capnp_library")
load("//tools/capnp/private:rust.bzl", _rust_capnp_library = "rust_capnp_library")
load("//tools/capnp/private:toolchain.bzl", _capnp_toolchain = "capnp_toolchain")

CapnpInfo = _CapnpInfo
capnp_library = _capnp_library
capnp_toolchain = _capnp_toolchain
go_capnp_library = _go_capnp_library
py_capnp_constants = _py_capnp_constants
py_capnp_library = _py_capnp_library
rust_capnp_library = _rust_capnp_library
