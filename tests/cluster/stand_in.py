"""A stand-in for a party's process: `stand_in.py PARTY BEHAVIOUR PIDS SCRATCH LIFELINE [LISTEN]`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from mpcrt.cluster import lifeline, streams

WORDS = {
    1: "load_data failed (call 1): no such file",
    2: "bad usage or configuration",
    4: "the parties disagree",
    5: "refused by policy",
}


def main() -> int:
    party, behaviour, pids, scratch = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    lifeline.watch(int(sys.argv[5]), scratch, grace=0.5)
    if len(sys.argv) > 6:
        listening = socket.socket(fileno=int(sys.argv[6]))
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    whole = pids.with_name(f"{party}.pid")  # who looks finds the number or no file
    whole.write_text(str(os.getpid()))
    whole.replace(pids / party)
    if behaviour == "grandchild":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        (pids / f"{party}-child").write_text(str(child.pid))
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour == "polite":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    if behaviour in ("sleep", "stubborn", "polite"):
        print(f"{party} sleeps", file=sys.stderr, flush=True)
        time.sleep(300)
    if behaviour == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if behaviour == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "print":
        print('{"rows": 3}', flush=True)
        print("loading\nloaded", file=sys.stderr, flush=True)
    if behaviour.startswith("vanish"):
        print(f'{streams.CONTROL}{{"begin": "load_data()"}}\nof its own', file=sys.stderr, flush=True)
        os._exit(int(behaviour.removeprefix("vanish")))
    code, said = 0, ""
    if behaviour.startswith("exit"):
        code = int(behaviour.removeprefix("exit"))
        if code:
            said = WORDS.get(code, "ends")
            print(f"mpcrt: {party}: {said}", file=sys.stderr, flush=True)
    control = {"end": code, "said": said}
    print(streams.CONTROL + json.dumps(control), file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
