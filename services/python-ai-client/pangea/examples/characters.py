"""Predicts the next character of Python's standard library with a small transformer: `--dataset stdlib`."""

import math
import os

import torch
from torch import nn
from torch.nn import functional

import pangea

# Tokens are indices into the text's vocabulary of bytes, which has at most this many.
TOKENS = 256
CONTEXT = 64
WIDTH = 64
HEADS = 4
LAYERS = 2
DROPOUT = 0.1


class Block(nn.Module):
    """A transformer block: pre-normalised causal self-attention and perceptron, [n, t, WIDTH] to the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.queries_keys_values = nn.Linear(WIDTH, 3 * WIDTH)
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.perceptron = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.queries_keys_values(self.attention_norm(x)).unflatten(2, (3, HEADS, WIDTH // HEADS))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, dropout_p=DROPOUT if self.training else 0.0, is_causal=True
        )
        x = x + self.dropout(self.attended(attended.transpose(1, 2).flatten(2)))
        x = x + self.dropout(self.perceptron(self.perceptron_norm(x)))
        return x


class Characters(nn.Module):
    """A language model: tokens int64 [n, t], t at most CONTEXT, to scores [n, t, TOKENS] of each next token."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(TOKENS, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.dropout = nn.Dropout(DROPOUT)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.scores = nn.Linear(WIDTH, TOKENS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        scores: torch.Tensor = self.scores(self.norm(self.blocks(self.dropout(x))))
        return scores


def loss_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Returns the mean cross entropy over all characters, in nats."""
    return functional.cross_entropy(model(x).flatten(0, 1), y.flatten())


def build_optimizer(model: nn.Module, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Returns AdamW; its rate rises for a twentieth of `steps`, then falls along a cosine to a tenth and stays."""
    warm_up = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = min(1.0, (step - warm_up) / max(1, steps - warm_up))
        return 0.1 + 0.45 * (1 + math.cos(math.pi * done))

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def main() -> None:
    """Trains, evaluates, and writes the results into the run directory."""
    pangea.seed_everything()
    model = Characters()
    # The schedule must be the same for all workers; the default is an epoch of the corpus in batches of 64.
    optimizer, scheduler = build_optimizer(model, int(os.environ.get("CHARACTERS_STEPS", "280")))

    run = pangea.join(model, optimizer, scheduler=scheduler, clip_norm=1.0)
    for batch in run.batches():
        run.step(loss_of(model, batch.x, batch.y))

    model.eval()
    nats, correct, total = 0.0, 0, 0
    with torch.no_grad():
        for batch in run.held_out():
            scores = model(batch.x)
            nats += float(functional.cross_entropy(scores.flatten(0, 1), batch.y.flatten(), reduction="sum"))
            correct += int((scores.argmax(2) == batch.y).sum())
            total += batch.y.numel()
    run.finish(held_out_bits_per_character=nats / total / math.log(2), held_out_accuracy=correct / total)


if __name__ == "__main__":
    main()
