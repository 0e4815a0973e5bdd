"""With any optimizer, schedule and model, several workers get the bits of one in every step, and train like torch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from pangea.training.gradients import Parameters
from pangea.training.hashing import tensors_hash
from pangea.training.optimizer import Training, UnsupportedOptimizer
from pangea.training.simulated import Build, add_up, assert_same_bits, mean_square
from pangea.training.snapshot import BadSnapshot, Position
from pangea.training.tree import merge

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "Adadelta": lambda parameters: torch.optim.Adadelta(parameters),
    "Adafactor": lambda parameters: torch.optim.Adafactor(parameters),
    "Adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr_decay=0.01),
    "Adam": lambda parameters: torch.optim.Adam(parameters, weight_decay=0.01),
    "Adam with amsgrad": lambda parameters: torch.optim.Adam(parameters, amsgrad=True),
    "Adam, fused": lambda parameters: torch.optim.Adam(parameters, fused=True),
    "Adam with a tensor as rate": lambda parameters: torch.optim.Adam(parameters, lr=torch.tensor(0.01), foreach=False),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters),
    "Adamax": lambda parameters: torch.optim.Adamax(parameters),
    "ASGD": lambda parameters: torch.optim.ASGD(parameters, t0=2),
    "NAdam": lambda parameters: torch.optim.NAdam(parameters),
    "RAdam": lambda parameters: torch.optim.RAdam(parameters),
    "RMSprop": lambda parameters: torch.optim.RMSprop(parameters, momentum=0.5, centered=True),
    "Rprop": lambda parameters: torch.optim.Rprop(parameters),
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "SGD with momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, dampening=0.1),
    "SGD, nesterov": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
}
SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]] = {
    "ChainedScheduler": lambda optimizer: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(optimizer, 0.5, 3), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    ),
    "CosineAnnealingLR": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 6),
    "CosineAnnealingWarmRestarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2),
    "CyclicLR": lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.001, 0.1, step_size_up=3),
    "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "LinearLR": lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.3, total_iters=20),
    "MultiStepLR": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [2, 4]),
    "MultiplicativeLR": lambda optimizer: lr_scheduler.MultiplicativeLR(optimizer, lambda step: 0.9),
    "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20),
    "PolynomialLR": lambda optimizer: lr_scheduler.PolynomialLR(optimizer, 10),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3), lr_scheduler.CosineAnnealingLR(optimizer, 8)],
        [3],
    ),
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 2),
}


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3))


def built(
    optimizer: str,
    scheduler: str | None = None,
    clip_norm: float | None = None,
    model: Callable[[], nn.Module] = network,
) -> Build:
    def build() -> Training:
        made = model()
        chosen = OPTIMIZERS[optimizer](made.parameters())
        return Training(Parameters(made), chosen, SCHEDULERS[scheduler](chosen) if scheduler else None, clip_norm)

    return build


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name: str) -> None:
    if name == "Adafactor" and not hasattr(torch.optim, name):
        pytest.skip("this torch has no Adafactor")
    workers = assert_same_bits(built(name), 7).workers
    position = Position(7, 11, 8, 24)
    assert workers[0].encode(position) == workers[3].encode(position), "the late joiner's state differs"


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler(name: str) -> None:
    workers = assert_same_bits(built("SGD with momentum", name), 7).workers
    rates = [[group["lr"] for group in worker.optimizer.param_groups] for worker in workers]
    assert rates[0] == rates[1] == rates[3]
    assert rates[0] != [group["lr"] for group in built("SGD with momentum")().optimizer.param_groups], (
        "the scheduler was not stepped"
    )
    position = Position(7, 11, 8, 24)
    assert workers[0].encode(position) == workers[3].encode(position), "the late joiner's state differs"


def test_reduce_on_plateau_gets_the_mean_loss_of_the_step() -> None:
    build = built("SGD", "ReduceLROnPlateau")
    training = build()
    training.apply(torch.zeros(training.parameters.elements), 4, 10.0)
    assert isinstance(training.scheduler, lr_scheduler.ReduceLROnPlateau)
    assert training.scheduler.best == 2.5


def test_clipping_bounds_the_global_norm_of_the_whole_steps_gradient() -> None:
    assert_same_bits(built("SGD", clip_norm=0.01), 6)
    training, free = built("SGD", clip_norm=0.5)(), built("SGD")()
    before = [parameter.detach().clone() for parameter in free.parameters.trainable.values()]
    flat = torch.ones(training.parameters.elements)
    training.apply(flat.clone(), 2, 0.0)
    moved = torch.cat(
        [(old - new).reshape(-1) for old, new in zip(before, training.parameters.trainable.values(), strict=True)]
    )
    torch.testing.assert_close(moved.norm().item(), 0.1 * 0.5, rtol=1e-4, atol=0)


def accumulated(model: nn.Module, parts: list[torch.Tensor], total: int) -> None:
    """Accumulates gradients as scripts without Pangea do."""
    for x in parts:
        (mean_square(model, x) * len(x) / total).backward()  # type: ignore[no-untyped-call]


def plain() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))


def test_a_step_equals_gradient_accumulation_in_torch() -> None:
    # Two micro-batches with 16 samples in total: torch adds them in the order of the tree, and division by 16 is exact,
    # before or after the sum.
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(3))
    model = plain()
    optimizer = torch.optim.AdamW(model.parameters())
    accumulated(model, [x[:8], x[8:]], 16)
    optimizer.step()
    training = built("AdamW", model=plain)()
    sums = {
        shard: training.parameters.gradient_sum(mean_square(training.parameters.model, part), 8).flat()
        for shard, part in enumerate((x[:8], x[8:]))
    }
    training.apply(add_up(merge(sums, torch.add)), 16, 0.0)
    assert tensors_hash(training.parameters.model.parameters()) == tensors_hash(model.parameters())


def test_with_more_micro_batches_only_the_order_of_additions_differs_from_accumulation_in_torch() -> None:
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(3))
    parts = list(torch.split(x, 4))
    training, model = built("SGD", model=plain)(), plain()
    sums = {
        shard: training.parameters.gradient_sum(mean_square(training.parameters.model, part), 4).flat()
        for shard, part in enumerate(parts)
    }

    def in_tree_order(first: int, count: int) -> list[torch.Tensor]:
        if count == 1:
            model.zero_grad()
            accumulated(model, [parts[first]], 32)
            return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
        left, right = in_tree_order(first, count // 2), in_tree_order(first + count // 2, count // 2)
        return [a + b for a, b in zip(left, right, strict=True)]

    gradients = in_tree_order(0, 8)
    model.zero_grad()
    accumulated(model, parts, 32)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient)
        parameter.grad = gradient
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    training.apply(add_up(merge(sums, torch.add)), 32, 0.0)
    assert tensors_hash(training.parameters.model.parameters()) == tensors_hash(model.parameters())


class Branching(nn.Module):
    """A model that uses one of two branches, depending on the input, and has a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.frozen = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 2)
        self.never = nn.Parameter(torch.ones(3))
        self.frozen.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.frozen(self.left(x) if x[0, 0] > 0 else self.right(x))
        return output


