"""How much memory this process has used at most."""

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
