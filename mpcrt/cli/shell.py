"""How every command ends: one clear last line on standard error, and the exit code of what happened."""

import json
import logging
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mpcrt.cluster import exit_codes
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


@dataclass
class Shell:
    """What the last line needs to know. Commands fill it in as they learn it."""

    party: str = ""
    verbose: bool = False
    log_json: bool = False

    def say(self, message: str, code: int) -> None:
        """The last line: `mpcrt: <party>: message`, or one JSON object."""
        message = plain(message, LINE)
        if self.log_json:
            line = json.dumps({"level": "error", "party": self.party, "message": message, "exit_code": code})
        else:
            line = f"mpcrt: {self.party}: {message}" if self.party else f"mpcrt: {message}"
        logging.shutdown()
        sys.stdout.flush()
        print(line, file=sys.stderr, flush=True)

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
        shell = Shell()
        options |= {"prog_name": "mpcrt", "standalone_mode": False, "obj": shell}
        sys.exit(self._run(shell, *arguments, **options))

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
