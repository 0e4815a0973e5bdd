"""Samples are loaded with generators that were seeded for them, whether one draws from all, some, or none of them."""

import random

import numpy
import torch

from pangea.loading.seeding import Seeds


def all_three() -> tuple[float, float, float]:
    return torch.rand(1).item(), numpy.random.random(), random.random()


def test_a_function_gets_the_numbers_of_its_seed_whatever_was_called_before() -> None:
    expected = Seeds(("random", "numpy")).call(5, all_three)
    assert Seeds(()).call(5, all_three) == expected
    for name in ("random", "numpy"):
        assert Seeds((name,)).call(5, all_three) == expected
    seeds = Seeds(())
    # More calls than numbers of a parked generator are known.
    for seed in range(1000):
        assert seeds.call(seed, lambda: None) is None
    assert seeds.drawn == set()
    assert seeds.call(5, all_three) == expected
    assert seeds.drawn == {"random", "numpy"}
    assert seeds.call(6, all_three) != expected
    assert seeds.call(5, all_three) == expected


def test_only_a_sample_that_draws_for_the_first_time_is_loaded_twice() -> None:
    calls: list[int] = []
    seeds = Seeds(())

    def load(number: int) -> float:
        calls.append(number)
        return random.gauss(0, 1) if number % 2 else 0.0

    values = [seeds.call(number, lambda number=number: load(number)) for number in range(6)]
    assert calls == [0, 1, 1, 2, 3, 4, 5]
    assert seeds.drawn == {"random"}
    again = Seeds(("random",))
    assert [again.call(number, lambda number=number: load(number)) for number in range(6)] == values


def test_a_function_that_seeds_by_itself_is_not_disturbed() -> None:
    def own_seed() -> float:
        numpy.random.seed(0)
        return float(numpy.random.random())

    assert Seeds(()).call(1, own_seed) == Seeds(("numpy",)).call(2, own_seed)


def test_each_of_many_samples_that_rarely_draw_gets_its_own_numbers() -> None:
    def rarely(number: int) -> float:
        return random.random() if number % 300 == 255 or number % 300 == 256 else 0.0

    lazy, always = Seeds(()), Seeds(("random", "numpy"))
    for number in range(600):
        assert lazy.call(number, lambda number=number: rarely(number)) == always.call(
            number, lambda number=number: rarely(number)
        ), number
        if number == 300:
            lazy = Seeds(())
