"""What the MR end-to-end cases share: the time of each part of a sample, and a store made whole."""

import shutil
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from voxelmill.engine import mill
from voxelmill.engine.recipes import mr_body, mr_physics, mr_scan
from voxelmill.engine.run_local import make
from voxelmill.kernels import kspace, noise, shares

# Where the parts of both recipes are looked up at each call.
PARTS = {
    "bend": [(mr_body, "bend_displacement")],
    "labels": [(mr_body, "fine_labels")],
    "fields": [(mr_scan, "magnet_fields")],
    "contrast": [(mr_physics, "physics_pools")],
    "k-space": [(mr_scan, "acquired")],
    "transforms": [(kspace, "to_kspace"), (kspace, "to_image")],
    "noise": [(noise, "add_complex")],
    "classes": [(shares, "largest")],
    "rest": [(mill, "render_batch")],
}


@contextmanager
def timed(parts):
    """Seconds of each part, by name; what a part spends in another is the other's alone."""
    spent, inside = Counter(), []

    def wrapped(name, function):
        def call(*args, **keys):
            start = time.perf_counter()
            inside.append(0.0)
            try:
                return function(*args, **keys)
            finally:
                seconds = time.perf_counter() - start
                spent[name] += seconds - inside.pop()
                if inside:
                    inside[-1] += seconds

        return call

    with ExitStack() as stack:
        for name, places in parts.items():
            for module, word in places:
                replaced = wrapped(name, getattr(module, word))
                stack.enter_context(patch.object(module, word, replaced))
        yield spent


def milliseconds(spent, samples):
    """Of a sample, the most first."""
    return {k: round(1000 * v / samples, 1) for k, v in spent.most_common()}


def make_store(benchmark, plan, samples, store, parts):
    """Make the whole of a store, anew in each round; keep its rate and the times of its parts."""

    def setup():
        shutil.rmtree(store, ignore_errors=True)
        spent.clear()

    with timed(parts) as spent:
        made = benchmark.pedantic(lambda: make(plan, store), setup=setup, rounds=3, warmup_rounds=1)
    shutil.rmtree(store)
    benchmark.extra_info["stages_ms"] = milliseconds(Counter(made.stages), samples)
    benchmark.extra_info["render_ms"] = milliseconds(spent, samples)
    if benchmark.stats is not None:
        rate = samples / benchmark.stats.stats.min
        benchmark.extra_info["samples_per_s"] = round(rate, 2)
        print(f"\n{benchmark.name}: {benchmark.extra_info}")
