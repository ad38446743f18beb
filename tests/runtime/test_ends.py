"""Programs that end, or wait, as Python lets them: `async def`, sys.exit and os._exit, at real processes."""

import sys

import pytest

import mpcrt
from mpcrt.errors import PeerFailed, TraceError, UsageError, UserFunctionError
from mpcrt.runtime import programs

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")

PROGRAM = """
import asyncio, os, sys
import numpy as np
import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")

@alice
async def load():
    await asyncio.sleep(0.01)
    if sys.argv[1] == "exit":
        sys.exit(0)
    if sys.argv[1] == "end":
        print("on its way", file=sys.stderr, flush=True)
        os._exit(int(sys.argv[2]))
    return np.ones(3, np.float32)

@bob
def report(y):
    print("bob:", y.tolist(), flush=True)

@spu
def double(x):
    return x * 2

async def main():
    x = load()
    await asyncio.sleep(0.01)
    y, z = await asyncio.gather(called(x), called(x))
    report(y.to(bob))
    report(z.to(bob))

async def called(x):
    await asyncio.sleep(0)
    return double(x)
"""


def test_an_async_main_and_party_function_run(launcher):
    ended = launcher.run("run", launcher.cluster(), launcher.program(PROGRAM), "--", "go")
    assert ended.code == 0, ended.err
    assert ended.out.count("bob: [2.0, 2.0, 2.0]") == 2


def test_sys_exit_in_a_party_function_is_named(launcher):
    ended = launcher.run("run", launcher.cluster(), launcher.program(PROGRAM), "--", "exit")
    assert ended.code == 1
    assert ended.last("alice").startswith(
        "mpcrt: alice: load() ended with sys.exit(0) in call 1; a party function returns"
    )
    assert "alice failed in load (call 1)" in ended.last("bob")


@pytest.mark.parametrize("code", [0, 5])
def test_os_exit_in_a_party_function_is_a_lost_party(launcher, code):
    """No code can be trusted then. The others say what they waited for; the launcher, who sees the process end without
    having said so, what it was at."""
    ended = launcher.run("run", launcher.cluster(idle=3.0), launcher.program(PROGRAM), "--", "end", code)
    assert ended.code == 3
    verdict = ended.err.splitlines()[-1]
    assert verdict.startswith(f"mpcrt: alice: its process ended with code {code} and without a word, as by os._exit()")
    assert "the last party function that it began is load()" in verdict and "alice 3, bob 3, dealer 3" in verdict
    assert "was lost: no connection for " in ended.last("bob")
    assert "while bob waited for the result of load() (call 1)" in ended.last("bob")


def test_what_else_ends_a_function_is_the_users_failure(world):
    import asyncio
    import sys

    for end in (KeyboardInterrupt, asyncio.CancelledError, lambda: SystemExit("private 31337")):

        def ends(end=end):
            raise end()

        made = world(lambda session, f=ends: alice(f)().shape)
        failure = made.failures["alice"]
        assert isinstance(failure, UserFunctionError) and "ends()" in str(failure) and "31337" not in str(failure)
        assert isinstance(made.failures["bob"], PeerFailed) and "alice failed in ends" in str(made.failures["bob"])
    made = world(lambda session: spu(lambda x: sys.exit(3))(alice(lambda: 1.0)()).shape)
    assert any(isinstance(e, TraceError) and "SystemExit" in str(e) for e in made.failures.values())


def test_the_users_line_is_named_in_whatever_folder_it_lies(tmp_path):
    """A clone of mpcrt too: parties compare these texts, and differ in folders."""
    program = tmp_path / "mpcrt" / "program.py"
    program.parent.mkdir()
    program.write_text("import json\n\ndef main():\n    json.loads('no')\n")
    try:
        programs.load(program).main()
    except ValueError as error:
        assert programs.line_of(error) == f" ({program}:4)"
    finally:
        sys.path.remove(str(program.parent))


def test_async_and_generator_functions_that_would_not_run_are_refused(world):
    async def later(x):
        return x

    def rows(x):
        yield x

    def program(session):
        x = alice(lambda: 1.0)()
        for function in (later, rows):
            with pytest.raises(UsageError, match="plain JAX"):
                spu(function)(x)

    world(program).check()

    def main():
        yield

    async def agen():
        yield

    for function in (main, agen):
        with pytest.raises(UsageError, match="generator"):
            programs.call_main(function, [])


def test_calls_of_a_worker_thread_of_an_async_main_are_refused(world):
    import asyncio

    async def elsewhere():
        await asyncio.to_thread(alice(lambda: 1.0))

    def program(session):
        with pytest.raises(UsageError, match="another thread"):
            programs.call_main(elsewhere, [])

    world(program).check()
