"""Threads of a test that are over when their block is, however that ends."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def beside(*functions: Callable[[], object], seconds: float = 100.0) -> Iterator[list[threading.Thread]]:
    """Runs each function in a thread of its own meanwhile, and waits for them, `seconds` for each.

    Raises what the first of them raised, if the block itself is fine, and AssertionError for one that does not end.
    """
    errors: list[BaseException] = []

    def guarded(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join(seconds)
        hanging = [thread.name for thread in threads if thread.is_alive()]
    assert not hanging, f"{hanging} did not end within {seconds:g} s"
    if errors:
        raise errors[0]
