"""Which versions run here, found without importing them."""

import importlib.metadata


def package_version(name: str = "mpcrt") -> str:
    """An installed package's version; "source" for a checkout that is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "source" if name == "mpcrt" else "none"
