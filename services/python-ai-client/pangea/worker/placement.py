"""Moves batches to the device of the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pangea.loading.nesting import map_tensors
from pangea.training.devices.device import Device
from pangea.worker.batches import Batch


def placed(batch: Batch, device: Device) -> Batch:
    """Returns a batch whose data is on the device of the model; `sample_ids` stay on the CPU.

    The copy runs beside what the device still computes for earlier batches.
    """
    if not device.computes_ahead:
        return batch
    return replace(batch, data=map_tensors(batch.data, device.place))


def placed_all(batches: Iterator[Batch], device: Device) -> Iterator[Batch]:
    """Yields batches whose data is on the device of the model."""
    for batch in batches:
        yield placed(batch, device)
