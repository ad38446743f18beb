"""The public names, locked: adding or removing one is a decision, and shows here and in the changelog."""

import importlib.metadata
import inspect
import subprocess
import sys

import pytest

import mpcrt

NAMES = {
    "LocalCluster": ("cluster",),
    "party": ("name",),
    "spu": ("name",),
    "public": None,
    "statistics": (),
}
ERRORS = {
    "MpcrtError": 1,
    "UsageError": 2,
    "ConfigError": 2,
    "UserFunctionError": 1,
    "TraceError": 1,
    "InputError": 1,
    "LinkError": 3,
    "PeerLost": 3,
    "PeerFailed": 3,
    "ProtocolError": 3,
    "DisagreementError": 4,
    "PolicyError": 5,
}


def test_names():
    assert set(mpcrt.__all__) == set(NAMES) | set(ERRORS)
    assert set(dir(mpcrt)) == set(mpcrt.__all__)


def test_the_version_is_the_installed_packages():
    assert mpcrt.__version__ == importlib.metadata.version("mpcrt")
    with pytest.raises(AttributeError):
        _ = mpcrt.__versions__  # pyright: ignore[reportAttributeAccessIssue]


def test_first_parameters():
    for name, parameters in NAMES.items():
        if parameters is not None:
            given = tuple(p for p in inspect.signature(getattr(mpcrt, name)).parameters)
            assert given[: len(parameters)] == parameters, name


def test_errors_and_their_exit_codes():
    for name, code in ERRORS.items():
        error = getattr(mpcrt, name)
        assert issubclass(error, mpcrt.MpcrtError) and error.exit_code == code, name


def test_importing_starts_nothing():
    code = "import mpcrt, sys, threading; assert threading.active_count() == 1; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
