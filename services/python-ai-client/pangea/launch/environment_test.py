"""The environment variables of a worker."""

from pathlib import Path

import pytest

from pangea.launch.environment import http_variable, worker_environment
from pangea.launch.settings import Settings


@pytest.mark.parametrize(
    ("address", "first", "third"),
    [
        ("127.0.0.1:8082", "127.0.0.1:8082", "127.0.0.1:8084"),
        ("[::1]:8082", "[::1]:8082", "[::1]:8084"),
        (":8082", ":8082", ":8084"),
        ("8082", "8082", "8084"),
    ],
)
def test_workers_on_one_machine_have_different_health_addresses(address: str, first: str, third: str) -> None:
    assert http_variable({"PANGEA_HTTP": address}, "worker-1") == {"PANGEA_HTTP": first}
    assert http_variable({"PANGEA_HTTP": address}, "worker-3") == {"PANGEA_HTTP": third}


@pytest.mark.parametrize("address", ["127.0.0.1:0", "nonsense", ""])
def test_port_0_and_invalid_addresses_are_not_counted_up(address: str) -> None:
    assert http_variable({"PANGEA_HTTP": address} if address else {}, "worker-3") == {}


def test_switches_become_environment_variables_of_the_workers(tmp_path: Path) -> None:
    plain = worker_environment(Settings(Path("s.py"), seed=3), tmp_path, "worker-1", "a:1", ["b:2", "c:3"])
    assert plain == {
        "PANGEA_ORCHESTRATOR": "a:1",
        "PANGEA_DATA": "b:2,c:3",
        "PANGEA_RUN_DIR": str(tmp_path),
        "PANGEA_WORKER_NAME": "worker-1",
        "PANGEA_SEED": "3",
        "PANGEA_REHEARSE": f"{Settings.rehearse:g}",
    }
    loose = worker_environment(
        Settings(Path("s.py"), strict=False, take_changes=True, rehearse=0), tmp_path, "worker-1", "a:1", ["b:2"]
    )
    assert {
        name: loose.get(name) for name in ("PANGEA_ALLOW_NONDETERMINISM", "PANGEA_TAKE_CHANGES", "PANGEA_REHEARSE")
    } == {
        "PANGEA_ALLOW_NONDETERMINISM": "1",
        "PANGEA_TAKE_CHANGES": "1",
        "PANGEA_REHEARSE": "0",
    }


def test_workers_learn_the_dataset_that_the_user_chose_in_a_new_run(tmp_path: Path) -> None:
    def variables(dataset: str) -> dict[str, str]:
        return worker_environment(Settings(Path("s.py"), dataset=dataset), tmp_path, "worker-1", "a:1", [])

    assert "PANGEA_DATASET" not in variables(Settings.dataset)
    assert variables("stdlib")["PANGEA_DATASET"] == "stdlib"
    (tmp_path / "ledger.jsonl").touch()
    assert "PANGEA_DATASET" not in variables("stdlib"), "a run of an earlier release, which ignored it, can be resumed"
