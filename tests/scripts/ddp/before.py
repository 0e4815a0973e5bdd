"""Classifies digits on several processes: `torchrun --nproc-per-node 2 before.py digits.csv`."""

import sys

import numpy
import torch
from torch import distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

EPOCHS, BATCH_SIZE = 5, 64


def read(file: str) -> tuple[TensorDataset, TensorDataset]:
    rows = torch.from_numpy(numpy.loadtxt(file, delimiter=",", dtype=numpy.float32))
    x, y = rows[:, :64].view(-1, 1, 8, 8) / 16, rows[:, 64].long()
    return TensorDataset(x[:1400], y[:1400]), TensorDataset(x[1400:], y[1400:])


def accuracy(model: nn.Module, test_set: TensorDataset) -> float:
    model.eval()
    with torch.no_grad():
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in DataLoader(test_set, 256))
    return right / len(test_set)


def main() -> None:
    distributed.init_process_group("gloo")
    rank, processes = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(0)
    train_set, test_set = read(sys.argv[1])
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(512, 10)
    )
    replica = DistributedDataParallel(model)
    sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(train_set)
    loader = DataLoader(train_set, BATCH_SIZE // processes, sampler=sampler)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = functional.cross_entropy(replica(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
        if rank == 0:
            print(f"epoch {epoch}: accuracy {accuracy(model, test_set):.3f}")
    if rank == 0:
        torch.save(model.state_dict(), "model.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
