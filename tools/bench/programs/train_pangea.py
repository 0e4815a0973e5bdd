"""A worker of a run. It records when it begins each step; the files of the run have the loss."""

import pangea
from tools.bench.models import RECIPES, described
from tools.bench.programs import allocator
from tools.bench.programs import job as jobs
from tools.bench.programs.steps import Steps


def main() -> None:
    """Trains to the end of the run."""
    job = jobs.read()
    pangea.seed_everything()
    recipe = RECIPES[job["model"]]
    model = recipe.model()
    optimizer = recipe.optimizer(model)
    run = pangea.join(model, optimizer)
    jobs.meet(job)
    steps = Steps(job)
    for batch in run.batches():
        steps.begin(run.steps)
        run.step(recipe.loss(model, batch.x, batch.y))
    run.close()
    jobs.answer(job, began=steps.began, settings={"malloc": allocator.in_effect(), "optimizer": described(optimizer)})


if __name__ == "__main__":
    main()
