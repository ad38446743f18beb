"""One process of a network that runs the harness's jobs over ZeroMQ: `python worker.py NAME FD ADDRESSES`.

Jobs come on standard input and results leave on standard output, each a length and a msgpack tree: from and to the test
alone, which is trusted.
"""

import contextlib
import json
import struct
import subprocess
import sys

import msgpack
import numpy as np
from harness import Job

from mpcrt.cluster.endpoint import Endpoint
from mpcrt.cluster.sockets import listening_socket
from mpcrt.plan import Plan
from mpcrt.transport.zeromq import ZmqLink


def packed(tree) -> bytes:
    def default(x):
        if isinstance(x, np.ndarray):
            return {"dtype": x.dtype.str, "shape": x.shape, "data": x.tobytes()}
        raise TypeError(type(x))

    data = msgpack.packb(tree, default=default)
    return struct.pack("<Q", len(data)) + data


def read(stream):
    head = stream.read(8)
    if len(head) < 8:
        return None
    data = stream.read(struct.unpack("<Q", head)[0])

    def array(x):
        return np.frombuffer(x["data"], x["dtype"]).reshape(x["shape"]).copy() if "dtype" in x else x

    return msgpack.unpackb(data, object_hook=array)


def main(name: str, fd: int, addresses: dict[str, str]) -> None:
    link = ZmqLink(name, addresses, listen_fd=fd, connect=60, idle=60)
    link.open()
    while (job := read(sys.stdin.buffer)) is not None:
        job["plan"] = Plan.from_bytes(job["plan"])
        job["parties"] = tuple(job["parties"])
        result = Job(**job).do(link)
        sys.stdout.buffer.write(packed(result))
        sys.stdout.buffer.flush()
    link.close()


class Network:
    """Worker processes for the computing parties, the dealer and the outsider; `run(jobs)` gives their results."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.calls = 0
        self.workers = {}
        with contextlib.ExitStack() as stack:
            sockets = {name: stack.enter_context(listening_socket(Endpoint("127.0.0.1", 0), name)) for name in names}
            addresses = {name: "{}:{}".format(*s.getsockname()[:2]) for name, s in sockets.items()}
            for name, s in sockets.items():
                command = [sys.executable, __file__, name, str(s.fileno()), json.dumps(addresses)]
                self.workers[name] = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[s.fileno()]
                )

    def run(self, jobs: dict[str, Job]) -> dict:
        for name, job in jobs.items():
            fields = dict(vars(job), plan=job.plan.encoded, calls=self.calls)
            fields["inputs"] = [np.asarray(x) for x in job.inputs]
            stream = self.workers[name].stdin
            assert stream is not None
            stream.write(packed(fields))
            stream.flush()
        self.calls += 1000
        results = {name: read(self.workers[name].stdout) for name in jobs}
        assert all(results.values()), "a worker died; its error is above"
        return results

    def close(self) -> None:
        """Ends the workers; raises TimeoutExpired when one had to be killed."""
        with contextlib.ExitStack() as stack:
            for worker in self.workers.values():
                stack.enter_context(worker)  # closes its pipes and waits for it
                stack.callback(worker.kill)
            for worker in self.workers.values():
                assert worker.stdin is not None
                with contextlib.suppress(BrokenPipeError):
                    worker.stdin.close()
            for worker in self.workers.values():
                worker.wait(20)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
