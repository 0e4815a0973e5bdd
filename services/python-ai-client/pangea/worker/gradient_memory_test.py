import torch

from pangea import _native
from pangea.worker.gradient_memory import GradientMemory


def test_slots_are_used_first_and_private_vectors_after_them() -> None:
    slots = [bytearray(16), bytearray(16)]
    taken = iter(slots)
    memory = GradientMemory(4, lambda: next(taken, None))  # type: ignore[arg-type,return-value]
    first, second, private = memory.acquire(), memory.acquire(), memory.acquire()
    first.fill_(1.0)
    assert [memory.is_shared(vector) for vector in (first, second, private)] == [True, True, False]
    assert torch.frombuffer(slots[0], dtype=torch.float32).tolist() == [1.0] * 4
    for vector in (first, second, private):
        assert vector.shape == (4,)
        memory.release(vector)
    again = memory.acquire()
    assert again.data_ptr() == private.data_ptr(), "a released slot is not written to; a private vector is used again"


def test_a_lost_connection_gives_private_vectors() -> None:
    def lost() -> None:
        raise _native.WireError("gone")

    assert GradientMemory(4, lost).acquire().shape == (4,)
