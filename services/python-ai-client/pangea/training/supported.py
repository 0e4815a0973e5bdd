"""Which models a run can train; the others are refused by name."""

from __future__ import annotations

import torch
from torch.nn.parameter import is_lazy

from pangea.training.devices.choose import KINDS
from pangea.training.layouts import overlaps_itself
from pangea.training.tensors import UnsupportedModel

# Gradients are added in float32, which these represent without loss.
_TRAINABLE = (torch.float32, torch.bfloat16, torch.complex64)
_ADVICE = {
    torch.float16: "float16 has too small a range for gradients; keep the parameters in float32 and compute under"
    " torch.autocast(dtype=torch.bfloat16)",
    torch.float64: "gradients are added in float32; store them with model.float()",
    torch.complex128: "gradients are added in float32; store them as complex64",
}
# Wrappers that exchange gradients by themselves, by the start of the name of their class.
_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel", "DataParallel", "DeepSpeedEngine")


def refuse_unsupported(model: torch.nn.Module) -> None:
    """Checks that a run can train the model.

    Raises:
        UnsupportedModel: naming the tensor or the wrapper, and what to do.
    """
    for prefix, module in model.named_modules():
        if type(module).__name__ in _WRAPPERS:
            raise UnsupportedModel(
                f"{prefix or 'the model'} is a {type(module).__name__}, which exchanges gradients by itself; give"
                " pangea.join the module that it wraps (model.module)"
            )
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(tensor):
            raise UnsupportedModel(
                f"{name} has no shape yet; run one batch through the model before it joins, or give"
                " pangea.join(init=...)"
            )
        if tensor.device.type not in KINDS:
            raise UnsupportedModel(f"{name} is on {tensor.device}; move the model to one of: {', '.join(KINDS)}")
    _refuse_several_devices(model)
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not trainable:
        raise UnsupportedModel("the model has no trainable parameter; check requires_grad")
    for name, parameter in trainable.items():
        _refuse_parameter(name, parameter)


def _refuse_several_devices(model: torch.nn.Module) -> None:
    first: tuple[str, torch.device] | None = None
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        first = first or (name, tensor.device)
        if tensor.device != first[1]:
            raise UnsupportedModel(
                f"{name} is on {tensor.device}, but {first[0]} is on {first[1]}; move the whole model to one device:"
                " each worker computes on one, and several workers use several"
            )


def _refuse_parameter(name: str, parameter: torch.nn.Parameter) -> None:
    if parameter.dtype not in _TRAINABLE:
        advice = _ADVICE.get(parameter.dtype, "trainable parameters must be float32, bfloat16 or complex64")
        raise UnsupportedModel(f"{name} is {parameter.dtype}; {advice}")
    if parameter.layout is not torch.strided:
        raise UnsupportedModel(f"{name} is stored sparsely ({parameter.layout}); store it as a dense tensor")
    if type(parameter.data) is not torch.Tensor:
        raise UnsupportedModel(
            f"{name} is a {type(parameter.data).__name__}, whose elements are not in one tensor; train the model"
            " without sharding or quantisation of its parameters"
        )
    if overlaps_itself(parameter):
        raise UnsupportedModel(
            f"elements of {name} share memory, as in an expanded tensor; store `parameter.data.contiguous()`"
        )


def hooked(model: torch.nn.Module) -> list[str]:
    """Returns the names of the trainable parameters whose gradients a hook of the script sees or changes."""
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and (parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None))
    ]
