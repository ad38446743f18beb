"""The generated files of a local run: its cluster file, and throwaway certificates when the file names none."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from mpcrt.cluster import certificates
from mpcrt.cluster.config import ClusterConfig, TlsPaths, load
from mpcrt.cluster.lifeline import SCRATCH_PREFIX, remove_scratch


class Scratch:
    """A temporary directory (mode 0700) with `file`, the cluster file all local processes read; gone on `close`."""

    def __init__(self, config: ClusterConfig) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX))
        try:
            if config.tls is None:
                certificates.throwaway(config.names, self.directory)
                paths = {"ca": "ca.pem", "certificate": "{party}.pem", "key": "{party}.key"}
                absolute = {key: str(self.directory / name) for key, name in paths.items()}
                config = config.replace(tls=TlsPaths(**absolute))
            self.file = self.directory / "cluster.yaml"
            self.file.write_text(config.to_yaml(), encoding="utf-8")
            self.config = load(self.file)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Removes the directory."""
        remove_scratch(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
