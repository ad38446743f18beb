"""How much memory this process has used at most, and how much there is."""

import os
import resource
from pathlib import Path


def peak_rss_mb() -> float:
    """MiB. From the kernel's own count: what getrusage gives includes the parent's before exec."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except (OSError, ValueError):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def physical_bytes() -> int:
    """Of this machine; a container may allow less."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 1 << 34
