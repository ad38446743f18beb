"""How every command ends: one clear last line on standard error, and the exit code of what happened."""

import logging
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mpcrt.cluster import exit_codes, streams
from mpcrt.cluster.logs import last_line, say_last
from mpcrt.errors import MpcrtError, UserFunctionError
from mpcrt.text import LINE, plain

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _profile_file(ctx: click.Context, parameter: click.Parameter, file: Path | None) -> Path | None:
    if file is not None and not os.access(file.absolute().parent, os.W_OK):
        raise click.BadParameter(f"{file.absolute().parent} is no folder that can be written to", ctx, parameter)
    return file


profile_option = click.option(
    "--profile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    callback=_profile_file,
    help="Write where time goes to FILE, for `mpcrt profile` and ui.perfetto.dev: calls, steps, waiting, bytes.",
)


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How much is logged, how, and where."""
    for option in (
        click.option("--log-json", is_flag=True, help="Log one JSON object a line, and nothing else."),
        click.option(
            "--log-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
            help="Log to FILE as well, after what it has; whatever -q leaves out is there.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only."),
        click.option("-v", "--verbose", is_flag=True, help="Log more, with tracebacks."),
    ):  # fmt: skip
        command = option(command)
    return command


@dataclass
class Shell:
    """What the last line needs to know. Commands fill it in as they learn it. `said`: its message."""

    party: str = ""
    verbose: bool = False
    log_json: bool = False
    log_file: Path | None = None
    said: str = ""

    def say(self, message: str, code: int) -> None:
        """The last line: `mpcrt: <party>: message`, or one JSON object."""
        self.said = plain(message, LINE)
        say_last(last_line(self.party, message, code, self.log_json), self.log_file)

    def ended(self, code: int) -> None:
        """Nothing follows; a process that ends without saying so was ended by something else."""
        streams.ends(code, self.said)

    def explain(self, error: BaseException) -> None:
        """The traceback; in JSON its places and type alone, since what an exception says may quote data."""
        if self.log_json:
            logging.getLogger("mpcrt.cli").error("ended by an exception", exc_info=error)
        else:
            traceback.print_exception(error)


class _Interrupted(Exception):
    """Ctrl-C, SIGTERM or SIGHUP."""


class Commands(click.Group):
    """A group whose errors end the process by the table in docs/exit-codes.md."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        words = list(arguments[0] if arguments and arguments[0] is not None else options.get("args") or sys.argv[1:])
        # known before the words are taken apart, which may fail
        shell = Shell(log_json="--log-json" in words[: words.index("--") if "--" in words else None])
        options |= {"prog_name": "mpcrt", "standalone_mode": False, "obj": shell}
        code = self._run(shell, *arguments, **options)
        shell.ended(code)
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _Interrupted from None  # click would print an empty line

    def _run(self, shell: Shell, *arguments: Any, **options: Any) -> int:
        try:
            code = super().main(*arguments, **options)
            return code if isinstance(code, int) else exit_codes.DONE
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return exit_codes.USAGE
        except click.ClickException as error:
            context = error.ctx if isinstance(error, click.UsageError) else None
            hint = f" (see `{context.command_path} --help`)" if context is not None else ""
            shell.say(error.format_message().rstrip(".") + hint, exit_codes.USAGE)
            return exit_codes.USAGE
        except (_Interrupted, click.Abort, KeyboardInterrupt):
            shell.say("interrupted", exit_codes.INTERRUPTED)
            return exit_codes.INTERRUPTED
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains when it flushes at exit
            return exit_codes.USER
        except MpcrtError as error:
            if shell.verbose and not isinstance(error, UserFunctionError):
                shell.explain(error)
            shell.say(str(error) or type(error).__name__, error.exit_code)
            return error.exit_code
        except Exception as error:
            # its message may hold data, so the last line, which is passed on, has its type alone
            shell.explain(error)
            shell.say(f"internal error: {type(error).__name__}; the traceback above is for a bug report", 1)
            return exit_codes.USER
