"""Collects a shard's contribution to a step, and writes the sum of all shards back to the model.

A contribution is sent as a flat vector, float32: [gradients of the trainable parameters in model order][1 for each of
them that has a gradient, else 0][changes of the buffers]. The tensors that autograd made for the gradients are its
first parts; the rest is one part. On an accelerator all are one vector. A gradient in bfloat16 is a float32 without
loss, a complex one is two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch

from pangea import _native
from pangea.errors import BrokenPromise
from pangea.training.backward import backward
from pangea.training.buffers import Buffers
from pangea.training.contribution import Contribution
from pangea.training.device_sums import DeviceLayout
from pangea.training.devices.choose import device_of
from pangea.training.devices.device import Device
from pangea.training.hashing import content_hash, tensor_bytes
from pangea.training.layouts import gradient_for, real_shape
from pangea.training.mean import MeanGradient
from pangea.training.ownership import flat_gradients, take_gradients
from pangea.training.sums import GradientSum, Layout
from pangea.training.supported import refuse_unsupported
from pangea.training.tensors import UnsupportedModel, tensor_slots
from pangea.training.watch import ParameterWatch

__all__ = ["Parameters", "UnsupportedModel"]

USED = "pangea.used"


class Parameters:
    """A model's state as a run sees it: trainable parameters in the order of `named_parameters`, then buffers.

    Args:
        model: on one device, with at least one trainable parameter; see `refuse_unsupported`.
        modes: of its buffers; see `Buffers`.
        device: of the model; default: found out.
    Raises:
        UnsupportedModel: naming the tensor.
    """

    def __init__(
        self, model: torch.nn.Module, modes: Mapping[str, str] | None = None, device: Device | None = None
    ) -> None:
        refuse_unsupported(model)
        self.model = model
        self.device = device_of(model.parameters()) if device is None else device
        self.trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._frozen = {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
        self.buffers = Buffers(model, modes)
        self.watch = ParameterWatch([slot for slot, _ in tensor_slots(model, "_parameters")])
        # If set, called with the message of a broken promise instead of raising it (--allow-nondeterminism).
        self.on_broken_promise: Callable[[str], None] | None = None
        self._shapes = [real_shape(parameter) for parameter in self.trainable.values()]
        sizes = [shape.numel() for shape in self._shapes]
        self._gradients = sum(sizes)
        self._layout = self._layout_of([*sizes, len(self.trainable) + self.buffers.elements])
        # The result of `memory` and where its tensors are: views are made again only when one has moved.
        self._places: list[tuple[int, int]] = []
        self._memory: list[memoryview] = []
        self._copies: list[torch.Tensor] | None = None  # of an accelerator's tensors, for `memory`
        self.elements = self._layout.elements
        self._last_used: list[bool] = []
        self._last_flags = torch.empty(0)
        self._mean = MeanGradient(self._shapes, self.device)

    def _layout_of(self, sizes: Sequence[int]) -> Layout:
        return DeviceLayout(self.device, sum(sizes)) if self.device.computes_ahead else Layout(sizes)

    def specs(self) -> list[tuple[str, Literal["float32"], tuple[int, ...]]]:
        """Returns (name, dtype, shape) of each part of the flat vector."""
        shapes = [(name, tuple(shape)) for name, shape in zip(self.trainable, self._shapes, strict=True)]
        return [(name, "float32", shape) for name, shape in [*shapes, (USED, (len(shapes),)), *self.buffers.shapes()]]

    def hash(self, method: _native.ContentHash = "xxh3Tree") -> bytes:
        """Returns the content hash of all trainable parameters, then all buffers, by the run's `method`."""
        return content_hash(self.device.to_host(self._hashed()).wait(), method)

    def memory(self) -> tuple[list[memoryview], Callable[[], None] | None]:
        """Returns the bytes that `hash` is taken over: of a contiguous tensor of the CPU its own, else a copy.

        Those of an accelerator are complete when the function was called that is returned with them. They may be used
        until the next call.
        """
        tensors = self._hashed()
        if self.device.computes_ahead:
            copy = self.device.to_host(tensors, self._copies)
            if self._copies is None:
                self._copies, self._memory = copy.tensors, [tensor_bytes(tensor) for tensor in copy.tensors]
            return self._memory, copy.arrived
        if not all(tensor.is_contiguous() for tensor in tensors):
            return [tensor_bytes(tensor) for tensor in tensors], None
        places = [(tensor.data_ptr(), tensor.nbytes) for tensor in tensors]
        if places != self._places:
            self._places, self._memory = places, [tensor_bytes(tensor) for tensor in tensors]
        return self._memory, None

    def _hashed(self) -> list[torch.Tensor]:
        return [*self.trainable.values(), *(buffer for _, buffer in self.model.named_buffers())]

    def clear_gradients(self) -> None:
        """Drops the gradients left by backward."""
        for parameter in self.trainable.values():
            parameter.grad = None

    def record_baseline(self) -> None:
        """Makes the current values those of the run: after loading a snapshot, or after a step."""
        self.clear_gradients()
        self.buffers.record_baseline()
        self.watch.record_baseline()

    def begin_shard(self) -> None:
        """Resets the buffers to the start of the step. Call it before the forward pass.

        Raises:
            BrokenPromise: naming a buffer that the script has changed since the last pass.
        """
        try:
            self.buffers.check_untouched()
        except BrokenPromise as error:
            if self.on_broken_promise is None:
                raise
            self.on_broken_promise(str(error))
        self.buffers.reset()

    def zero_sum(self) -> GradientSum:
        """Returns the contribution of a shard without samples."""
        return self._layout.zeros()

    def gradient_sum(self, loss: torch.Tensor, samples: int, weight: float | None = None) -> GradientSum:
        """Runs backward, and returns the contribution of a shard.

        It has the gradient of the loss times its weight, which parameters have a gradient, and the changes of the
        buffers.

        Args:
            loss: scalar.
            samples: in the shard, at least 1.
            weight: the factor of the loss; if 0, nothing in the shard counts and the gradient is all zeros. Default:
                the samples.
        Raises:
            UnsupportedModel: naming the tensor.
            BrokenPromise: naming what the script has changed.
        """
        gradients = self.gradients_of(loss, samples if weight is None else weight)
        return self.contribution(gradients, samples).arrived()[0]

    def gradients_of(
        self, loss: torch.Tensor, weight: float, only: Sequence[torch.nn.Parameter] | None = None
    ) -> list[torch.Tensor | None]:
        """Runs backward, and returns the gradients of the loss times its weight, in memory that nobody else uses.

        Args:
            loss: scalar.
            weight: the factor of the loss; if 0, there are no gradients.
            only: parameters that get gradients; default: all.
        """
        self.clear_gradients()
        if weight != 0:
            backward(loss, weight, None if only is None else [one for one in only if one.requires_grad])
        self.check("pass", bytes_too=self.watch.in_full)
        if self.device.computes_ahead:
            return flat_gradients(self.trainable)
        return take_gradients(self.trainable)

    def contribution(
        self, gradients: Sequence[torch.Tensor | None], samples: int, losses: Sequence[torch.Tensor | float] = ()
    ) -> Contribution:
        """Returns the contribution of a shard with these gradients and losses, and with the changes of the buffers.

        Args:
            gradients: as `gradients_of` returned them.
            samples: of the shard.
            losses: scalars, float64, on the device.
        """
        rest = self._used_flags([gradient is not None for gradient in gradients])
        self.buffers.write_change(samples, rest[len(self.trainable) :])
        self.buffers.reset()
        parts = [*gradients, rest]
        if not self.device.computes_ahead:
            return Contribution(GradientSum(self._layout, parts), [float(loss) for loss in losses])
        copies = self.device.to_host([torch.as_tensor(loss) for loss in losses])
        return Contribution(GradientSum(self._layout, [self._in_one_vector(parts)]), copies)

    def _in_one_vector(self, parts: Sequence[torch.Tensor | None]) -> torch.Tensor:
        sizes, device = [*(shape.numel() for shape in self._shapes), 0], self.device.torch_device
        return torch.cat(
            [
                torch.zeros(size, device=device) if part is None else part.reshape(-1)
                for part, size in zip(parts, sizes, strict=True)
            ]
        )

    def _used_flags(self, used: list[bool]) -> torch.Tensor:
        """Returns the part behind the gradients: which parameters have one, and undefined changes of the buffers."""
        if used != self._last_used:
            self._last_used = used
            flags = torch.zeros(len(used) + self.buffers.elements, dtype=torch.float32)
            flags[: len(used)] = torch.tensor(used)
            self._last_flags = self.device.place(flags)
        # Usually those of the shard before: a clone takes a third of the time.
        return self._last_flags.clone()

    def check(self, where: str, *, bytes_too: bool = False) -> None:
        """Checks that the script has not changed what only the run may change.

        Args:
            where: "pass" (forward or backward) or "loop": where a change would have been made.
            bytes_too: compare checksums as well, which costs time.
        Raises:
            BrokenPromise: naming the change, and what to write instead.
        """
        try:
            self._check(where, bytes_too)
        except BrokenPromise as error:
            if self.on_broken_promise is None:
                raise
            self.on_broken_promise(str(error))
            self.watch.record_baseline()

    def _check(self, where: str, bytes_too: bool) -> None:
        self.watch.check(where, bytes_too=bytes_too)
        self.buffers.check()
        for name, parameter in self._frozen.items():
            if parameter.requires_grad:
                raise BrokenPromise(
                    f"the parameter {name} was frozen when the model joined and is trainable now; join with all"
                    " parameters trainable, and freeze it in the loop as a function of the step, before the forward"
                    " pass: parameter.requires_grad_(batch.step >= 100)"
                )

    def begin_step(self, total: torch.Tensor, samples: int, divisor: float | None = None) -> None:
        """Updates the buffers, and sets every parameter's `grad` to the gradient of the step's loss.

        Call `end_step` after the optimizer's step. A parameter that no shard used has no gradient (None), as if one
        process had computed the whole batch.

        Args:
            total: flat float32 [elements], the sum over all shards; overwritten, and in use until `end_step`.
            samples: of the step.
            divisor: of the gradients; 0 if all weights are 0, and then so are the gradients. Default: the samples.
        Raises:
            BrokenPromise: naming what the script has changed.
        """
        self.check("loop", bytes_too=True)
        gradients = self._mean.of(total[: self._gradients], samples if divisor is None else divisor)
        used = total[self._gradients : self._gradients + len(self.trainable)].tolist()
        for parameter, gradient, times in zip(self.trainable.values(), gradients, used, strict=True):
            parameter.grad = gradient_for(parameter, gradient) if times else None
        if self.buffers.elements:
            self.buffers.apply(self.device.place(total[self._gradients + len(self.trainable) :]), samples)
        else:
            self.buffers.reset()

    def end_step(self) -> None:
        """Accepts the parameters after the optimizer's step."""
        self.record_baseline()
