"""Predicts the next character of Python's standard library with an LSTM: `--dataset stdlib`."""

import math

import torch
from torch import nn
from torch.nn import functional

import pangea

# Tokens are indices into the text's vocabulary of bytes, which has at most this many.
TOKENS = 256
WIDTH = 96
LAYERS = 2
DROPOUT = 0.2


class Recurrent(nn.Module):
    """A language model: tokens int64 [n, t] to scores [n, t, TOKENS] of each next token; the state starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH)
        self.recurrent = nn.LSTM(WIDTH, WIDTH, LAYERS, dropout=DROPOUT, batch_first=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.scores = nn.Linear(WIDTH, TOKENS, bias=False)
        self.scores.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        # A state that is carried from batch to batch would depend on who computed the batch before.
        states, _ = self.recurrent(self.dropout(self.embedding(tokens)))
        scores: torch.Tensor = self.scores(self.dropout(states))
        return scores


def loss_of(model: nn.Module, batch: pangea.Batch) -> torch.Tensor:
    """Returns the mean cross entropy over all characters of a batch, in nats."""
    return functional.cross_entropy(model(batch.x).flatten(0, 1), batch.y.flatten())


def main() -> None:
    """Trains, logs the perplexity of each epoch, and writes the results into the run directory."""
    pangea.seed_everything()
    model = Recurrent()
    optimizer = torch.optim.SGD(model.parameters(), lr=4.0)

    run = pangea.join(model, optimizer, clip_norm=0.25)
    for _ in run.epochs():
        model.train()
        for batch in run.batches():
            run.step(loss_of(model, batch))
        model.eval()
        with torch.no_grad():
            nats = [(float(loss_of(model, batch)), batch.samples) for batch in run.held_out()]
        mean = sum(value * samples for value, samples in nats) / sum(samples for _, samples in nats)
        run.log(held_out_perplexity=math.exp(mean))
    run.finish()


if __name__ == "__main__":
    main()
