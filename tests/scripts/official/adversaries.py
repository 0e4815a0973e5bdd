"""A GAN: a loss for each of two optimizers, every step for the critic, every second one for the generator as well."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

pangea.seed_everything()
generator = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 64), nn.Tanh())
critic = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
of_generator = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
of_critic = torch.optim.Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.999))
run = pangea.join(
    nn.ModuleDict({"generator": generator, "critic": critic}),
    [of_critic, of_generator],
    scheduler=torch.optim.lr_scheduler.StepLR(of_generator, 10),
)
for batch in run.batches():
    interrupt(batch)
    x = batch.x.flatten(1)
    made = generator(torch.randn(len(x), 8))
    real, false = torch.ones(len(x), 1), torch.zeros(len(x), 1)
    loss = functional.binary_cross_entropy_with_logits
    run.step(loss(critic(x), real) + loss(critic(made.detach()), false), optimizer=of_critic)
    if batch.step % 2 == 1:
        run.step(loss(critic(made), real), optimizer=of_generator)
run.finish(
    critic_steps=int(next(iter(of_critic.state.values()))["step"]),
    generator_steps=int(next(iter(of_generator.state.values()))["step"]),
)
