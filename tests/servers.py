"""Servers on the loopback for tests: HTTP with ranges, a real S3 by moto; all can misbehave.

with http_server(folder) as server: server.url, server.requests, server.faults
with http_server(folder, google="bucket") as server: it speaks as Google Cloud Storage does
with s3_server() as server: server.url, server.put("bucket", folder, "x.zarr")
"""

import random
import re
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")


@dataclass
class Faults:
    """What goes wrong, and where: `status` by part of a path; shares of all requests."""

    status: dict = field(default_factory=dict)  # part of a path -> HTTP status
    stalls: dict = field(default_factory=dict)  # part of a path -> seconds of silence
    drop: float = 0.0  # share of connections that end without an answer
    cut: float = 0.0  # share of answers that end in their middle
    delay_s: float = 0.0  # before each answer
    times: int | None = None  # after so many faults by status all is well
    stall_times: int | None = None  # and after so many stalls
    seed: int = 0

    def __post_init__(self):
        self._random, self._lock = random.Random(self.seed), threading.Lock()

    def chance(self, share):
        with self._lock:
            return self._random.random() < share

    def status_of(self, path):
        status = next((s for part, s in self.status.items() if part in path), None)
        with self._lock:
            if status and self.times is not None:
                self.times -= 1
                return status if self.times >= 0 else None
        return status

    def wait(self, path):
        stall = next((s for part, s in self.stalls.items() if part in path), 0.0)
        with self._lock:
            if stall and self.stall_times is not None:
                self.stall_times -= 1
                stall *= self.stall_times >= 0
        time.sleep(stall or self.delay_s)


@dataclass
class Server:
    """An open server: where it is, what was asked of it, what it shall do wrong."""

    url: str
    port: int
    requests: list = field(default_factory=list)  # (method, path, range or "")
    faults: Faults = field(default_factory=Faults)
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def counted(self, method, path, range_):
        with self._lock:
            self.requests.append((method, path, range_ or ""))
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def gets(self, part="/c/"):
        """The requests whose path has `part` in it."""
        return [r for r in self.requests if r[0] == "GET" and part in r[1]]

    def put(self, bucket, folder, name):
        """Upload a store with boto3, as a user would."""
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        client.create_bucket(Bucket=bucket)
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file():
                client.put_object(
                    Bucket=bucket,
                    Key=f"{name}/{file.relative_to(folder)}",
                    Body=file.read_bytes(),
                )
        self.requests.clear()
        return f"s3://{bucket}/{name}"


def byte_range(header, size):
    """First and behind the last byte of a Range header; None if it asks for nothing there is."""
    found = _RANGE.match(header or "")
    if not found:
        return 0, size
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if int(first) >= size:
        return None
    return int(first), min(size, int(last) + 1) if last else size


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: Server
    folder: Path

    def do_GET(self):
        with self.state.counted("GET", self.path, self.headers.get("Range")):
            self._answer()

    def do_HEAD(self):
        with self.state.counted("HEAD", self.path, None):
            self._answer(body=False)

    def _answer(self, body=True):
        faults = self.state.faults
        faults.wait(self.path)
        if faults.chance(faults.drop):
            return self._hang_up()
        if status := faults.status_of(self.path):
            return self._say(status, b"planned fault")
        file = self.folder / self.path.partition("?")[0].lstrip("/")
        if not file.is_file():
            return self._say(404, b"not here")
        size = file.stat().st_size
        wanted = byte_range(self.headers.get("Range"), size)
        if wanted is None:
            return self._say(416, b"no such range")
        first, last = wanted
        with open(file, "rb") as stream:
            stream.seek(first)
            data = stream.read(last - first)
        ranged = "Range" in self.headers
        extra = {"Content-Range": f"bytes {first}-{last - 1}/{size}"} if ranged else {}
        if faults.chance(faults.cut):
            self._say(206 if ranged else 200, data[: len(data) // 2], extra, len(data))
            return self._hang_up()
        return self._say(206 if ranged else 200, data if body else b"", extra, len(data))

    def _say(self, status, data, extra=(), length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.send_header("Accept-Ranges", "bytes")
        for name, value in dict(extra).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _hang_up(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *args):
        pass


class _GoogleHandler(_Handler):
    """What TensorStore asks Google's JSON API for: objects of one bucket, their keys quoted."""

    bucket: str
    token = "Bearer ya29.of-nobody"

    def parse_request(self):
        if not super().parse_request():
            return False
        begins = f"/storage/v1/b/{self.bucket}/o/"
        self.path = unquote(self.path.partition("?")[0].removeprefix(begins.rstrip("/")))
        if self.headers.get("Authorization") != self.token:
            self.path = "/not allowed"
        return True

    def end_headers(self):
        self.send_header("x-goog-generation", "1")
        super().end_headers()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of the tests


@contextmanager
def http_server(folder, faults=None, google=""):
    """Serve the files of `folder` at http://127.0.0.1:<port>; google: as objects of this bucket."""
    base = _GoogleHandler if google else _Handler
    handler = type("Handler", (base,), {"folder": Path(folder), "bucket": google})
    with _Quiet(("127.0.0.1", 0), handler) as server:
        port = server.server_address[1]
        handler.state = Server(f"http://127.0.0.1:{port}", port, faults=faults or Faults())
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield handler.state
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def s3_server(faults=None):
    """An S3 server with no buckets."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log(self, *args):
            pass

    moto = DomainDispatcherApplication(create_backend_app)
    state = Server("", 0, faults=faults or Faults())

    def app(environ, start_response):
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        with state.counted(method, path, environ.get("HTTP_RANGE")):
            if method == "PUT":
                return moto(environ, start_response)
            state.faults.wait(path)
            if state.faults.chance(state.faults.drop):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                raise ConnectionResetError("planned")
            if status := state.faults.status_of(path):
                start_response(f"{status} planned", [("Content-Length", "0")])
                return [b""]
            return moto(environ, start_response)

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    server.daemon_threads = True
    state.port = server.server_port
    state.url = f"http://127.0.0.1:{state.port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
