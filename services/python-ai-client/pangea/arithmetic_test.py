"""Which level a machine supports, what pins a process to it, and that a script started without it ends up pinned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pangea import arithmetic
from pangea.arithmetic import LEVELS, UnavailableLevel, best_level, pin, require

V3 = "flags\t\t: fpu avx avx2 bmi1 bmi2 f16c fma movbe sse4_2\nbugs\t\t: one\n"
V4 = V3.replace("avx2", "avx2 avx512bw avx512cd avx512dq avx512f avx512vl avx512_vnni")
OLD = "processor\t: 0\nflags\t\t: fpu sse2 avx\n"

# Environments of callers, which must not matter. Each contains settings that one of the libraries would obey.
CALLERS = [
    {},
    {"OPENBLAS_CORETYPE": "Sandybridge", "OPENBLAS_L2_SIZE": "262144"},
    {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41", "DNNL_MAX_CPU_ISA": "AVX", "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
    {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3", "GLIBC_TUNABLES": "glibc.malloc.check=0:glibc.cpu.hwcaps=-AVX2,-FMA"},
]
# Prints which kernels the libraries report, and what they compute.
PROBE = """
import hashlib, json, os, sys
{before}
import torch, threadpoolctl
import pangea
from pangea.arithmetic import ensure_pinned
from pangea.training.determinism import configure_torch
{between}
level = ensure_pinned()
configure_torch()
from pangea.training.fingerprints import fingerprints, summary
blas = [pool["architecture"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
capability = torch.backends.cpu.get_cpu_capability()
print(json.dumps([level, os.getpid(), capability, blas, summary(fingerprints()).hex(), sys.argv[1:]]))
"""


def bare(**environment: str) -> dict[str, str]:
    """Returns an environment in which nothing is pinned."""
    named = {name: value for name, value in os.environ.items() if name in ("PATH", "PANGEA_PYTHON", "HOME")}
    return {**named, "PYTHONPATH": os.pathsep.join(sys.path), **environment}


def run_script(
    folder: Path, environment: dict[str, str], *arguments: str, before: str = "", between: str = ""
) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(PROBE.format(before=before, between=between))
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_best_level_is_the_highest_whose_flags_are_all_present() -> None:
    assert best_level(V3) == "avx2"
    assert best_level(V4) == "avx512"
    assert best_level(V4.replace("avx512vl", "")) == "avx2"
    assert best_level(OLD) == ""
    assert best_level("") == ""


def test_an_unsupported_level_is_refused_with_advice() -> None:
    require("", OLD)
    require("avx2", V3)
    with pytest.raises(
        UnavailableLevel,
        match="lacks avx512bw, avx512cd, avx512dq, avx512f, avx512vl; start the run with --arithmetic avx2",
    ):
        require("avx512", V3)
    with pytest.raises(UnavailableLevel, match="use other machines$"):
        require("avx2", OLD)
    with pytest.raises(UnavailableLevel, match="unknown arithmetic 'sse'; choose avx2 or avx512"):
        require("sse", V4)


@pytest.mark.parametrize("level", LEVELS)
def test_the_pinned_variables_do_not_depend_on_the_callers_environment(level: str) -> None:
    pinned = [
        {name: value for name, value in pin({**caller, "OTHER": "kept"}, level).items() if name != "GLIBC_TUNABLES"}
        for caller in CALLERS
    ]
    assert all(environment == pinned[0] for environment in pinned)
    assert pinned[0] == {"OTHER": "kept", "PANGEA_ARITHMETIC": level, **LEVELS[level].variables}
    assert pin(pinned[0], level) == pinned[0]


def test_unrelated_tunables_of_the_c_library_are_kept() -> None:
    assert pin(CALLERS[4], "avx2")["GLIBC_TUNABLES"] == "glibc.malloc.check=0"
    assert "GLIBC_TUNABLES" not in pin({"GLIBC_TUNABLES": "glibc.cpu.x86_ibt=on"}, "avx2")


def test_without_a_level_nothing_is_pinned() -> None:
    assert pin(CALLERS[1], "") == CALLERS[1]


def test_levels_differ_in_every_variable() -> None:
    assert LEVELS["avx2"].variables.keys() == LEVELS["avx512"].variables.keys()
    assert not LEVELS["avx2"].variables.items() & LEVELS["avx512"].variables.items()


@pytest.mark.skipif(not best_level(), reason="this processor has no level")
def test_a_script_started_by_hand_ends_up_pinned_in_any_environment(tmp_path: Path) -> None:
    printed = []
    for caller in CALLERS:
        result = run_script(tmp_path, bare(PANGEA_ARITHMETIC="avx2", **caller), "--rate", "a b")
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("restarting script.py with the arithmetic avx2 pinned") == 1
        level, _, capability, blas, computed, arguments = json.loads(result.stdout)
        assert (level, capability, set(blas), arguments) == ("avx2", "AVX2", {"Haswell"}, ["--rate", "a b"])
        printed.append(computed)
    assert len(set(printed)) == 1


@pytest.mark.skipif(not best_level(), reason="this processor has no level")
def test_before_torch_is_loaded_no_restart_is_needed(tmp_path: Path) -> None:
    early = "from pangea.arithmetic import ensure_pinned\nensure_pinned()"
    result = run_script(
        tmp_path,
        bare(PANGEA_ARITHMETIC="avx2", OPENBLAS_CORETYPE="Sandybridge", ATEN_CPU_CAPABILITY="default"),
        before=early,
    )
    assert result.returncode == 0, result.stderr
    assert "restarting" not in result.stderr
    assert json.loads(result.stdout)[2:4] == ["AVX2", ["Haswell"]]


@pytest.mark.skipif(not best_level(), reason="this processor has no level")
def test_using_a_public_name_before_torch_pins_as_well(tmp_path: Path) -> None:
    result = run_script(tmp_path, bare(OPENBLAS_CORETYPE="Sandybridge"), before="from pangea import seed_everything")
    assert result.returncode == 0, result.stderr
    assert "restarting" not in result.stderr
    assert '"Haswell"' in result.stdout or '"SkylakeX"' in result.stdout


@pytest.mark.skipif(not best_level(), reason="this processor has no level")
@pytest.mark.parametrize(
    ("between", "why"),
    [
        (
            "import threading; threading.Thread(target=threading.Event().wait, daemon=True, name='mine').start()",
            "it has other threads (mine)",
        ),
        ("sys.ps1 = '>>> '", "it is interactive"),
        (
            "os.environ['PANGEA_RESTARTED'] = str(os.getpid())",
            "it was restarted once, and something set the variables again on the way",
        ),
    ],
)
def test_a_process_that_cannot_restart_is_refused_with_the_command_to_use(
    between: str, why: str, tmp_path: Path
) -> None:
    result = run_script(tmp_path, bare(PANGEA_ARITHMETIC="avx2", OPENBLAS_L2_SIZE="262144"), between=between)
    assert result.returncode == 1
    assert (
        "NotPinned: torch or numpy was loaded before the arithmetic avx2 was pinned, and this process cannot be"
        f" restarted: {why}" in result.stderr
    )
    assert "as: env -u OPENBLAS_L2_SIZE " in result.stderr and "OPENBLAS_CORETYPE=Haswell" in result.stderr


@pytest.mark.skipif(not best_level(), reason="this processor has no level")
def test_a_script_from_standard_input_is_refused() -> None:
    result = subprocess.run(
        [sys.executable, "-"],
        input=PROBE.format(before="", between=""),
        env=bare(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 1
    assert "its script was read from standard input" in result.stderr


def test_a_child_that_inherits_the_mark_of_a_restart_may_restart_itself(tmp_path: Path) -> None:
    result = run_script(tmp_path, bare(PANGEA_RESTARTED=str(os.getpid())))
    assert result.returncode == 0, result.stderr


def test_an_unsupported_level_in_the_environment_ends_the_script_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "_flags", lambda _text: frozenset({"avx"}))
    monkeypatch.setenv("PANGEA_ARITHMETIC", "avx512")
    with pytest.raises(UnavailableLevel, match="the run uses the arithmetic avx512"):
        arithmetic.ensure_pinned()
