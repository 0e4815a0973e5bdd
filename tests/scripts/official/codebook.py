"""A codebook that moves by averages (VQ-VAE): the forward pass accumulates sums, and the average moves once a step."""

import torch
from interruption import interrupt
from torch import nn
from torch.nn import functional

import pangea

CODES, FEATURES = 16, 8


class Codebook(nn.Module):
    """A quantiser whose buffers `hits`, `total` and `seen` are sums over shards."""

    codes: torch.Tensor
    size: torch.Tensor
    hits: torch.Tensor
    total: torch.Tensor
    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codes", torch.randn(CODES, FEATURES))
        self.register_buffer("size", torch.ones(CODES))
        self.register_buffer("hits", torch.zeros(CODES))
        self.register_buffer("total", torch.zeros(CODES, FEATURES))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nearest = torch.cdist(z, self.codes).argmin(1)
        chosen = self.codes[nearest]
        if self.training:
            with torch.no_grad():
                one_hot = functional.one_hot(nearest, CODES).float()
                self.hits += one_hot.sum(0)
                self.total += one_hot.t() @ z
                self.seen += len(z)
        return z + (chosen - z).detach(), functional.mse_loss(z, chosen.detach())

    @torch.no_grad()
    def move(self, _step: pangea.Step) -> None:
        self.size.mul_(0.9).add_(self.hits, alpha=0.1)
        mean = self.total / self.hits.clamp_min(1)[:, None]
        self.codes.copy_(torch.where(self.hits[:, None] > 0, 0.9 * self.codes + 0.1 * mean, self.codes))
        self.hits.zero_()
        self.total.zero_()


pangea.seed_everything()
codebook = Codebook()
model = nn.ModuleDict({"encoder": nn.Linear(64, FEATURES), "codebook": codebook, "decoder": nn.Linear(FEATURES, 64)})
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
run = pangea.join(model, optimizer, buffers={f"codebook.{name}": "sum" for name in ("hits", "total", "seen")})
run.after_step(codebook.move)
for batch in run.batches():
    interrupt(batch)
    x = batch.x.flatten(1)
    quantised, commitment = codebook(model["encoder"](x))
    run.step(functional.mse_loss(model["decoder"](quantised), x) + 0.25 * commitment)
run.finish(seen=codebook.seen, size=codebook.size.sum(), expected=run.dataset.train_samples * 4)
