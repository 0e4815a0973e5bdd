"""Two workers have equal descriptions exactly if they change parameters in the same way."""

import json

import torch
from torch import nn
from torch.optim import lr_scheduler

from pangea.training.description import describe_training, differing_settings, same_structure


def described(
    lr: float = 0.1,
    momentum: float = 0.9,
    kind: type[torch.optim.Optimizer] = torch.optim.SGD,
    clip_norm: float | None = None,
    parameters: int = 2,
) -> str:
    model = nn.Linear(2, 2)
    settings = {"lr": lr, "momentum": momentum} if kind is torch.optim.SGD else {"lr": lr}
    optimizer = kind(list(model.parameters())[:parameters], **settings)  # type: ignore[arg-type]
    return describe_training([optimizer], [lr_scheduler.StepLR(optimizer, 3)], clip_norm, None)


def test_whatever_affects_a_step_changes_the_description() -> None:
    assert described() == described()
    assert (
        len(
            {
                described(),
                described(lr=0.05),
                described(momentum=0.5),
                described(clip_norm=1.0),
                described(kind=torch.optim.Adam),
            }
        )
        == 5
    )
    assert json.loads(described())["groups"][0]["lr"] == "0.1"


def test_settings_that_differ_are_named_where_the_state_fits() -> None:
    assert differing_settings(described(), described(lr=0.05, momentum=0.5)) == [["initial_lr", "lr", "momentum"]]
    assert same_structure(described(), described(lr=0.05))
    assert not same_structure(described(), described(kind=torch.optim.Adam))
    assert not same_structure(described(), described(parameters=1))


def test_a_hash_replaces_thousands_of_groups() -> None:
    def many(last: float) -> str:
        parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2000)]
        groups = [{"params": [parameter], "lr": 0.1} for parameter in parameters]
        groups[-1]["lr"] = last
        return describe_training([torch.optim.AdamW(groups)], [None], None, None)

    assert len(many(0.1).encode()) < 65_536
    assert many(0.1) == many(0.1) != many(0.2)


def test_a_worker_on_another_device_trains_differently() -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    on_cpu, on_gpu = (describe_training([optimizer], [None], None, None, device) for device in ("cpu", "cuda"))
    assert "device" not in json.loads(on_cpu) and json.loads(on_gpu)["device"] == "cuda"
