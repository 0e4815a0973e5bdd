"""What would make the result depend on the number of workers is refused in the first steps.

The message names the line of the script and what to write instead.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.cluster import cluster
from tests.harness.command import pangea
from tests.harness.run_files import RunFiles

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
    """The parts that make a script different, and the message that it is refused with."""

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
TWO = """model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Linear(16, 10))
optimizer = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (model[1], model[2])]
"""

MASKED = """model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
model.register_buffer("mask", torch.ones(10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""
TWICE = """class Twice(torch.optim.SGD):
    def step(self, closure=None):
        assert closure is not None, "needs a closure"
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
optimizer = Twice(model.parameters(), lr=0.1)
"""
TEACHER = """import copy
teacher = copy.deepcopy(model)
@run.after_step
def follow(_):
    with torch.no_grad():
        for mine, its in zip(teacher.parameters(), model.parameters()):
            mine.lerp_(its, 0.1)
"""

SCRIPTS = {
    "a teacher that is in no checkpoint": Script(
        "the function of run.after_step (train.py, line 11) changes teacher.1.weight, which is in no checkpoint: a"
        " worker that joins late, or a run that is resumed, would begin with a different one. Give it to"
        " run.after_step(fn, state={'teacher': teacher})",
        loop=TEACHER + LOOP,
    ),
    "a buffer that is changed in the loop": Script(
        "the buffer mask was changed in the loop, outside of the forward pass of a batch",
        model=MASKED,
        loop=LOOP + "    model.mask.mul_(0.5)\n",
    ),
    "an optimizer that computes the loss again": Script(
        "Twice cannot train in a run: it computes the loss several times within a step (needs a closure)", model=TWICE
    ),
    "a rate that is set in the loop": Script(
        "the learning rate of the optimizer's group 0 was changed in the loop, from 0.1 to 0.05; give pangea.join a"
        " scheduler, or rate=lambda step",
        loop=LOOP + "    optimizer.param_groups[0]['lr'] = 0.05\n",
    ),
    "a scheduler's step": Script(
        "line 11: ExponentialLR.step() was called by the script; give the scheduler to pangea.join",
        before="scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)\n",
        loop=LOOP.replace("batches():\n", "batches():\n    scheduler.step()\n"),
    ),
    "the optimizer's step": Script(
        "line 11: optimizer.step() was called by the script", loop=LOOP + "    optimizer.step()\n"
    ),
    "backward": Script(
        "line 11: the script called loss.backward() before run.step(loss)",
        loop=LOOP.replace("run.step(", "loss = ").replace(
            ", batch.y))", ", batch.y); loss.backward()\n    run.step(loss)"
        ),
    ),
    "clipping of gradients": Script(
        "line 11: clip_grad_norm_() was called by the script",
        loop=LOOP + "    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n",
    ),
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
        "the parameter 1.weight was changed in the forward or backward pass; build it into the model"
        " (torch.nn.utils.parametrize)",
        model=RENORMALISED,
    ),
    "an average in the loop": Script(
        "line 12: AveragedModel.update_parameters() was called in the loop",
        before="average = AveragedModel(model)\n",
        loop=LOOP + "    average.update_parameters(model)\n",
    ),
    "a state that is carried on": Script(
        "depends on what was computed before it, so the result would depend on the number of workers", model=HIDDEN
    ),
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
        loop=LOOP.replace(
            "batches():\n",
            "batches():\n    if batch.epoch != epoch:\n        epoch = batch.epoch\n        torch.rand(3)\n",
        ),
    ),
    "a scaled loss": Script(
        "line 11: GradScaler.scale() was called by the script",
        before="scaler = torch.amp.GradScaler('cpu')\n",
        loop=LOOP.replace("run.step(", "run.step(scaler.scale(").replace("batch.y))", "batch.y)))"),
    ),
    "a layer that is trained later": Script(
        "was frozen when the model joined and is trainable now; join with all parameters trainable",
        model=MODEL.replace(
            "nn.Linear(64, 10))", "nn.Linear(64, 16), nn.Linear(16, 10))\nmodel[1].requires_grad_(False)"
        ),
        loop=LOOP.replace("batches():\n", "batches():\n    model[1].requires_grad_(batch.step > 0)\n"),
    ),
    "two losses for one optimizer": Script(
        "run.step was called twice for optimizer 0 and one batch",
        model=TWO,
        loop=LOOP.replace("batch.y))", "batch.y), optimizer=optimizer[0])").replace(
            "    run", "    for _ in range(2):\n        run"
        ),
    ),
    "an optimizer for some shards": Script(
        "has losses for other optimizers than the shard before",
        model=TWO,
        loop="for batch in run.batches():\n    run.step(model(batch.x).mean(), optimizer=optimizer[batch.shard % 2])\n",
    ),
    "a loss that is not a number": Script(
        "the loss of shard 0 of step 0 is nan, after 0 complete steps. Lower the learning rate",
        loop=LOOP.replace("run.step(", "run.step(float('nan') * "),
    ),
    "a second pass": Script("Write `for epoch in run.epochs(): for batch in run.batches(): ...`", loop=LOOP + LOOP),
    "a loss for no batch": Script(
        "line 11: run.step was called without a current batch", loop=LOOP + "    run.step(model(batch.x).mean())\n"
    ),
    "no loss for a batch": Script(
        "run.step was not called for shard 0 of step 0", loop="for batch in run.batches():\n    pass\n"
    ),
}


def write(name: str, folder: Path) -> Path:
    """The whole script of this name."""
    script, file = SCRIPTS[name], folder / "train.py"
    file.write_text(HEAD + script.model + script.before + JOIN + script.loop + FINISH)
    return file


def check(name: str, said: str, run: RunFiles) -> None:
    """What was said names the line and the cause, and nothing was trained."""
    assert "Traceback" not in said
    assert re.search(r"train\.py, line \d+: ", said), said
    assert SCRIPTS[name].message in said, said
    if name != "a second pass":
        assert not (run.run_dir / "final.safetensors").exists()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_worker_refuses(name: str, tmp_path: Path) -> None:
    # The orchestrator logs what the script has done as an error.
    with cluster(tmp_path, epochs=1, batch_size=64, errors=[SCRIPTS[name].message]) as run:
        worker = run.start_worker("worker-1", script=write(name, tmp_path))
        run.wait_exit("worker-1", code=1)
    check(name, "\n".join(worker.output()), run)


# Every worker checks for itself, so a few scripts stand for all.
@pytest.mark.parametrize(
    "name", ["a rate that is set in the loop", "a generator", "a norm that the forward pass keeps"]
)
def test_the_command_passes_on_what_several_workers_refuse(name: str, tmp_path: Path) -> None:
    write(name, tmp_path)
    ended = pangea(tmp_path, "train", "train.py", "--workers", "3", "--epochs", "1", "--run-dir", "run")
    assert ended.returncode == 1, ended.stderr
    check(name, ended.stdout + ended.stderr, RunFiles(tmp_path / "run"))


@pytest.mark.parametrize("name", ["clipping of weights", "a generator", "the optimizer's step"])
def test_an_option_waives_the_promise_and_the_run_records_it(name: str, tmp_path: Path) -> None:
    write(name, tmp_path)
    ended = pangea(
        tmp_path, "train", "train.py", "--workers", "1", "--epochs", "1", "--run-dir", "run", "--allow-nondeterminism"
    )
    assert ended.returncode == 0, ended.stderr
    notices = (tmp_path / "run" / "logs").glob("*.notices.jsonl")
    assert SCRIPTS[name].message in "".join(file.read_text() for file in notices)
