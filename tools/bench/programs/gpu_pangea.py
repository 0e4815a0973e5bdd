"""A worker of a run on the device BENCH_DEVICE, with the model BENCH_MODEL of the examples."""

import os

import pangea
from tools.bench.models import RECIPES


def main() -> None:
    """Trains BENCH_STEPS steps."""
    steps = int(os.environ["BENCH_STEPS"])
    pangea.seed_everything()
    recipe = RECIPES[os.environ["BENCH_MODEL"]]
    model = recipe.model().to(os.environ["BENCH_DEVICE"])
    run = pangea.join(model, recipe.optimizer(model))
    for batch in run.batches():
        if batch.step + 1 == steps:
            run.stop("enough was measured")
        run.step(recipe.loss(model, batch.x, batch.y))
    run.finish()


if __name__ == "__main__":
    main()
