"""Batches from S3 and HTTP beside a bare client that reads the same byte ranges from them.

    python -m pytest benchmarks/test_reader_remote.py --benchmark-enable

The servers are tests/servers.py in a process of their own on the loopback: moto for S3, Python's
http.server for HTTP. They are slow, share the cores with us, and say nothing about a network; what
counts is `server_share`: our samples a second, from the first request for a batch on, divided by
those of plain connections that fetch the same ranges in the same order, decode nothing, and run
right before and behind each of our rounds. Either side has its best number of connections (we 4
or 64, they 4, 16 or 64): these servers give less to many than to few. `default_share` compares our
64 connections with their 64. `open_s` is what opening the store takes, apart. `requests_per_sample`
counts two arrays and the indexes of their shards; neighbours in a batch come in one request.
`delay` cases wait 20 ms before each answer, as an object store would: there the way is right that
has enough requests in flight.
"""

import http.client
import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from pathlib import Path

import boto3
import numpy as np
import pytest

from voxelmill.engine.arrays import REQUESTS_AT_ONCE
from voxelmill.engine.cached import open_remote
from voxelmill.engine.layout import shard_files
from voxelmill.engine.location import Location
from voxelmill.engine.order import Order
from voxelmill.engine.reader import open_store
from voxelmill.engine.sample import Field
from voxelmill.engine.store import Description, create, finish
from voxelmill.engine.writer import ShardWriter