def branching() -> nn.Module:
    torch.manual_seed(4)
    return Branching()


def test_parameters_that_are_used_by_only_some_shards() -> None:
    workers = assert_same_bits(built("AdamW", model=branching), 7).workers
    model = workers[0].parameters.model
    assert isinstance(model, Branching)
    assert torch.equal(model.never, torch.ones(3)), "a parameter without a gradient must not even decay"
    assert model.never not in workers[0].optimizer.state
    assert tensors_hash(model.frozen.parameters()) == tensors_hash(branching().get_submodule("frozen").parameters())


def test_a_parameter_that_no_shard_uses_stays_unchanged_as_in_one_process() -> None:
    """AdamW decays and moves a parameter with a zero gradient, but not one without a gradient."""
    x = torch.randn(4, 6)
    x[0, 0] = 1.0  # left
    model = branching()
    optimizer = torch.optim.AdamW(model.parameters())
    training = built("AdamW", model=branching)()
    for used in (x, -x, x):
        optimizer.zero_grad()
        (mean_square(model, used) * 4).backward()  # type: ignore[no-untyped-call]
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(4)
        optimizer.step()
        training.apply(training.parameters.gradient_sum(mean_square(training.parameters.model, used), 4).flat(), 4, 0.0)
        assert tensors_hash(training.parameters.model.parameters()) == tensors_hash(model.parameters())


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.second(self.first(x).tanh())
        return output


