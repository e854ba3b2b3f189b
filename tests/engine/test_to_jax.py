import socket

import pytest
import scripts
import stores

COUNT = 50


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return stores.make(tmp_path_factory.mktemp("jax") / "x.zarr", stores.describe(COUNT))


HEAD = """
import itertools
import jax
import numpy as np
import stores
from jax.sharding import NamedSharding, PartitionSpec
from voxelmill.engine.reader import open_store
from voxelmill.engine.sample import Rows
from voxelmill.engine.to_jax import jax_batches

reader, found = open_store(sys.argv[1]), {}
DENSE = ["image", "mask", "inside"]

def indices(batches, most=None):
    return [batch["index"].tolist() for batch in itertools.islice(batches, most)]

def told(kind, do):
    try:
        do()
    except kind as error:
        return str(error)

def good(batch):
    return all(
        np.array_equal(np.asarray(batch[name])[i], stores.sample(j)[name])
        for i, j in enumerate(batch["index"].tolist()) for name in DENSE
    )
"""

FOUR_DEVICES = """
mesh = jax.make_mesh((4,), ("data",))
sharding = NamedSharding(mesh, PartitionSpec("data"))
whole = list(jax_batches(reader.batches(8, fields=[*DENSE, "params"]), sharding))
found["good"] = all(good(b) for b in whole)
found["devices"] = sorted({len(b[name].sharding.device_set) for b in whole for name in DENSE})
found["rows of a device"] = whole[0]["image"].addressable_shards[1].data.shape
found["types"] = {k: [type(v).__name__, str(v.dtype)] for k, v in whole[0].items()}
found["seen"] = sum((b["index"].tolist() for b in whole), [])

# Without a sharding: one device, ragged fields too
batch = next(jax_batches(reader.batches(8)))
theirs = next(reader.batches(8))
found["one device"] = good(batch) and isinstance(batch["objects"].values, jax.Array)
found["rows"] = stores.same({k: np.asarray(v) for k, v in batch["runs"]._asdict().items()},
                            theirs["runs"]._asdict())
padded = reader.batches(8, padded={"objects": (9, "drop")}, fields=["objects"])
batch = next(jax_batches(padded, sharding))
found["padded"] = batch["objects"].shape

# Buffers that are used again change no array, also where JAX could share their memory
def aligned(shape, dtype):
    raw = np.empty(int(np.prod(shape)) * np.dtype(dtype).itemsize + 64, np.uint8)
    first = -raw.ctypes.data % 64
    return raw[first : first + raw.size - 64].view(dtype).reshape(shape)

for name, where in {"reused": None, "reused and sharded": sharding}.items():
    out = [{"image": aligned((8, 5, 7), "float32"), "mask": aligned((8, 5, 7), "uint8"),
            "inside": aligned((8, 3), "bool")} for _ in range(2)]
    batches = list(jax_batches(reader.batches(8, fields=DENSE, out=out), where))
    found[name] = [len(batches), all(good(b) for b in batches)]

# The position is that of what was handed over; it goes on, also on two ranks
first = jax_batches(reader.batches(4, seed=3, end="uneven"), ahead=3)
head = indices(first, 5)
state = json.loads(json.dumps(first.state_dict()))
found["delivered"] = state["delivered"]
rest = []
for rank in range(2):
    other = jax_batches(reader.batches(4, seed=3, end="uneven", rank=rank, ranks=2))
    other.load_state_dict(state)
    rest += indices(other)
found["resumed"] = sorted(sum(head + rest, []))
found["left early"] = head + indices(first) == indices(reader.batches(4, seed=3, end="uneven"))
found["next epoch"] = indices(first) == indices(
    reader.batches(4, seed=3, end="uneven", epoch=1))
first.set_epoch(5)
found["epoch"] = indices(first) == indices(reader.batches(4, seed=3, end="uneven", epoch=5))

endless = jax_batches(reader.batches(4, seed=3, epochs=None), ahead=3)
indices(endless, 11)
endless.set_epoch(1)
found["what was ahead"] = indices(endless, 12) == indices(reader.batches(4, seed=3, epoch=1))

found["by length"] = True
for ahead in (0, 2):
    counted = jax_batches(reader.batches(4, seed=3), ahead=ahead)
    for epoch in range(3):
        due = indices(reader.batches(4, seed=3, epoch=epoch))
        found["by length"] &= indices(counted, len(counted)) == due

# An error comes at its batch, and nothing is lost
file = next((reader.path / "image" / "c" / "1").rglob("0"))
stream = jax_batches(open_store(reader.path).batches(2, False, fields=DENSE), ahead=3)
file.rename(reader.path / "away")
seen = []
def loop():
    for batch in stream:
        seen.append(batch["index"].tolist())
found["error"] = told(OSError, loop)
found["before"] = sum(seen, [])
(reader.path / "away").rename(file)
loop()
found["all"] = sum(seen, []) == list(range(50))

full = jax_batches(reader.batches(2, False, fields=DENSE), ahead=3)
put, left = full._put, [3]
def once_full(batch):
    left[0] -= 1
    if not left[0]:
        raise OSError("no room on the device")
    return put(batch)
full._put, stream, seen = once_full, full, []
found["full"] = told(OSError, loop)
loop()
found["all but once"] = sum(seen, []) == list(range(50))

found["ragged"] = told(ValueError, lambda: next(jax_batches(reader.batches(8), sharding)))
found["uneven"] = told(
    ValueError, lambda: next(jax_batches(reader.batches(6, fields=DENSE), sharding)))
found["ahead"] = told(ValueError, lambda: jax_batches(reader.batches(6), ahead=-1))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def four(whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("four")
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    code = HEAD + FOUR_DEVICES
    return scripts.result(scripts.start(folder, "four", code, [whole], **environment))


def test_a_batch_lies_over_the_devices_of_a_mesh(four):
    assert four["good"]
    assert four["devices"] == [4]
    assert four["rows of a device"] == [2, 5, 7]
    assert len(set(four["seen"])) == 48
    assert four["types"]["index"] == ["ndarray", "int64"]
    assert four["types"]["params"] == ["ArrayImpl", "float32"]
    assert four["types"]["inside"] == ["ArrayImpl", "bool"]


def test_ragged_fields_go_to_one_device_or_padded_to_several(four):
    assert four["one device"]
    assert four["rows"]
    assert four["padded"] == [8, 9, 2]
    assert "'objects' is ragged" in four["ragged"]
    assert "padded=" in four["ragged"]


def test_a_buffer_used_again_changes_no_array(four):
    assert four["reused"] == [6, True]
    assert four["reused and sharded"] == [6, True]


def test_the_position_is_of_what_was_handed_over(four):
    assert four["delivered"] == 20
    assert four["resumed"] == list(range(COUNT))
    assert four["left early"]
    assert four["next epoch"]
    assert four["epoch"]
    assert four["what was ahead"]
    assert four["by length"]


def test_an_error_comes_at_its_batch_and_nothing_is_lost(four):
    assert "image/c/1" in four["error"]
    assert four["before"] == [0, 1, 2, 3]
    assert four["all"]
    assert four["full"] == "no room on the device"
    assert four["all but once"]


def test_what_does_not_fit_is_refused(four):
    assert "divide" in four["uneven"]
    assert "ahead -1 must be 0 or more" in four["ahead"]


TWO_PROCESSES = """
rank, port = int(sys.argv[2]), sys.argv[3]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
mesh = jax.make_mesh((4,), ("data",))
sharding = NamedSharding(mesh, PartitionSpec("data"))
place = {"rank": jax.process_index(), "ranks": jax.process_count()}
found["seen"], found["good"] = [], True
for batch in jax_batches(reader.batches(4, fields=DENSE, seed=3, **place), sharding):
    mine = np.concatenate([np.asarray(s.data) for s in batch["image"].addressable_shards])
    due = [stores.sample(i)["image"] for i in batch["index"].tolist()]
    found["good"] &= batch["image"].shape == (8, 5, 7) and np.array_equal(mine, due)
    found["seen"] += batch["index"].tolist()
found["without ranks"] = told(
    ValueError, lambda: next(jax_batches(reader.batches(4, fields=DENSE), sharding)))
print(json.dumps(found))
"""


def test_each_process_gives_its_part(whole, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    code = HEAD + TWO_PROCESSES
    running = [
        scripts.start(tmp_path, f"process{r}", code, [whole, r, port], **environment)
        for r in range(2)
    ]
    found = [scripts.result(process) for process in running]
    assert all(f["good"] for f in found)
    assert len(set(found[0]["seen"] + found[1]["seen"])) == 48
    assert all("pass rank= and ranks=" in f["without ranks"] for f in found)