TESTS = str(Path(__file__).parents[1] / "tests")
SAMPLES = int(os.environ.get("VOXELMILL_BENCH_REMOTE_SAMPLES", "768"))
PER_SHARD, BATCH, ROUNDS, DELAY_S = 64, 32, 3, 0.02
CONNECTIONS = (4, 16, 64)
OURS = (4, REQUESTS_AT_ONCE)
AHEAD = 4
NAMES = ["image", "mask"]
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of 512^2 uint8 images, raw, and their masks, zstd."""
    path = tmp_path_factory.mktemp("remote") / "x.zarr"
    shape = (512, 512)
    fields = (
        Field("image", "uint8", ("y", "x"), shape),
        Field("mask", "uint8", ("y", "x"), shape, labels={0: "background"}, is_label=True),
    )
    d = Description(
        count=SAMPLES,
        samples_per_shard=PER_SHARD,
        fields=fields,
        columns=(),
        spec={},
        content_digest="0" * 64,
        layout_digest="0" * 64,
        recipe="made_up",
        recipe_version=1,
        device_class="any",
        inputs={},
        versions={},
    )
    create(path, d)
    rng = np.random.default_rng(0)
    for shard in range(d.shards):
        count = d.samples_in(shard)
        with ShardWriter(path, d, shard) as writer:
            image = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
            blocks = rng.integers(0, 5, (count, 8, 8), dtype=np.uint8)
            writer.add(
                {"image": image, "mask": np.kron(blocks, np.ones((64, 64), np.uint8))},
                np.zeros((count, 0)),
            )
            writer.commit(0.0)
    finish(path)
    return path.parent


def _serve(kind, folder, delay_s, pipe):
    """In a process of its own: serve, tell where, and how many requests there were when asked."""
    sys.path.insert(0, TESTS)
    os.environ.update(SETTINGS)
    from servers import Faults, http_server, s3_server

    with http_server(folder) if kind == "http" else s3_server() as server:
        store = f"{server.url}/x.zarr"
        if kind == "s3":
            store = server.put("bucket", folder / "x.zarr", "x.zarr")
        server.faults = Faults(delay_s=delay_s)
        pipe.send((server.port, store))
        while pipe.recv():
            pipe.send(len(server.requests))
            server.requests.clear()


@pytest.fixture(params=["s3", "http", "s3 delay", "http delay"])
def server(request, folder, monkeypatch):
    """(port, url of the store, function that counts the requests since it was last called)."""
    kind, _, delay = request.param.partition(" ")
    here, there = multiprocessing.Pipe()
    arguments = (kind, folder, DELAY_S if delay else 0.0, there)
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=arguments)
    process.start()
    port, store = here.recv()
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")

    def requests():
        here.send(True)
        return here.recv()

    yield port, store, requests
    here.send(False)
    process.join()


def ranges_of(folder, reader, indices):
    """(path inside the store, first, last byte) of what these samples take, in their order."""
    chunks = {}
    for shard in range(reader.description.shards):
        for name, file in shard_files(reader.description, shard).items():
            index = (folder / "x.zarr" / file).read_bytes()[-16 * PER_SHARD - 4 : -4]
            chunks[name, shard] = file, np.frombuffer(index, "<u8").reshape(-1, 2)
    found = []
    for i in indices:
        shard, place = divmod(i, PER_SHARD)
        for name in NAMES:
            file, index = chunks[name, shard]
            start, length = index[place].tolist()
            found.append((file, start, start + length))
    return found


def addresses_of(port, store, ranges):
    """The path on the server of each file; signed for S3, whose buckets are private."""
    files = {file for file, _, _ in ranges}
    if not store.startswith("s3"):
        return {file: f"/x.zarr/{file}" for file in files}
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    urls = {
        file: client.generate_presigned_url(
            "get_object", Params={"Bucket": "bucket", "Key": f"x.zarr/{file}"}
        )
        for file in files
    }
    return {file: url.partition(f":{port}")[2] for file, url in urls.items()}


def bare(port, addresses, ranges, connections):
    """Seconds that plain keep-alive connections take to fetch `ranges`."""
    todo = iter(ranges)
    lock = threading.Lock()
    missed = []

    def work():
        client = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            with lock:
                item = next(todo, None)
            if item is None:
                return client.close()
            file, first, last = item
            client.request("GET", addresses[file], headers={"Range": f"bytes={first}-{last - 1}"})
            if len(client.getresponse().read()) != last - first:
                missed.append(item)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if missed:
        raise RuntimeError(f"the bare client did not get {missed[0]}")
    return time.perf_counter() - began


def test_shuffled_batches(benchmark, server, folder):
    """A shuffled epoch in batches of 32, all its bytes from the server."""
    port, store, requests = server
    asked, opened = [], []
    bares, ours = {n: [] for n in CONNECTIONS}, {n: [] for n in OURS}

    def epoch(seed):
        reader = open_store(store)
        order = [i for b in reader.batches(BATCH, seed=seed, fields=NAMES) for i in b["index"]]
        ranges = ranges_of(folder, reader, order)
        addresses = addresses_of(port, store, ranges)
        plain = [bare(port, addresses, ranges, n) for n in CONNECTIONS]
        for n in OURS:
            requests()
            opening = time.perf_counter()
            reader = open_store(store, requests_at_once=n)
            began, seen = time.perf_counter(), 0
            for batch in reader.batches(BATCH, seed=seed, fields=NAMES, ahead=AHEAD):
                seen += len(batch["index"])
            ours[n].append(seen / (time.perf_counter() - began))
            opened.append(began - opening)
            asked.append(requests() / seen)
        again = [bare(port, addresses, ranges, n) for n in CONNECTIONS]
        for n, a, b in zip(CONNECTIONS, plain, again, strict=True):
            bares[n].append(seen / ((a + b) / 2))

    def best(by_connections, seed):
        return max(rates[seed] for rates in by_connections.values())

    benchmark.pedantic(lambda: [epoch(seed) for seed in range(ROUNDS)], rounds=1)
    shares = [best(ours, seed) / best(bares, seed) for seed in range(ROUNDS)]
    most = REQUESTS_AT_ONCE
    benchmark.extra_info.update(
        samples_per_s=round(float(np.median(ours[most]))),
        server_share=round(float(np.median(shares)), 2),
        default_share=round(float(np.median(np.divide(ours[most], bares[most]))), 2),
        requests_per_sample=round(float(np.median(asked)), 3),
        ours_by_connections={n: round(float(np.median(v))) for n, v in ours.items()},
        bare_by_connections={n: round(float(np.median(v))) for n, v in bares.items()},
        open_s=round(float(np.median(opened)), 3),
        samples=SAMPLES,
    )


@pytest.mark.parametrize("way", ["samples", "whole shards"])
def test_through_a_cache(benchmark, server, folder, tmp_path, way):
    """An epoch that fills the cache, then one from it; by sample, and by shard in shard order."""
    _, store, requests = server
    whole = way == "whole shards"
    location, whole = Location(store), way == "whole shards"
    reader = open_store(store)
    arrays = open_remote(
        location,
        reader.description,
        cache=tmp_path / "c",
        cache_bytes=1 << 32,
        whole_shards=whole,
    )
    told = {}

    def epoch(number):
        shuffle = "shard" if whole else "global"
        order = Order(SAMPLES, BATCH, 1, number, shuffle=shuffle, samples_per_shard=PER_SHARD)
        under_way, seen = deque(), 0
        for step in range(SAMPLES // BATCH + AHEAD):
            if step < SAMPLES // BATCH:
                under_way.append(arrays.start(order.indices(step), NAMES))
            if step >= AHEAD:
                seen += len(under_way.popleft().result()["index"])
        return seen

    def epochs():
        for number, name in enumerate(("first", "second", "third")):
            requests()
            began = time.perf_counter()
            seen = epoch(number)
            told[f"{name}_samples_per_s"] = round(seen / (time.perf_counter() - began))
            told[f"{name}_requests_per_sample"] = round(requests() / seen, 3)

    benchmark.pedantic(epochs, rounds=1)
    benchmark.extra_info.update(told)
