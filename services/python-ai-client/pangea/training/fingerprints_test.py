"""The fingerprints reveal different kernels, and computing them has no side effects."""

from __future__ import annotations

import functools
import json
import os
import random
import subprocess
import sys

import numpy
import pytest
import torch

from pangea.arithmetic import LEVELS, best_level, pin
from pangea.training.fingerprints import OPERATORS, fingerprints, summary

COMPUTE = """
import json
from pangea.training.determinism import configure_torch
from pangea.training.fingerprints import fingerprints
configure_torch()
print(json.dumps({name: value.hex() for name, value in fingerprints().items()}))
"""


@functools.cache
def computed(**environment: str) -> dict[str, str]:
    """Returns the fingerprints of a new process that is pinned to avx2, except for these variables."""
    variables = {**pin(os.environ, "avx2"), "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return dict(
        json.loads(
            subprocess.run(
                [sys.executable, "-c", COMPUTE], env=variables, capture_output=True, text=True, timeout=240, check=True
            ).stdout
        )
    )


def test_they_fit_into_a_message() -> None:
    found = fingerprints()
    assert found.keys() == OPERATORS.keys()
    assert 20 < len(found) <= 64
    assert all(0 < len(name.encode()) <= 64 and len(value) == 32 for name, value in found.items())
    assert len(set(found.values())) == len(found)


def test_fingerprints_and_their_summary_are_reproducible() -> None:
    assert fingerprints() == fingerprints()
    assert summary(fingerprints()) == summary(dict(reversed(fingerprints().items())))


def test_random_states_and_settings_remain_unchanged() -> None:
    def state() -> list[object]:
        return [
            torch.get_rng_state().tolist(),
            random.getstate(),
            str(numpy.random.get_state(legacy=False)),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
        ]

    torch.manual_seed(3)
    before = state()
    with torch.no_grad():
        fingerprints()
    assert state() == before


def test_defaults_set_by_a_script_do_not_matter() -> None:
    expected = fingerprints()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.no_grad():
            assert fingerprints() == expected
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.skipif("avx2" not in LEVELS or not best_level(), reason="this processor has no level")
@pytest.mark.parametrize(
    ("variable", "value", "operator"),
    [
        # torch of Debian computes with OpenBLAS, torch of the package index with MKL.
        ("MKL_CBWR", "COMPATIBLE", "matmul")
        if torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        else ("OPENBLAS_CORETYPE", "Sandybridge", "matmul"),
        ("ATEN_CPU_CAPABILITY", "default", "exponentials"),
        ("ONEDNN_MAX_CPU_ISA", "SSE41", "convolution"),
        ("NPY_DISABLE_CPU_FEATURES", "AVX2 FMA3 X86_V3", "numpy"),
        ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-FMA", "numpy"),
    ],
)
def test_different_kernels_change_the_fingerprints_of_their_operators(variable: str, value: str, operator: str) -> None:
    pinned, other = computed(), computed(**{variable: value})
    different = {name for name in pinned if pinned[name] != other[name]}
    assert operator in different
    assert "embedding" not in different


@pytest.mark.skipif(not best_level(), reason="this processor has no level")
def test_differences_between_processors_of_one_level_do_not_matter() -> None:
    assert (
        computed(
            OPENBLAS_CORETYPE="Zen", OPENBLAS_L2_SIZE="262144", OPENBLAS_BLOCK_FACTOR="4", OPENBLAS_NUM_THREADS="3"
        )
        == computed()
    )
