"""A worker of a run. It records when it begins each step; the files of the run have the loss."""

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
