"""A worker of a run. Notes when it begins each step; the run's own files tell the loss."""

import time

import pangea
from tools.bench.models import RECIPES
from tools.bench.programs import job as jobs


def main() -> None:
    """Trains to the end of the run."""
    job = jobs.read()
    pangea.seed_everything()
    recipe = RECIPES[job["model"]]
    model = recipe.model()
    run = pangea.join(model, recipe.optimizer(model))
    jobs.meet(job)
    began: dict[int, float] = {}
    for batch in run.batches():
        began.setdefault(run.steps, time.perf_counter())
        run.step(recipe.loss(model, batch.x, batch.y))
    run.close()
    jobs.answer(job, began=began)


if __name__ == "__main__":
    main()
