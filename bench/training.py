"""Measures a training step of a recipe against a loop that only runs its network on random tensors.

    python bench/training.py RECIPE --data data/manifest.csv [--steps 40]

The recipe is of the kind *joint*. Prints pictures a second of whole steps, of steps on one batch, of the network, and of drawing
batches, in turn. The machine should have no other work.
"""

import argparse
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

ROUND = 5  # steps of one kind of loop, before the next has its turn
SMALL_RATE = 1e-6  # factor on the learning rate

from training.config.recipe_files import load_recipe  # noqa: E402
from training.data.datasets import GENERAL, Datasets  # noqa: E402
from training.loop.distributed import single_process  # noqa: E402
from training.tasks import TaskContext, build_task  # noqa: E402


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    task = build_task(TaskContext(recipe, Datasets(recipe.data, arguments.data), GENERAL, Path("runs"), single_process()))
    batch = task.draw(0)
    random = (torch.rand_like(batch.L) * 100).contiguous(memory_format=torch.channels_last)
    state = task.train_state

    def whole(first: int) -> None:
        with ThreadPoolExecutor(1) as prefetcher:
            upcoming = prefetcher.submit(task.draw, first)
            for step in range(first, first + ROUND):
                drawn = upcoming.result()
                upcoming = prefetcher.submit(task.draw, step + 1)
                task.step(drawn, SMALL_RATE)

    def on_one_batch(_: int) -> None:
        for _ in range(ROUND):
            task.step(batch, SMALL_RATE)

    def only_the_network(_: int) -> None:
        for _ in range(ROUND):
            with state.autocast:
                features = state.network.expert.features(state.network.trunk(random))
                loss = state.network.expert.logits(features[:, :, ::2, ::2]).square().mean()
            state.update(loss, SMALL_RATE)

    def only_drawing(first: int) -> None:
        for step in range(first, first + ROUND):
            task.draw(step)

    works = (whole, on_one_batch, only_the_network, only_drawing)
    times: dict[str, list[float]] = {work.__name__: [] for work in works}
    for first in range(1, arguments.steps, ROUND):
        for work in works:
            start = time.perf_counter()
            work(first)
            times[work.__name__].append((time.perf_counter() - start) / ROUND)
    for name, seconds in times.items():
        median = statistics.median(seconds[1:])
        print(f"{name.replace('_', ' ')}: {1000 * median:.0f} ms a step, {len(batch.labels) / median:.0f} pictures/s")


if __name__ == "__main__":
    main()