def tied() -> nn.Module:
    torch.manual_seed(5)
    return Tied()


def test_tied_weights_are_one_parameter_and_stay_tied_in_a_late_joiner() -> None:
    for worker in assert_same_bits(built("Adam", model=tied), 5).workers:
        model = worker.parameters.model
        assert isinstance(model, Tied)
        assert model.first.weight is model.second.weight
        assert len(worker.parameters.trainable) == 3


def test_parameter_groups_with_different_settings() -> None:
    def build() -> Training:
        model = network()
        decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in model.parameters() if parameter.ndim == 1]
        groups: list[dict[str, Any]] = [{"params": others, "weight_decay": 0.0, "lr": 0.1}, {"params": decayed}]
        optimizer = torch.optim.AdamW(groups)
        return Training(
            Parameters(model),
            optimizer,
            lr_scheduler.LambdaLR(optimizer, [lambda step: 1 / (1 + step), lambda _: 0.5]),
            1.0,
        )

    assert_same_bits(build, 6)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (lambda model: torch.optim.LBFGS(model.parameters()), "LBFGS cannot train in a run: .*closure.*use AdamW"),
        (
            lambda model: torch.optim.SparseAdam(list(model.parameters())),
            "SparseAdam cannot train in a run: .*sparse=False and use Adam",
        ),
        (
            lambda model: torch.optim.SGD([*model.parameters(), nn.Parameter(torch.ones(7))]),
            r"group 0 of the optimizer holds a parameter \(7,\) that does not belong to the model",
        ),
    ],
)
def test_an_optimizer_that_cannot_be_used_is_refused_by_name(
    optimizer: Callable[[nn.Module], torch.optim.Optimizer], message: str
) -> None:
    model = plain()
    with pytest.raises(UnsupportedOptimizer, match=message):
        Training(Parameters(model), optimizer(model))


class Twice(torch.optim.SGD):
    """Computes the loss twice in a step, as SAM does."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        assert closure is not None, "SAM requires closure"


def test_an_optimizer_that_computes_the_loss_again_is_refused_by_name() -> None:
    model = plain()
    training = Training(Parameters(model), Twice(model.parameters(), lr=0.1))
    with pytest.raises(UnsupportedOptimizer, match=r"Twice cannot train in a run: .* \(SAM requires closure\)"):
        training.apply(torch.zeros(training.parameters.elements), 4, 1.0)


def test_a_scheduler_of_another_optimizer_is_refused() -> None:
    model = plain()
    optimizer, other = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
    with pytest.raises(UnsupportedOptimizer, match="StepLR was built for another optimizer"):
        Training(Parameters(model), optimizer, lr_scheduler.StepLR(other, 2))


class Odd:
    """A type that JSON cannot represent."""


def test_state_that_cannot_be_sent_is_refused_at_the_start_by_name() -> None:
    model = plain()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    scheduler.gamma = Odd()  # type: ignore[assignment]
    with pytest.raises(BadSnapshot, match=r"scheduler\.gamma is a Odd"):
        Training(Parameters(model), optimizer, scheduler)
    optimizer.param_groups[0]["note"] = [1.0, Odd()]
    with pytest.raises(BadSnapshot, match=r"optimizer\.param_groups\.0\.note\.1 is a Odd"):
        Training(Parameters(model), optimizer)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_clip_norm_must_be_above_zero(bound: float) -> None:
    with pytest.raises(ValueError, match="clip_norm"):
        built("SGD", clip_norm=bound)()


def adversaries() -> nn.Module:
    torch.manual_seed(6)
    return nn.ModuleDict({"one": nn.Linear(6, 3), "two": nn.Linear(6, 3)})


def in_turn(kind: Callable[..., torch.optim.Optimizer], clip_norm: float | None = None) -> Build:
    """Builds a model with two optimizers, the second with a scheduler."""

    def build() -> Training:
        model = adversaries()
        optimizers = [kind(model.get_submodule(name).parameters(), lr=0.1) for name in ("one", "two")]
        return Training(Parameters(model), optimizers, lr_scheduler.StepLR(optimizers[1], 1), clip_norm)

    return build


def of_two(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Computes a loss that has one part or the other."""
    return mean_square(model.get_submodule("one" if x.sum() > 0 else "two"), x)


