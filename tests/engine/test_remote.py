"""Stores behind URLs: the same batches, few requests, every fault in words, no secrets, a cache."""

import json
import logging
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import stores
from servers import Faults, http_server, s3_server

from voxelmill.engine import open_store
from voxelmill.engine.cache import BLOCK, Cache
from voxelmill.engine.cached import least_bytes, open_remote
from voxelmill.engine.errors import StoreError
from voxelmill.engine.faults import AbsentError, DamagedError, RemoteError, explained
from voxelmill.engine.group import describe, read_group
from voxelmill.engine.location import Location
from voxelmill.engine.s3_environment import s3_settings
from voxelmill.engine.sample import Field
from voxelmill.engine.store import create, finish
from voxelmill.engine.writer import ShardWriter

SECRET, KEY_ID, TOKEN = "wJalrXUtnFEMI-K7MDENG", "AKIAIOSFODNN7EXAMPLE", "FwoGZXIvYXdzE-token"
NAMES = ["image", "mask", "inside", "objects", "runs", "params"]
COUNT = 11


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    """Credentials of nobody, and none of the machine's own."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The store in a folder; what is served."""
    folder = tmp_path_factory.mktemp("served")
    stores.make(folder / "x.zarr")
    return folder


@pytest.fixture
def web(made):
    with http_server(made) as server:
        server.store = f"{server.url}/x.zarr"
        yield server


@pytest.fixture(scope="module")
def moto():
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(moto, made, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto.url)
    if not hasattr(moto, "store"):
        moto.store = moto.put("bucket", made / "x.zarr", "some/x.zarr")
    moto.faults = Faults()
    moto.requests.clear()
    yield moto
    moto.faults = Faults()


@pytest.fixture
def gs(made, monkeypatch):
    with http_server(made, google="bucket") as server:
        monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", server.url)
        monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "ya29.of-nobody")
        server.store = "gs://bucket/x.zarr"
        yield server


@pytest.fixture(params=["http", "s3", "gs"])
def server(request):
    return request.getfixturevalue({"http": "web", "s3": "s3", "gs": "gs"}[request.param])


def access(url, **options):
    location = Location(url)
    return open_remote(location, describe(location, read_group(location)), **options)


def read(arrays, indices, names=NAMES, out=None):
    return arrays.start(np.array(indices, np.int64), list(names), out).result()


def expect(batch, indices, names=NAMES):
    arrays, params = stores.batch(indices)
    due = {n: params if n == "params" else arrays[n] for n in names}
    assert stores.same(due, batch)
    assert batch["index"].tolist() == list(indices)


def test_the_same_batches_as_in_the_store(server):
    arrays = access(server.store)
    for indices in ([10, 0, 5, 3, 4, 9], [7], list(range(COUNT)), [4, 8]):
        expect(read(arrays, indices), indices)
    assert arrays.column(0, COUNT, 1).tolist() == [stores.sample(i)["params"][1] for i in range(11)]
    assert arrays.column(3, 9, 0).tolist() == [i % 3 for i in range(3, 9)]


def test_open_store_takes_urls(server, made):
    reader, local = open_store(server.store), open_store(made / "x.zarr")
    assert len(reader) == COUNT
    assert repr(reader) == f"Reader({server.store!r}, count=11, partial=False)"
    again = pickle.loads(pickle.dumps(reader))
    for batch, same, due in zip(
        reader.batches(3, seed=5, fields=NAMES),
        again.batches(3, seed=5, fields=NAMES),
        local.batches(3, seed=5, fields=NAMES),
        strict=True,
    ):
        assert stores.same(batch, due)
        assert stores.same(same, due)
        assert batch["index"].tolist() == due["index"].tolist()
    assert reader.params["angle"].tolist() == local.params["angle"].tolist()
    assert reader.split("val").tolist() == local.split("val").tolist()


