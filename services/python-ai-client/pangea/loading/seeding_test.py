"""Samples are loaded with generators that were seeded for them, whether one draws from all, some, or none of them."""

import random
from functools import partial

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

    values = [seeds.call(number, partial(load, number)) for number in range(6)]
    assert calls == [0, 1, 1, 2, 3, 4, 5]
    assert seeds.drawn == {"random"}
    again = Seeds(("random",))
    assert [again.call(number, partial(load, number)) for number in range(6)] == values


def test_a_function_that_seeds_by_itself_is_not_disturbed() -> None:
    def own_seed() -> float:
        numpy.random.seed(0)
        return float(numpy.random.random())

    assert Seeds(()).call(1, own_seed) == Seeds(("numpy",)).call(2, own_seed)


def test_each_of_many_samples_that_rarely_draw_gets_its_own_numbers() -> None:
    def rarely(number: int) -> float:
        return random.random() if number in (255, 256) else 0.0

    always = Seeds(("random", "numpy"))
    expected = [always.call(number, partial(rarely, number)) for number in range(300)]
    lazy = Seeds(())
    # The state that nobody draws from is repeated after 256 samples.
    assert [lazy.call(number, partial(rarely, number)) for number in range(300)] == expected
    assert sum(value != 0 for value in expected) == 2
