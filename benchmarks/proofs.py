"""What the proofs share: rows of results that are kept at once, and words while training."""

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voxelmill.engine.train import TrainSpec, run


def record(file: Path, key: str, value: dict[str, Any]) -> None:
    """Put a row into the results, in place of an older one of its key."""
    there = json.loads(file.read_text()) if file.exists() else {}
    there[key] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(dict(sorted(there.items())), indent=1) + "\n")
    partial.replace(file)


def trained(spec: TrainSpec, out: Path, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train by a spec in `out`, or go on: what a row says of it, and the rows of its test."""
    result = run(spec, out, folder, told=teller(50))
    row = {
        "seed": spec.seed,
        "steps": result["steps"],
        "of_steps": spec.steps,
        "seconds": result["seconds"],
        "loss": round(result["loss"], 4),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
    }
    return row, result["rows"]


def teller(every: int) -> Callable[[int, float], None]:
    """Says step, loss and time of each so manieth step."""
    begun = time.monotonic()

    def told(step: int, loss: float) -> None:
        if step % every == 0:
            print(f"step {step} loss {loss:.4f} {time.monotonic() - begun:.0f} s", flush=True)

    return told
