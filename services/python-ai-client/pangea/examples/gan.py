"""Learns to draw digits: two convolutional networks that play against each other (DCGAN), each with an optimizer."""

import torch
from torch import nn
from torch.nn import functional

import pangea

LATENT = 16


def build_generator() -> nn.Module:
    """Returns a model from noise [n, LATENT, 1, 1] to images [n, 1, 8, 8]."""
    return nn.Sequential(
        nn.ConvTranspose2d(LATENT, 64, 4, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1),
    )


def build_critic() -> nn.Module:
    """Returns a model from images [n, 1, 8, 8] to scores [n, 1]: positive for real ones."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, bias=False),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(64, 1),
    )


def scored(scores: torch.Tensor, real: bool) -> torch.Tensor:
    """Returns how far scores are from calling their images real, or not."""
    return functional.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(real)))


def main() -> None:
    """Trains both networks from the same parameters in each step, and logs their losses."""
    pangea.seed_everything()
    generator, critic = build_generator(), build_critic()
    of_critic = torch.optim.Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.999))
    of_generator = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))

    run = pangea.join(nn.ModuleDict({"generator": generator, "critic": critic}), [of_critic, of_generator])
    for batch in run.batches():
        drawn = generator(torch.randn(batch.samples, LATENT, 1, 1))
        critical = scored(critic(batch.x), True) + scored(critic(drawn.detach()), False)
        creative = scored(critic(drawn), True)
        run.log({"loss/critic": critical, "loss/generator": creative})
        run.step(critical, optimizer=of_critic)
        run.step(creative, optimizer=of_generator)
    run.finish()


if __name__ == "__main__":
    main()
