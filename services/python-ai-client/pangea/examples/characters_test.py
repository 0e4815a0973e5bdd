"""The transformer of the character example is deterministic and causal, and learns from the shipped text."""

import gzip

import pytest
import torch

from pangea.examples.characters import CONTEXT, Characters, build_optimizer, loss_of
from pangea.places import data_file
from pangea.training.determinism import configure_torch, seed_everything


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    """Returns the corpus with its bytes numbered as the data service does: by their index among the distinct ones."""
    text = torch.frombuffer(bytearray(gzip.decompress(data_file("stdlib.txt.gz").read_bytes())), dtype=torch.uint8)
    numbers: torch.Tensor = torch.unique(text, return_inverse=True)[1]
    return numbers


def _batch(tokens: torch.Tensor, number: int, samples: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns samples spread over the text, different ones for each number: x and y, both int64 [samples, CONTEXT]."""
    starts = [(number + i * 997) * CONTEXT % (len(tokens) - CONTEXT) for i in range(samples)]
    return torch.stack([tokens[i : i + CONTEXT] for i in starts]), torch.stack(
        [tokens[i + 1 : i + 1 + CONTEXT] for i in starts]
    )


def test_the_corpus_is_a_megabyte_of_python(tokens: torch.Tensor) -> None:
    text = gzip.decompress(data_file("stdlib.txt.gz").read_bytes())
    assert 1_000_000 <= len(text) == len(tokens) <= 1_500_000
    assert text.count(b"\ndef ") > 100 and text.count(b"\nclass ") > 100
    assert int(tokens.max()) < 256


def test_gradients_with_dropout_are_reproducible(tokens: torch.Tensor) -> None:
    def gradients() -> list[torch.Tensor]:
        seed_everything(3)
        model = Characters()
        loss_of(model, *_batch(tokens, 0)).backward()  # type: ignore[no-untyped-call]
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    first, second = gradients(), gradients()
    assert len(first) == len(list(Characters().parameters()))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_a_later_token_does_not_change_earlier_scores(tokens: torch.Tensor, training: bool) -> None:
    seed_everything(0)
    model = Characters().train(training)
    x, _ = _batch(tokens, 0, 2)
    changed = x.clone()
    changed[:, 40] = (changed[:, 40] + 1) % 64

    def scores(batch: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        output: torch.Tensor = model(batch)
        return output.detach()

    one, other = scores(x), scores(changed)
    assert torch.equal(one[:, :40], other[:, :40])
    assert not torch.equal(one[:, 40:], other[:, 40:])


def test_the_learning_rate_rises_then_falls_and_stays() -> None:
    optimizer, scheduler = build_optimizer(Characters(), 100)
    rates = []
    for _ in range(120):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[:5] == sorted(rates[:5]) and rates[5:] == sorted(rates[5:], reverse=True)
    assert max(rates) == pytest.approx(3e-3)
    assert rates[100:] == pytest.approx([3e-4] * 20)


def test_it_learns_more_than_the_frequency_of_each_character(tokens: torch.Tensor) -> None:
    configure_torch()
    seed_everything(0)
    model = Characters()
    optimizer, scheduler = build_optimizer(model, 40)
    losses = []
    for number in range(40):
        optimizer.zero_grad()
        loss = loss_of(model, *_batch(tokens, number))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(float(loss))
    frequencies = torch.bincount(tokens).double() / len(tokens)
    entropy = -float((frequencies * frequencies.log()).sum())
    assert losses[0] > 5, "an untrained model predicts all 256 tokens about equally"
    assert sum(losses[-10:]) / 10 < entropy, losses
