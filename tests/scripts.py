"""Runs a piece of code in an interpreter of its own, which is ended if it hangs."""

import json
import os
import subprocess
import sys
from pathlib import Path

HEAD = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
"""


def start(folder, name, code, arguments=(), **environment):
    """Begin to run `code` as the file `folder`/`name`.py, so that spawned workers find it."""
    file = Path(folder) / f"{name}.py"
    file.write_text(HEAD + code)
    return subprocess.Popen(
        [sys.executable, str(file), *map(str, arguments)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def result(process, timeout=60):
    """What its last line says, as JSON. Raises if it failed, or took longer than `timeout` s."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        out, err = process.communicate()
        raise AssertionError(f"it hangs:\n{out}\n{err}") from None
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])
