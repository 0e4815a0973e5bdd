"""Learns to draw digits: a variational autoencoder of 8x8 images."""

import torch
from torch import nn
from torch.nn import functional

import pangea

LATENT = 8


class Autoencoder(nn.Module):
    """Images [n, 1, 8, 8] to their reconstruction [n, 64], and mean and log variance of their latent vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(128, LATENT), nn.Linear(128, LATENT)
        self.decoder = nn.Sequential(nn.Linear(LATENT, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        hidden = self.encoder(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        # The run seeds torch for each batch, so that this noise does not depend on who computes it.
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(latent), mean, log_variance


def losses(model: Autoencoder, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the squared error of the reconstruction, and the divergence from the prior; both a mean over images."""
    drawn, mean, log_variance = model(x)
    error = functional.mse_loss(drawn, x.flatten(1), reduction="none").sum(1).mean()
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
    return error, divergence


def main() -> None:
    """Trains, and logs both parts of the loss."""
    pangea.seed_everything()
    model = Autoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    run = pangea.join(model, optimizer)
    for batch in run.batches():
        error, divergence = losses(model, batch.x)
        run.log({"loss/error": error, "loss/divergence": divergence})
        run.step(error + divergence)

    model.eval()
    with torch.no_grad():
        held_out = [(float(losses(model, batch.x)[0]), batch.samples) for batch in run.held_out()]
    run.finish(held_out_error=sum(error * n for error, n in held_out) / sum(n for _, n in held_out))


if __name__ == "__main__":
    main()