def test_open_store_keeps_a_cache(web, made, tmp_path):
    options = {"cache": tmp_path / "c", "cache_bytes": PLENTY}
    reader, local = open_store(web.store, **options), open_store(made / "x.zarr")
    first = [batch["index"].tolist() for batch in reader.batches(3, seed=5, fields=NAMES)]
    asked = len(web.requests)
    again = pickle.loads(pickle.dumps(reader))
    later = again.batches(3, seed=5, fields=NAMES)
    for batch, due in zip(later, local.batches(3, seed=5, fields=NAMES), strict=True):
        assert stores.same(batch, due)
    assert len(first) == COUNT // 3
    data = [request for request in web.requests[asked:] if "/c/" in str(request)]
    assert not data, "a second epoch asks the server for no shard"


def test_buffers_are_filled_in_place(web):
    arrays = access(web.store)
    out = {"image": np.full((3, 5, 7), -1, "float32"), "mask": np.zeros((3, 5, 7), "uint8")}
    batch = read(arrays, [9, 2, 5], ["image", "mask"], out)
    assert batch["image"] is out["image"]
    expect(batch, [9, 2, 5], ["image", "mask"])
    for wrong in (np.zeros((3, 7, 5), "float32"), np.zeros((3, 5, 7), "float64")):
        with pytest.raises(ValueError, match=r"out\['image'\] is .*this batch is float32"):
            read(arrays, [9, 2, 5], ["image"], {"image": wrong})
    frozen = np.zeros((3, 5, 7), "float32")
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        read(arrays, [9, 2, 5], ["image"], {"image": frozen})


def test_behind_an_error_no_buffer_is_written_to(web):
    """Whoever gave it may fill it with something else by then."""
    arrays = access(web.store)
    read(arrays, [4], ["image"])
    web.faults.status, web.faults.stalls = {"/mask/c/1": 404}, {"/image/c/1": 0.7}
    out = {"image": np.zeros((2, 5, 7), "float32"), "mask": np.zeros((2, 5, 7), "uint8")}
    reads = arrays.start(np.array([5, 6]), ["mask", "image"], out)
    with pytest.raises(AbsentError):
        reads.result()
    out["image"][:] = 7
    time.sleep(1)
    assert (out["image"] == 7).all()


def test_behind_a_time_out_no_buffer_is_written_to(web):
    arrays = access(web.store, timeout_s=0.2)
    read(arrays, [4], ["image"])
    web.faults.stalls = {"/image/c/1": 1.0}
    out = {"image": np.zeros((2, 5, 7), "float32")}
    reads = arrays.start(np.array([5, 6]), ["image"], out)
    for _ in range(2):  # as who gives up a stream that had failed
        with pytest.raises(RemoteError, match="no answer within"):
            reads.result()
    out["image"][:] = 7
    time.sleep(1.2)
    assert (out["image"] == 7).all()


