"""Fingerprints of this process's arithmetic: hashes of reference computations, one per operator.

Processes that train to the same bits have the same fingerprints.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterable

import numpy
import torch
from torch.nn import functional

from pangea.training.hashing import tensors_hash

Results = torch.Tensor | Iterable[torch.Tensor]


def values(*shape: int, seed: int = 0) -> torch.Tensor:
    """Returns numbers from -2 to 2 by integer arithmetic and exact scaling: the same on every machine."""
    number = torch.arange(math.prod(shape), dtype=torch.int64) + (seed * 7919 + 1)
    mixed = number * 6364136223846793005 + 1442695040888963407
    mixed = (mixed ^ (mixed >> 29)) * 1181783497276652981
    return (((mixed >> 40) & 0xFFFFF) - (1 << 19)).to(torch.float32).div_(1 << 18).reshape(shape)


def _leaf(*shape: int, seed: int = 0) -> torch.Tensor:
    return values(*shape, seed=seed).requires_grad_()


def _with_gradients(result: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    """Returns the result, and the gradients of the inputs."""
    return [result, *torch.autograd.grad(result, inputs, values(*result.shape, seed=99))]


def _matmul() -> Results:
    # Sizes below and above those for which BLAS libraries have special kernels, and one that spans several blocks.
    sizes = [(8, 64, 32), (33, 127, 65), (64, 600, 10), (1, 512, 96), (160, 784, 200)]
    return [values(rows, inner) @ values(inner, columns, seed=1) for rows, inner, columns in sizes]


def _matrix_vector() -> Results:
    return [values(130, 270) @ values(270, seed=1), values(1801) @ values(1801, seed=1)]


def _linear() -> Results:
    x, weight, bias = _leaf(32, 100), _leaf(30, 100, seed=1), _leaf(30, seed=2)
    return _with_gradients(functional.linear(x, weight, bias), x, weight, bias)


def _batched_matmul() -> Results:
    return [
        torch.bmm(values(6, 20, 30), values(6, 30, 25, seed=1)),
        torch.bmm(values(6, 4, 3), values(6, 3, 5, seed=1)),
        torch.einsum("bij,bkj->bik", values(3, 20, 10), values(3, 15, 10)),
    ]


def _convolution() -> Results:
    results = []
    for channels, filters, size in [(1, 16, 3), (16, 24, 3), (16, 32, 1)]:
        x, weight, bias = (
            _leaf(16, channels, 8, 8),
            _leaf(filters, channels, size, size, seed=1),
            _leaf(filters, seed=2),
        )
        results += _with_gradients(functional.conv2d(x, weight, bias, padding=size // 2), x, weight, bias)
    return results


def _transposed_convolution() -> Results:
    x, weight = _leaf(16, 6, 5, 5), _leaf(6, 8, 4, 4, seed=1)
    return _with_gradients(functional.conv_transpose2d(x, weight, stride=2), x, weight)


def _attention() -> Results:
    q, k, v = (_leaf(2, 4, 24, 16, seed=seed) for seed in range(3))
    return [
        result
        for causal in (False, True)
        for result in _with_gradients(functional.scaled_dot_product_attention(q, k, v, is_causal=causal), q, k, v)
    ]


def _recurrence() -> Results:
    shapes = [(80, 10), (80, 20), (80,), (80,)]
    x, weights = _leaf(6, 16, 10), [_leaf(*shape, seed=seed) for seed, shape in enumerate(shapes, 1)]
    state = [torch.zeros(1, 16, 20)] * 2
    result = torch.lstm(x, state, weights, True, 1, 0.0, True, False, False)[0]
    return _with_gradients(result, x, *weights)


def _normalisation() -> Results:
    x, weight, bias = _leaf(33, 48), _leaf(48, seed=1), _leaf(48, seed=2)
    layer = functional.layer_norm(x, (48,), weight, bias)
    batch = functional.batch_norm(x, None, None, weight, bias, training=True)
    group = functional.group_norm(x, 4, weight, bias)
    return [result for normalised in (layer, batch, group) for result in _with_gradients(normalised, x, weight, bias)]


def _exponentials() -> Results:
    x = values(999)
    positive = x.abs() + 0.1
    return [
        torch.exp(x),
        torch.expm1(x),
        torch.log(positive),
        torch.log1p(positive),
        torch.exp(x.double()),
        torch.exp(x[:3]),
        positive.pow(1.7),
        positive.rsqrt(),
        torch.erf(x),
    ]


def _trigonometry() -> Results:
    x = values(999)
    return [torch.sin(x), torch.cos(x), torch.tan(x), torch.atan(x), torch.sinh(x), torch.asin(x / 2)]


def _activations() -> Results:
    x = _leaf(999)
    one, two = functional.gelu(x), functional.gelu(x, approximate="tanh")
    others = [torch.sigmoid(x), torch.tanh(x), functional.silu(x), functional.softplus(x), functional.elu(x)]
    return [result for activated in (one, two, *others) for result in _with_gradients(activated, x)]


def _softmax() -> Results:
    x = _leaf(30, 77)
    return [
        *_with_gradients(functional.softmax(x, 1), x),
        *_with_gradients(functional.log_softmax(x, 1), x),
        torch.logsumexp(x, 0),
    ]


def _loss() -> Results:
    x = _leaf(64, 10)
    target = torch.arange(64) % 10
    return [
        *_with_gradients(functional.cross_entropy(x, target), x),
        *_with_gradients(functional.mse_loss(x, values(64, 10, seed=1)), x),
    ]


def _reductions() -> Results:
    x = values(100, 301)
    return [
        x.sum(),
        x.sum(0),
        x.sum(1),
        x.mean(),
        x.var(0),
        x.std(1),
        x.norm(),
        x.norm(dim=1, p=3),
        values(5000).cumsum(0),
        (1 + x[0] / 1000).prod(),
    ]


def _elementwise() -> Results:
    x, y, z = (values(1001, seed=seed) for seed in range(3))
    return [
        x * y + z,
        torch.addcmul(x, y, z, value=0.3),
        torch.addcdiv(x, y, z + 3),
        torch.lerp(x, y, 0.3),
        x / (y + 3),
        (x + 2).sqrt(),
    ]


def _pooling() -> Results:
    x = _leaf(4, 3, 12, 12)
    pooled = [
        functional.avg_pool2d(x, 3),
        functional.max_pool2d(x, 3),
        functional.adaptive_avg_pool2d(x, 5),
        functional.interpolate(x, size=(17, 7), mode="bilinear"),
    ]
    return [result for one in pooled for result in _with_gradients(one, x)]


def _embedding() -> Results:
    weight = _leaf(50, 16)
    return _with_gradients(functional.embedding(torch.arange(200) % 37, weight), weight)


def _factorisations() -> Results:
    x = values(24, 24)
    positive = x @ x.T + 100 * torch.eye(24)
    return [
        torch.linalg.cholesky(positive),
        torch.linalg.solve(positive, x),
        torch.linalg.qr(x[:, :16])[0],
        torch.linalg.eigvalsh(positive),
    ]


def _fourier() -> Results:
    return torch.view_as_real(torch.fft.rfft(values(8, 100)))


def _random() -> Results:
    generator = torch.Generator(torch.get_default_device()).manual_seed(3)
    draws = [torch.empty(count) for count in (999, 999, 7, 99)]
    return [
        draws[0].normal_(generator=generator),
        draws[1].uniform_(generator=generator),
        draws[2].normal_(generator=generator),
        draws[3].bernoulli_(0.3, generator=generator),
    ]


def _optimizer(make: Callable[[list[torch.Tensor]], torch.optim.Optimizer]) -> Callable[[], Results]:
    def compute() -> Results:
        parameters = [_leaf(301, seed=seed) for seed in range(2)]
        optimizer = make(parameters)
        for step in range(2):
            for number, parameter in enumerate(parameters):
                parameter.grad = values(301, seed=10 + 2 * step + number)
            optimizer.step()
        return parameters

    return compute


def _numpy() -> Results:
    x = values(999).numpy()
    wide = x.astype(numpy.float64)
    results = [
        numpy.exp(x),
        numpy.exp(wide),
        numpy.log(abs(x) + 1),
        numpy.sin(x),
        numpy.tanh(wide),
        numpy.power(abs(wide), 1.7),
        x[:990].reshape(30, 33).sum(0),
    ]
    return [torch.from_numpy(numpy.ascontiguousarray(result)) for result in results]


def _python() -> Results:
    """Computes the functions that learning-rate schedules use."""
    functions = (math.exp, math.log, math.sin, math.cos, math.tanh, math.sqrt, lambda x: math.pow(x, 1.7))
    return torch.tensor(
        [function(0.1 + 0.037 * number) for function in functions for number in range(100)], dtype=torch.float64
    )


OPERATORS: dict[str, Callable[[], Results]] = {
    "matmul": _matmul,
    "matrix_vector": _matrix_vector,
    "linear": _linear,
    "batched_matmul": _batched_matmul,
    "convolution": _convolution,
    "transposed_convolution": _transposed_convolution,
    "attention": _attention,
    "recurrence": _recurrence,
    "normalisation": _normalisation,
    "exponentials": _exponentials,
    "trigonometry": _trigonometry,
    "activations": _activations,
    "softmax": _softmax,
    "loss": _loss,
    "reductions": _reductions,
    "elementwise": _elementwise,
    "pooling": _pooling,
    "embedding": _embedding,
    "factorisations": _factorisations,
    "fourier": _fourier,
    "random": _random,
    "sgd": _optimizer(lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9)),
    "adamw": _optimizer(lambda parameters: torch.optim.AdamW(parameters, lr=0.01)),
    "rmsprop": _optimizer(lambda parameters: torch.optim.RMSprop(parameters, lr=0.01)),
    "numpy": _numpy,
    "python": _python,
}


# They compute on the CPU whatever the device of the model is.
_OF_CPU_ONLY = ("numpy", "python")


def fingerprints(device: torch.device | None = None) -> dict[str, bytes]:
    """Returns the SHA-256 of each operator's results for fixed inputs, by the operator's name.

    They depend on torch's current configuration; call `training.determinism.configure_torch` first. Torch's settings
    and all random states remain unchanged.

    Args:
        device: of a model, if it is not the CPU: then its operators follow those of the CPU, named "cuda matmul".
            Operators without a deterministic form there are left out, because training refuses them.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.set_grad_enabled(True):
            with torch.device("cpu"):
                found = {name: _hash(operator()) for name, operator in OPERATORS.items()}
            return found if device is None else found | _of_device(device)
    finally:
        torch.set_default_dtype(dtype)


def _of_device(device: torch.device) -> dict[str, bytes]:
    found = {}
    with device, warnings.catch_warnings():
        # About the weights of a recurrence, and of being the first user of cuBLAS in a thread.
        warnings.simplefilter("ignore", UserWarning)
        for name, operator in OPERATORS.items():
            if name in _OF_CPU_ONLY:
                continue
            try:
                found[f"{device.type} {name}"] = _hash(operator())
            except RuntimeError as error:
                if "deterministic" not in str(error):
                    raise
    return found


def _hash(results: Results) -> bytes:
    return tensors_hash([results] if isinstance(results, torch.Tensor) else results)


def summary(computed: dict[str, bytes]) -> bytes:
    """Returns one hash over all fingerprints, independent of their order."""
    digest = hashlib.sha256()
    for name, value in sorted(computed.items()):
        digest.update(name.encode() + b"\0" + value)
    return digest.digest()