@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_several_optimizers_with_one_loss(clip_norm: float | None) -> None:
    workers = assert_same_bits(in_turn(torch.optim.Adam, clip_norm), 6, of_two).workers
    position = Position(6, 11, 8, 24)
    assert workers[0].encode(position) == workers[3].encode(position), "the late joiner's state differs"


def test_of_several_optimizers_only_those_with_a_gradient_make_a_step() -> None:
    training, x = in_turn(torch.optim.SGD)(), torch.ones(2, 6)
    model, first = training.parameters.model, training.optimizers[0]
    own = [parameter for group in first.param_groups for parameter in group["params"]]
    total = mean_square(model.get_submodule("one"), x) + mean_square(model.get_submodule("two"), x)
    before = [parameter.detach().clone() for parameter in model.get_submodule("two").parameters()]
    gradients = training.parameters.gradients_of(total, 2.0, own)
    training.apply(training.parameters.contribution(gradients, 2).arrived()[0].flat(), 2, 0.0)
    assert all(map(torch.equal, before, model.get_submodule("two").parameters()))
    assert not torch.equal(model.get_parameter("one.weight"), adversaries().get_parameter("one.weight"))
    assert training.schedulers[1] is not None and training.schedulers[1].last_epoch == 0, "it was stepped"


def test_a_bound_holds_for_each_of_several_optimizers() -> None:
    training, x = in_turn(torch.optim.SGD, clip_norm=0.5)(), 100 * torch.ones(2, 6)
    model = training.parameters.model
    before = [parameter.detach().clone() for parameter in model.parameters()]
    loss = sum(mean_square(part, x) for part in model.children())
    assert isinstance(loss, torch.Tensor)
    training.apply(training.parameters.gradient_sum(loss, 2).flat(), 2, 0.0)
    moved = [(old - new).detach().flatten() for old, new in zip(before, model.parameters(), strict=True)]
    for part in (moved[:2], moved[2:]):
        torch.testing.assert_close(torch.cat(part).norm().item(), 0.1 * 0.5, rtol=1e-3, atol=0)


def test_several_optimizers_that_do_not_fit_are_refused_by_name() -> None:
    model = adversaries()
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2)]
    with pytest.raises(UnsupportedOptimizer, match=r"the parameter (one|two)\.\w+ belongs to two optimizers"):
        Training(Parameters(model), optimizers)
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in model.children()]
    with pytest.raises(UnsupportedOptimizer, match="give each a scheduler"):
        Training(Parameters(model), optimizers, rate=lambda _: 0.1)
    schedulers = [lr_scheduler.StepLR(optimizers[0], 1) for _ in range(2)]
    with pytest.raises(UnsupportedOptimizer, match="second scheduler of its optimizer"):
        Training(Parameters(model), optimizers, schedulers)
    two = in_turn(torch.optim.SGD)()
    one = Training(Parameters(made := adversaries()), torch.optim.SGD(made.parameters(), lr=0.1))
    with pytest.raises(BadSnapshot, match="2 optimizers, but this worker has 1"):
        one.load(two.encode(Position(0, 1, 1, 1)))
