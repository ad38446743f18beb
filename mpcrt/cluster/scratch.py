"""The generated files of a local run: its cluster file, and throwaway certificates when the file names none."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from mpcrt.cluster import certificates
from mpcrt.cluster.config import ClusterConfig, TlsPaths, load
from mpcrt.cluster.lifeline import SCRATCH_PREFIX, remove_scratch


class Scratch:
    """A temporary directory (mode 0700) with `file`, the cluster file all local processes read; gone on `close`.

    Throwaway private keys are in no directory: each is in an open file without a name, `keys[party]`, which a process
    that inherits the descriptor finds through a link here, and which the kernel frees however the processes end.
    """

    def __init__(self, config: ClusterConfig) -> None:
        self.keys: dict[str, IO[bytes]] = {}
        self.directory = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX))
        try:
            if config.tls is None:
                certificates.throwaway(config.names, self.directory, self._hold_key)
                paths = {"ca": "ca.pem", "certificate": "{party}.pem", "key": "{party}.key"}
                absolute = {key: str(self.directory / name) for key, name in paths.items()}
                config = config.replace(tls=TlsPaths(**absolute))
            self.file = self.directory / "cluster.yaml"
            self.file.write_text(config.to_yaml(), encoding="utf-8")
            self.config = load(self.file)
        except BaseException:
            self.close()
            raise

    def _hold_key(self, file: Path, key: bytes) -> None:
        held = self.keys[file.stem] = tempfile.TemporaryFile()  # noqa: SIM115
        held.write(key)
        held.flush()
        held.seek(0)
        file.symlink_to(f"/dev/fd/{held.fileno()}")

    def close(self) -> None:
        """Removes the directory, and this process's hold of the keys."""
        for held in self.keys.values():
            held.close()
        remove_scratch(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
