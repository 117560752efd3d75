"""What every comparison of bench/compare is made of: two programs that obey, and rows."""

import array
import ctypes
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import compare_models
import compare_report

HERE = Path(__file__).parent
# Of scores, by their size or by 1, whichever is larger. In 8 bits each program rounds by rules of its own.
TOLERANCES = {"fp32": 2e-3, "bf16": 0.15, "int8": 0.3}


LIBC = ctypes.CDLL(None)


def die_with_parent():
    """In a side, before its program: it is killed, stopped as it may be, where this program is. Ctrl-C is
    for this program alone, which ends its sides."""
    set_parent_death_signal = 1
    os.setpgrp()
    LIBC.prctl(set_parent_death_signal, signal.SIGKILL)


class Failed(Exception):
    """Something that was to be measured cannot be."""


class Side:
    """A program that obeys lines; see compare_side.cpp and compare_peer.py. It stands still while it
    has none to obey: threads that wait in a loop for the next work would slow the other side down."""

    def __init__(self, name, command, variables=None):
        self.name = name
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | (variables or {}), preexec_fn=die_with_parent,
        )  # fmt: skip
        try:
            self.obeyed()
        except BaseException as failure:
            self.__exit__(type(failure))
            raise

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended with code {self.process.wait()}")
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise Failed(f"{self.name} said {line.strip()!r}") from None

    def obeyed(self):
        answer = self.read()
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def ask(self, *words):
        self.process.send_signal(signal.SIGCONT)
        try:
            print(*words, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass
        return self.obeyed()

    def seconds(self, *words):
        return self.ask(*words)["seconds"]

    def __enter__(self):
        return self

    def __exit__(self, kind, *ignored):
        if kind is not None:  # it may be in the middle of long work
            self.process.kill()
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.stdout.close()
        self.process.wait()


def scores_in(file):
    scores = array.array("f")
    scores.frombytes(file.read_bytes())
    return scores


class Comparison:
    def __init__(self, flags, about):
        self.flags, self.about = flags, about
        self.folder = Path(flags.out).resolve().parent / "compare-models"
        self.rows, self.missing = [], []
        self.checked = set()  # whose scores were compared: model, name, precision
        self.end = time.monotonic() + 60 * flags.minutes

    def tell(self, text):
        print(text, file=sys.stderr, flush=True)

    def add(self, model, what, peer, times, floor, unit="s", precision=None, void=False, needs=None):
        """`times`: ours, theirs, ratio. `needs`: the part of R at which Bertrand would reach the
        floor, where it is known. A run that is cut off leaves its rows."""
        ours, theirs, ratio = times
        precision = self.flags.precision if precision is None else precision
        self.rows.append(dict(model=model, work=what, peer=peer, bertrand=ours, other=theirs,
                              ratio=ratio, floor=floor, unit=unit,
                              precision=precision, void=void, needs=needs))  # fmt: skip
        self.tell(compare_report.line_of(self.rows[-1]))
        self.save()

    def save(self):
        out = self.about | {"rows": self.rows, "missing": self.missing}
        Path(self.flags.out).write_text(json.dumps(out, indent=1) + "\n")

    def ours(self, model, windows, precision, variables=None):
        folder = self.folder / model
        return Side("bertrand", [self.flags.bin / "bench_compare", folder, folder / windows,
                                 self.flags.threads, precision,
                                 self.flags.engine, self.flags.device], variables)  # fmt: skip

    def peer(self, name, model, windows, precision):
        folder = self.folder / model
        return Side(name, [sys.executable, HERE / "compare_peer.py", name, folder,
                           folder / windows, self.flags.threads, precision,
                           self.flags.device])  # fmt: skip

    def try_to(self, what, act, *values):
        """What fails, or would begin too late, is told and does not stop the rest."""
        if time.monotonic() > self.end:
            self.missing.append(f"{what} (the time is up)")
            return
        try:
            act(*values)
        except (Failed, OSError, subprocess.CalledProcessError) as failure:
            self.missing.append(f"{what} ({failure})")
            self.tell(f"compare: {self.missing[-1]}")

    def pairs(self, turn):
        """turn(i) -> (seconds of ours, of theirs), in turns; medians, that of the ratios, too."""
        times = [turn(i) for i in range(self.flags.pairs)]
        ours, theirs = (statistics.median(column) for column in zip(*times))
        return ours, theirs, statistics.median(other / own for own, other in times)

    def check_logits(self, model, ours, other, precision, stride=16):
        """Of some windows, once, before anything is timed: by one window alone, and by some at once that
        are padded to 384."""
        key = (model, other.name, precision)
        if key in self.checked:
            return
        own_file, their_file = (self.folder / f"{side.name}.logits" for side in (ours, other))
        ours.ask("logits", own_file, 0, stride)
        own = scores_in(own_file)
        for how, batch, pad in (("alone", 1, 0), ("padded", 4, 384)):
            other.ask("logits", their_file, 0, stride, batch, pad)
            theirs = scores_in(their_file)
            if len(own) != len(theirs) or not all(map(math.isfinite, [*own, *theirs])):
                raise Failed(f"logits of {other.name} and Bertrand do not match")
            off = max(abs(a - b) for a, b in zip(own, theirs))
            size = max(map(abs, theirs))
            self.tell(f"{model}, {precision}: logits of {other.name}, {how}, and Bertrand differ by "
                      f"{off:.1e} of {size:.1f} at most.")  # fmt: skip
            if off > TOLERANCES[precision] * max(1, size):
                raise Failed(f"logits of {other.name} and Bertrand are not equal, so times say nothing")
        self.checked.add(key)

    def prepare(self, onnx):
        """In a process of its own, which gives back the memory that exporting takes."""
        for model in self.flags.model:
            command = [sys.executable, compare_models.__file__, model, self.folder / model]
            subprocess.run(command + (["onnx"] if onnx else []), check=True)

    def run(self):
        for work in self.flags.work:
            for model in self.flags.model:
                getattr(self, work)(model)