FORKED = """
import os, sys
from voxelmill.engine import open_store
from voxelmill.engine.errors import StoreError
options = {"cache": sys.argv[2], "cache_bytes": 1 << 26} if sys.argv[2] else {}
store = open_store(sys.argv[1], **options)
batches = store.batches(2)
next(batches)
if os.fork() == 0:
    for begin in (lambda: batches, lambda: store.batches(3)):
        try:
            next(begin())
        except StoreError as error:
            print(str(error), flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("cached", [False, True])
def test_a_forked_child_is_told_and_does_not_wait_for_ever(web, tmp_path, cached):
    """Also of batches that were under way when it was forked."""
    web.faults.delay_s = 0.1
    where = tmp_path / "cache" if cached else ""
    command = [sys.executable, "-W", "ignore", "-c", FORKED, web.store, str(where)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=40)
    assert done.stdout.count("do not survive a fork") == 2


WIDE = Field("image", "uint8", ("y", "x"), (83, 101))  # 8 kB: no two are joined over a third


def wide(index):
    return np.random.default_rng([9, index]).integers(0, 256, WIDE.shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def wide_made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    path, d = folder / "w.zarr", stores.describe(24, 8, fields=(WIDE,), columns=())
    create(path, d)
    for shard in range(d.shards):
        with ShardWriter(path, d, shard) as writer:
            images = np.stack([wide(i) for i in range(8 * shard, 8 * shard + 8)])
            writer.add({"image": images}, np.zeros((8, 0)))
            writer.commit(0.5)
    finish(path)
    return folder


def expect_wide(batch, indices):
    assert batch["index"].tolist() == list(indices)
    np.testing.assert_array_equal(batch["image"], np.stack([wide(i) for i in indices]))


def test_an_index_once_a_shard_then_one_request_a_sample_at_most(wide_made):
    with http_server(wide_made) as web:
        arrays = access(f"{web.url}/w.zarr")
        plan = (  # batch, indexes and samples asked for
            ([1, 5], 1 + 2),
            ([0, 12, 20, 3], 2 + 4),
            ([17, 9, 7], 3),
            ([23, 22, 13, 14, 15], 2),  # neighbours in one request
            ([0, 12], 0),  # what is in the pool
        )
        for indices, due in plan:
            expect_wide(read(arrays, indices, ["image"]), indices)
            assert len(web.gets()) == due
            web.requests.clear()


def test_bytes_in_flight_are_bounded(made):
    with http_server(made, Faults(delay_s=0.05)) as web:
        one = 5 * 7 * 4 * 2  # two images
        arrays = access(f"{web.url}/x.zarr", in_flight_bytes=3 * one)
        expect(read(arrays, [0, 4, 8], ["image"]), [0, 4, 8], ["image"])
        web.most_at_once = 0
        started = [arrays.start(np.array([i, i + 4]), ["image"]) for i in (1, 2, 3, 0, 1, 2)]
        assert arrays.in_flight.used == 3 * one
        expect(started[5].result(), [2, 6], ["image"])  # the last first: none waits for ever
        for reads, i in zip(started, (1, 2, 3, 0, 1, 2), strict=True):
            expect(reads.result(), [i, i + 4], ["image"])
        assert arrays.in_flight.used == 0
        started = [arrays.start(np.array([i]), ["image"]) for i in range(9)]
        del started  # dropped unread
        assert arrays.in_flight.used == 0
        large = list(range(COUNT))
        expect(read(arrays, large, ["image"]), large, ["image"])  # more than the bound: alone


@pytest.mark.parametrize("faults", [Faults(drop=0.05, seed=3), Faults(cut=0.05), Faults(drop=0.3)])
def test_broken_connections_lose_and_repeat_nothing(made, faults):
    with http_server(made, faults) as web:
        arrays = access(f"{web.url}/x.zarr")
        order = np.random.default_rng(2).permutation(np.tile(np.arange(COUNT), 4))
        begun = [arrays.start(order[i : i + 4], NAMES) for i in range(0, len(order), 4)]
        seen = [reads.result() for reads in begun]
        for batch, i in zip(seen, range(0, len(order), 4), strict=True):
            expect(batch, order[i : i + 4].tolist())


def test_s3_that_drops_connections_or_is_busy(s3):
    s3.faults = Faults(drop=0.1, seed=1)
    expect(read(access(s3.store), [3, 10, 6, 1]), [3, 10, 6, 1])
    s3.faults = Faults(status={"/image/c/": 503}, times=3)
    expect(read(access(s3.store), [3, 10, 6, 1]), [3, 10, 6, 1])


def test_a_slow_server_is_waited_for(made):
    with http_server(made, Faults(delay_s=0.1)) as web:
        arrays = access(f"{web.url}/x.zarr")
        expect(read(arrays, list(range(COUNT))), range(COUNT))
        assert web.most_at_once > 4


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (401, RemoteError, r"refuses to give it \(401\).*credentials"),
        (403, RemoteError, r"refuses to give it \(403\).*credentials"),
        (404, AbsentError, r"image/c/1/0/0 is missing; run `voxelmill check` on the store that"),
    ],
)
def test_refused_and_missing_files(server, status, kind, message):
    arrays = access(server.store)
    read(arrays, [5], ["mask"])
    server.faults.status = {"/image/c/1": status}
    with pytest.raises(kind, match=message) as caught:
        read(arrays, [1, 5], ["image", "mask"])
    assert server.store in str(caught.value)
    server.faults.status = {}
    expect(read(arrays, [1, 5]), [1, 5])  # and well again


def test_a_server_that_fails_is_asked_again_and_then_named(server, monkeypatch):
    monkeypatch.setattr("voxelmill.engine.location._LATER", {"max_retries": 2, **_SOON})
    arrays = access(server.store)
    read(arrays, [1], ["image"])
    server.requests.clear()
    server.faults.status = {"/image/c/1": 500}
    with pytest.raises(RemoteError, match="answers 500, also when asked again") as caught:
        read(arrays, [5], ["image"])
    assert caught.value.status == 500
    assert len(server.gets()) == 3
    server.faults.status = {}
    expect(read(arrays, [5], ["image"]), [5], ["image"])


_SOON = {"initial_delay": "10ms", "max_delay": "20ms"}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "refuses to give it"),
        (404, "there is no store at .*look at the address"),
        (500, "500"),
    ],
)
def test_first_contact(server, status, message):
    server.faults.status = {"zarr.json": status}
    with pytest.raises(StoreError, match=message) as caught:
        open_store(server.store)
    assert server.store in str(caught.value)
    server.faults.status = {"commits.bin": status}
    with pytest.raises(StoreError, match=r"commits\.bin"):
        open_store(server.store)
    assert len(server.requests) < 20


def test_a_server_without_ranges_is_not_called_damage(made):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=made)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            store = open_store(f"http://127.0.0.1:{server.server_port}/x.zarr")
            with pytest.raises(RemoteError, match="ignores range requests"):
                store[0]
        finally:
            server.shutdown()
            thread.join()


def test_nobody_answers(monkeypatch):
    with pytest.raises(RemoteError, match="nobody answers there"):
        open_store("http://127.0.0.1:9/x.zarr")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match=r"s3://bucket/x.zarr/zarr.json: nobody answers there"):
        open_store("s3://bucket/x.zarr")


def test_no_answer_in_time(web, monkeypatch):
    arrays = access(web.store, timeout_s=0.3)
    read(arrays, [1], ["image"])
    web.faults.stalls = {"/image/c/1": 1.5}
    with pytest.raises(RemoteError, match=r"/x.zarr/image: no answer within 0.3 s"):
        read(arrays, [5], ["image"])
    monkeypatch.setattr("voxelmill.engine.location.FIRST_CONTACT_S", 0.3)
    web.faults.stalls = {"zarr.json": 1.0}
    with pytest.raises(RemoteError, match=r"zarr.json: no answer within 0.3 s"):
        open_store(web.store)


def test_a_stalled_transfer_is_cut_and_asked_again(web):
    web.faults.stalls, web.faults.stall_times = {"/image/c/1": 30.0}, 1
    code = f"import test_remote as t; t.expect(t.read(t.access({web.store!r}), [5, 1]), [5, 1])"
    folders = [str(Path(__file__).parent), str(Path(stores.__file__).parent)]
    paths = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": "1"}
    subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONPATH": paths},
        check=True,
        timeout=25,
    )


@pytest.fixture
def mine(made, tmp_path):
    """A store of its own, to be damaged, and its server."""
    shutil.copytree(made / "x.zarr", tmp_path / "x.zarr")
    with http_server(tmp_path) as server:
        server.store = f"{server.url}/x.zarr"
        yield server, tmp_path / "x.zarr"


def _flip(file, offset):
    data = bytearray(file.read_bytes())
    data[offset] ^= 4
    file.write_bytes(data)


DAMAGES = {
    "missing": (lambda f: f.unlink(), AbsentError, "is missing"),
    "short": (lambda f: f.write_bytes(f.read_bytes()[:-1]), DamagedError, "is damaged"),
    "half": (lambda f: f.write_bytes(f.read_bytes()[:99]), DamagedError, "is damaged"),
    "empty": (lambda f: f.write_bytes(b""), DamagedError, "is damaged"),
    "payload": (lambda f: _flip(f, 150), DamagedError, "is damaged"),
    "index": (lambda f: _flip(f, -9), DamagedError, "is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("cached", [False, True])
def test_damage_is_named(mine, tmp_path, damage, cached):
    server, path = mine
    do, kind, message = DAMAGES[damage]
    do(path / "image/c/1/0/0")
    options = {"cache": tmp_path / "cache", "cache_bytes": 1 << 24} if cached else {}
    arrays = access(server.store, **options)
    with pytest.raises(kind, match=f"x.zarr/image/c/1/0/0 {message}.*copy what it finds whole"):
        read(arrays, [1, 9, 5, 4])
    expect(read(arrays, [1, 9]), [1, 9])


def test_metadata_that_is_not_the_stores(mine):
    server, path = mine
    text = (path / "image/zarr.json").read_text()
    (path / "image/zarr.json").write_text(text.replace("[11,", "[7,").replace("11,", "7,", 1))
    (path / "mask/zarr.json").unlink()
    (path / "inside/zarr.json").write_text("{")
    for name, what in (("image", "not float32"), ("mask", "NOT_FOUND"), ("inside", "DATA_LOSS")):
        with pytest.raises(StoreError, match=f"{name}/zarr.json is missing or damaged.*{what}"):
            read(access(server.store), [1], [name])


@pytest.fixture(params=["http", "s3", "gs"])
def half(request, made, tmp_path, moto, monkeypatch):
    """A store of three shards of which the second is not made; its server."""
    path = tmp_path / "half.zarr"
    shutil.copytree(made / "x.zarr", path)
    group = json.loads((path / "zarr.json").read_text())
    group["attributes"]["voxelmill"]["state"] = "making"
    (path / "zarr.json").write_text(json.dumps(group))
    (path / "commits.bin").unlink()
    (path / "commits/00000001.json").unlink()
    if request.param == "s3":
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto.url)
        moto.faults = Faults()
        moto.store = moto.put("another", path, "half.zarr")
        yield moto
        del moto.store
        return
    with http_server(tmp_path, google="bucket" if request.param == "gs" else "") as server:
        monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", server.url)
        monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "ya29.of-nobody")
        server.store = (
            "gs://bucket/half.zarr" if request.param == "gs" else f"{server.url}/half.zarr"
        )
        yield server


def test_a_store_that_is_not_whole(half, tmp_path):
    """What is there can be read; else it is said in words."""
    with pytest.raises(StoreError, match=r"is making: shard 1 .*not made yet.*partial=True") as e:
        open_store(half.store)
    assert "follow" not in str(e.value)
    with pytest.raises(StoreError, match="is followed in its folder only: pass partial=True"):
        open_store(half.store, follow=True)
    half.requests.clear()
    reader = open_store(half.store, partial=True)
    assert len([r for r in half.requests if "commits" in r[1]]) == 3  # one a shard, and no list
    seen = []
    for batch in reader.batches(2, seed=1, fields=NAMES, end="uneven"):
        indices = batch["index"].tolist()
        expect(batch, indices)
        seen += indices
    assert sorted(seen) == [0, 1, 2, 3, 8, 9, 10]
    with pytest.raises(StoreError, match="sample 5 is in shard 1, which is not made yet"):
        _ = reader[5]
    kept = open_store(half.store, partial=True, cache=tmp_path / "c", cache_bytes=PLENTY)
    with pytest.raises(StoreError, match="is not whole, and what may still change is not kept"):
        _ = kept[0]


def test_requests_at_once_are_bounded(made):
    with http_server(made, Faults(delay_s=0.02)) as web:
        reader = open_store(f"{web.url}/x.zarr", requests_at_once=3)
        for batch in reader.batches(5, fields=["image", "mask", "inside"], ahead=4):
            expect(batch, batch["index"].tolist(), ["image", "mask", "inside"])
        assert web.most_at_once == 3
    with pytest.raises(ValueError, match="requests_at_once=0 must be 1 or more"):
        _ = open_store(f"{web.url}/x.zarr", requests_at_once=0)[0]


def test_credentials_are_in_no_error_log_or_repr(s3, caplog, capfd, monkeypatch):
    shown = []
    with caplog.at_level(logging.DEBUG):
        for status in (401, 403, 404, 418):
            s3.faults.status = {"image/c": status}
            reader = open_store(s3.store)
            with pytest.raises(StoreError) as caught:
                reader.start([1], ["image"]).result()
            shown += [str(caught.value), str(caught.getrepr(style="long")), repr(reader)]
            shown += [repr(vars(reader)), repr(Location(s3.store).kvstore("image"))]
            shown.append(pickle.dumps(reader).decode("latin1"))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://someone:{SECRET}@127.0.0.1:9")
        with pytest.raises(
            StoreError, match=r"endpoint http://127.0.0.1:9 is not .* user name"
        ) as e:
            open_store(s3.store)
        shown.append(str(e.value))
    text = "".join((*shown, caplog.text, *capfd.readouterr()))
    for secret in (SECRET, KEY_ID, TOKEN):
        assert secret not in text


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@host/x.zarr",
        "https://host/x.zarr?X-Amz-Signature=hunter2",
        "s3://hunter2@bucket/x.zarr",
        "ftp://me:hunter2@host/x.zarr",
        "s3:///x.zarr",
    ],
)
def test_urls_that_are_refused(url):
    with pytest.raises(StoreError, match=r"host|bucket|s3://") as caught:
        open_store(url)
    assert "hunter2" not in str(caught.getrepr(style="short"))


def test_secrets_are_struck_out_of_what_a_server_says():
    said = f"ABORTED: {SECRET} http://a:{TOKEN}x@h/ X-Amz-Signature=abc&q [HTTP code 500]"
    message = str(explained(ValueError(said), "http://h/x"))
    for secret in (SECRET, TOKEN, "abc"):
        assert secret not in message
    assert "answers 500" in message


def test_where_endpoint_and_region_come_from(monkeypatch, tmp_path):
    assert s3_settings() == {"aws_credentials": {"type": "environment"}}
    config = tmp_path / "config"
    config.write_text(
        "[default]\nregion = eu-north-1\nendpoint_url = http://one:1\n"
        "[profile lab]\nregion = eu-west-3\nservices = here\n"
        "[services here]\ns3 =\n  endpoint_url = http://two:2/\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    found = s3_settings()
    assert (found["endpoint"], found["aws_region"]) == ("http://one:1", "eu-north-1")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    found = s3_settings()
    assert (found["endpoint"], found["aws_region"]) == ("http://two:2", "eu-west-3")
    assert found["aws_credentials"] == {"type": "environment"}
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert s3_settings()["aws_credentials"] == {"type": "default", "profile": "lab"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://three:3")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    found = s3_settings()
    assert (found["endpoint"], found["aws_region"]) == ("http://three:3", "us-west-2")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert "endpoint" not in s3_settings()
    config.write_text(f"aws_secret_access_key = {SECRET}")
    with pytest.raises(StoreError, match="no valid AWS configuration") as caught:
        s3_settings()
    assert SECRET not in str(caught.getrepr(style="short"))


def test_locations():
    for text in ("s3://b/x.zarr", "https://host/x.zarr", "gs://b/x.zarr"):
        place = Location(text + "/")
        assert (str(place), place.is_local) == (text, False)
        assert pickle.loads(pickle.dumps(place)) == place == Location(place)
        assert place.join("a/c/0") == f"{text}/a/c/0"
        with pytest.raises(StoreError, match="not a folder of this machine"):
            _ = place.path
    assert Location("gs://b/some/x.zarr").kvstore("image")["path"] == "some/x.zarr/image/"
    assert Location("file:///tmp/x").path == Location("/tmp/x").path
    assert len({Location("a"), Location("a"), Location("b")}) == 2


PLENTY = 1 << 24


def files_of(folder):
    return {str(f.relative_to(folder)): f for f in folder.rglob("*") if f.is_file()}


def epoch(arrays, seed, count=COUNT, names=NAMES):
    order = np.random.default_rng(seed).permutation(count)
    batches = [order[i : i + 4].tolist() for i in range(0, count, 4)]
    return [(b, arrays.start(np.array(b), list(names))) for b in batches]


@pytest.mark.parametrize("whole_shards", [False, True])
def test_a_second_epoch_asks_for_nothing(server, tmp_path, whole_shards):
    options = {"cache": tmp_path / "c", "cache_bytes": PLENTY, "whole_shards": whole_shards}
    arrays = access(server.store, **options)
    for seed in (1, 2):
        server.requests.clear()
        for indices, reads in epoch(arrays, seed):
            expect(reads.result(), indices)
        assert arrays.column(0, COUNT, 1).tolist() == [
            stores.sample(i)["params"][1] for i in range(COUNT)
        ]
        assert bool(server.requests) == (seed == 1)
    ranges = server.requests or [None]
    assert len(set(ranges)) == len(ranges)
    again = access(server.store, **options)  # and another process
    server.requests.clear()
    for indices, reads in epoch(again, 3):
        expect(reads.result(), indices)
    assert not server.requests
    left = files_of(tmp_path / "c")
    assert not [name for name in left if "lock" in name or name.endswith(".partial")]


def test_each_byte_is_fetched_once(web, tmp_path):
    arrays = access(web.store, cache=tmp_path / "c", cache_bytes=PLENTY)
    for indices, reads in epoch(arrays, 1):
        expect(reads.result(), indices)
    asked = [(path, range_) for _, path, range_ in web.gets()]
    assert len(asked) == len(set(asked))


def test_whole_shards_take_a_request_a_file(wide_made, tmp_path):
    with http_server(wide_made) as web:
        options = {"cache": tmp_path / "c", "cache_bytes": PLENTY, "whole_shards": True}
        arrays = access(f"{web.url}/w.zarr", **options)
        web.requests.clear()
        expect_wide(read(arrays, [3, 20, 5], ["image"]), [3, 20, 5])
        assert len(web.requests) == 2 * 2  # index and samples of two shards
        web.requests.clear()
        expect_wide(read(arrays, [16, 0, 21], ["image"]), [16, 0, 21])
        assert not web.requests


def test_out_is_filled_through_the_cache(web, tmp_path):
    arrays = access(web.store, cache=tmp_path / "c", cache_bytes=PLENTY)
    for _ in range(2):
        out = {"image": np.zeros((3, 5, 7), "float32")}
        batch = read(arrays, [9, 2, 5], ["image", "objects"], out)
        assert batch["image"] is out["image"]
        expect(batch, [9, 2, 5], ["image", "objects"])


def test_what_does_not_fit_is_read_from_the_server(wide_made, tmp_path):
    with http_server(wide_made) as web:
        fits = 11  # of 24 samples of two or three blocks
        bound = 3 * 2 * BLOCK + fits * 4 * BLOCK
        for seed in range(4):
            options = {"cache": tmp_path / "c", "cache_bytes": bound}
            arrays = access(f"{web.url}/w.zarr", **options)  # what was fetched is in no memory
            web.requests.clear()
            for indices, reads in epoch(arrays, seed, 24, ["image"]):
                expect_wide(reads.result(), indices)
            stored = sum(f.stat().st_blocks * 512 for f in files_of(tmp_path / "c").values())
            assert stored <= bound
        assert 4 <= len(web.gets()) <= 24 - 8  # the rest each time, some joined, what fits never


def test_a_bound_below_one_sample_is_refused(web, tmp_path):
    d = describe(web.store, read_group(web.store))
    with pytest.raises(
        StoreError, match=rf"1,000 bytes cannot hold one .* {least_bytes(d):,} byte"
    ):
        access(web.store, cache=tmp_path / "c", cache_bytes=1000)
    access(web.store, cache=tmp_path / "c", cache_bytes=least_bytes(d))
    for half in ({"cache": tmp_path}, {"cache_bytes": PLENTY}, {"whole_shards": True}):
        with pytest.raises(ValueError, match="whole_shards needs too, is a folder and a bound"):
            access(web.store, **half)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        access(web.store, cache=tmp_path / "file/c", cache_bytes=PLENTY)


def test_a_half_written_or_damaged_cache_is_never_used(web, tmp_path):
    options = {"cache": tmp_path / "c", "cache_bytes": PLENTY}
    expect(read(access(web.store, **options), range(COUNT)), range(COUNT))
    shards = [f for name, f in files_of(tmp_path / "c").items() if "/c/" in name]
    assert len(shards) == 3 * 8
    for i, file in enumerate(sorted(shards)):
        data = bytearray(file.read_bytes())
        if i % 4 == 0:
            data[-10] ^= 1  # index
        elif i % 4 == 1:
            data[5] ^= 1
        elif i % 4 == 2:
            del data[len(data) // 2 :]
        else:
            data = bytes(len(data))  # a hole
        file.write_bytes(data)
    arrays = access(web.store, **options)
    expect(read(arrays, range(COUNT)), range(COUNT))
    for file in shards:  # while it is open
        file.unlink()
    for indices, reads in epoch(arrays, 4):
        expect(reads.result(), indices)
    expect(read(arrays, range(COUNT)), range(COUNT))


def test_stores_that_nobody_reads_make_room(tmp_path, monkeypatch):
    for name, age in (("old", 5000), ("older", 9000), ("live", 0), ("mine", 9999)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(bytes(10 * BLOCK))
        then = time.time() - age
        os.utime(tmp_path / name, (then, then))
    cache = Cache(tmp_path, 40 * BLOCK)
    assert cache.used() == 40 * BLOCK
    assert cache.reserve(5 * BLOCK, "mine")
    assert {p.name for p in tmp_path.iterdir()} == {"old", "live", "mine"}
    assert cache.reserve(5 * BLOCK, "mine")
    assert not cache.reserve(1, "mine")
    monkeypatch.setattr(cache, "_scanned", -9.0)
    assert cache.reserve(6 * BLOCK, "mine")
    assert {p.name for p in tmp_path.iterdir()} == {"old", "live", "mine"}


def test_another_store_at_the_same_address_is_another_cache(mine, tmp_path):
    server, path = mine
    options = {"cache": tmp_path / "c", "cache_bytes": PLENTY}
    expect(read(access(server.store, **options), [1, 2]), [1, 2])
    shutil.rmtree(path)
    other = stores.describe(COUNT, 5)
    stores.make(path, other)
    expect(read(access(server.store, **options), [1, 2]), [1, 2])
    assert len(list((tmp_path / "c").iterdir())) == 2


def _epochs(url, folder, seed, barrier, results):
    arrays = access(url, cache=folder, cache_bytes=PLENTY)
    barrier.wait(60)
    for _ in range(2):
        for indices, reads in epoch(arrays, seed):
            expect(reads.result(), indices)
    results.put(seed)


def test_processes_share_a_cache(web, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(3), spawn.Queue()
    workers = [
        spawn.Process(target=_epochs, args=(web.store, tmp_path / "c", seed, barrier, results))
        for seed in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    web.requests.clear()
    arrays = access(web.store, cache=tmp_path / "c", cache_bytes=PLENTY)
    web.requests.clear()
    expect(read(arrays, range(COUNT)), range(COUNT))
    assert not web.requests
    assert not [f for f in files_of(tmp_path / "c") if f.endswith((".partial", "lock"))]


def test_a_full_disk_only_costs_requests(web, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    arrays = access(web.store, cache=tmp_path / "c", cache_bytes=PLENTY)
    monkeypatch.setattr("voxelmill.engine.mirror.os.pwrite", full)
    for indices, reads in epoch(arrays, 1):
        expect(reads.result(), indices)
