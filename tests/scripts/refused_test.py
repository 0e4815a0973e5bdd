"""What would make the result depend on the number of workers is refused in the first steps: in a sentence, with the line of the script and what to write instead."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.command import pangea

HEAD = """import torch, pangea
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
pangea.seed_everything()
"""
MODEL = """model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""
JOIN = """run = pangea.join(model, optimizer)
"""
LOOP = """for batch in run.batches():
    run.step(F.cross_entropy(model(batch.x), batch.y))
"""
FINISH = "run.finish()\n"


@dataclass(frozen=True)
class Script:
    """The parts of a script that are its own, and what it is told."""

    message: str
    model: str = MODEL
    before: str = ""
    loop: str = LOOP


HIDDEN = """class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.last = nn.Linear(64, 10), None
    def forward(self, x):
        y = self.inner(x.flatten(1))
        if self.last is not None:
            y = y + 0.1 * self.last
        self.last = y.detach().mean(0)
        return y
model = Remembering()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""
RENORMALISED = """class MaxNorm(nn.Linear):
    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=0.25)
        return super().forward(x)
model = nn.Sequential(nn.Flatten(), MaxNorm(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""

SCRIPTS = {
    "a rate that is set in the loop": Script(
        "the learning rate of the optimizer's group 0 was changed in the loop, from 0.1 to 0.05; give pangea.join a scheduler, or rate=lambda step",
        loop=LOOP + "    optimizer.param_groups[0]['lr'] = 0.05\n",
    ),
    "a scheduler's step": Script(
        "line 11: ExponentialLR.step() was called by the script; give the scheduler to pangea.join",
        before="scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)\n",
        loop=LOOP.replace("batches():\n", "batches():\n    scheduler.step()\n"),
    ),
    "the optimizer's step": Script("line 11: optimizer.step() was called by the script", loop=LOOP + "    optimizer.step()\n"),
    "backward": Script(
        "line 11: the script called loss.backward() before run.step(loss)",
        loop=LOOP.replace("run.step(", "loss = ").replace(", batch.y))", ", batch.y); loss.backward()\n    run.step(loss)"),
    ),
    "clipping of gradients": Script("line 11: clip_grad_norm_() was called by the script", loop=LOOP + "    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"),
    "clipping of weights": Script(
        "the parameter 1.weight was changed in the loop, outside of the run's step; write it as run.after_step(fn)",
        loop=LOOP + "    for parameter in model.parameters():\n        parameter.data.clamp_(-0.05, 0.05)\n",
    ),
    "a second optimizer": Script(
        "the parameter 1.weight was changed in the loop",
        before="other = torch.optim.SGD(model.parameters(), lr=0.1)\n",
        loop=LOOP + "    model(batch.x).mean().backward()\n    other.step()\n",
    ),
    "a norm that the forward pass keeps": Script(
        "the parameter 1.weight was changed in the forward or backward pass; build it into the model (torch.nn.utils.parametrize)", model=RENORMALISED
    ),
    "an average in the loop": Script(
        "line 12: AveragedModel.update_parameters() was called in the loop", before="average = AveragedModel(model)\n", loop=LOOP + "    average.update_parameters(model)\n"
    ),
    "a state that is carried on": Script("depends on what was computed before it, so the result would depend on the number of workers", model=HIDDEN),
    "a generator": Script(
        "use batch.torch_generator() or batch.numpy_generator()",
        before="generator = torch.Generator().manual_seed(0)\n",
        loop=LOOP.replace("model(batch.x)", "model(batch.x + 0.3 * torch.randn(batch.x.shape, generator=generator))"),
    ),
    "python's generator": Script(
        "depends on what was computed before it",
        before="import random\ngenerator = random.Random(0)\n",
        loop=LOOP.replace("model(batch.x)", "model(batch.x * generator.random())"),
    ),
    "a draw for the first batch of an epoch": Script(
        "random numbers drawn for only some batches",
        model=MODEL.replace("nn.Linear(64, 10)", "nn.Dropout(0.5), nn.Linear(64, 10)"),
        before="epoch = -1\n",
        loop=LOOP.replace("batches():\n", "batches():\n    if batch.epoch != epoch:\n        epoch = batch.epoch\n        torch.rand(3)\n"),
    ),
    "a loss that is no number": Script(
        "the loss of shard 0 of step 0 is nan, after 0 complete steps. Lower the learning rate", loop=LOOP.replace("run.step(", "run.step(float('nan') * ")
    ),
    "a second pass": Script("write `for epoch in run.epochs(): for batch in run.batches(): ...`".replace("write", "Write"), loop=LOOP + LOOP),
    "a loss for no batch": Script("line 11: run.step was called without a current batch", loop=LOOP + "    run.step(model(batch.x).mean())\n"),
    "no loss for a batch": Script("run.step was not called for shard 0 of step 0", loop="for batch in run.batches():\n    pass\n"),
}


# Each worker looks after itself: with several, a few stand for all.
SEVERAL = ("a rate that is set in the loop", "a generator", "a norm that the forward pass keeps")


@pytest.mark.parametrize(("name", "workers"), [*((name, 1) for name in SCRIPTS), *((name, 3) for name in SEVERAL)])
def test_refused(name: str, workers: int, tmp_path: Path) -> None:
    script = SCRIPTS[name]
    (tmp_path / "train.py").write_text(HEAD + script.model + script.before + JOIN + script.loop + FINISH)
    ended = pangea(tmp_path, "train", "train.py", "--workers", str(workers), "--epochs", "1", "--run-dir", "run")
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1, said
    assert "Traceback" not in said
    assert re.search(r"train\.py, line \d+: ", said), said
    assert script.message in said, said
    if name != "a second pass":
        assert not (tmp_path / "run" / "final.safetensors").exists()


@pytest.mark.parametrize("name", ["clipping of weights", "a generator", "the optimizer's step"])
def test_going_on_without_the_promise_takes_an_option_and_is_told(name: str, tmp_path: Path) -> None:
    script = SCRIPTS[name]
    (tmp_path / "train.py").write_text(HEAD + script.model + script.before + JOIN + script.loop + FINISH)
    ended = pangea(tmp_path, "train", "train.py", "--workers", "1", "--epochs", "1", "--run-dir", "run", "--allow-nondeterminism")
    assert ended.returncode == 0, ended.stderr
    assert script.message in "".join(file.read_text() for file in (tmp_path / "run" / "logs").glob("*.notices.jsonl"))
