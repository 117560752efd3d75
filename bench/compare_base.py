"""What every comparison of bench/compare is made of: two programs that obey, and rows."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import compare_models
import compare_report

HERE = Path(__file__).parent
# Of scores, by their size or by 1, whichever is larger; int8 is only told.
TOLERANCES = {"fp32": 2e-3, "bf16": 0.15}


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
            env=os.environ | (variables or {}),
        )  # fmt: skip
        self.obeyed()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended with code {self.process.wait()}")
        return json.loads(line)

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

    def __exit__(self, *ignored):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()


class Comparison:
    def __init__(self, flags, about):
        self.flags, self.about = flags, about
        self.folder = Path(flags.out).resolve().parent / "compare-models"
        self.rows, self.missing = [], []
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
        except Failed as failure:
            self.missing.append(f"{what} ({failure})")
            self.tell(f"compare: {self.missing[-1]}")

    def pairs(self, turn):
        """turn(i) -> (seconds of ours, of theirs), in turns; medians, that of the ratios, too."""
        times = [turn(i) for i in range(self.flags.pairs)]
        ours, theirs = (statistics.median(column) for column in zip(*times))
        return ours, theirs, statistics.median(other / own for own, other in times)

    def check_logits(self, model, ours, other, precision, stride=16):
        """Of some windows, before anything is timed."""
        files = [self.folder / f"{side.name}.logits" for side in (ours, other)]
        for side, file in zip((ours, other), files):
            side.ask("logits", file, 0, stride)
        own, theirs = (np.fromfile(file, np.float32) for file in files)
        if own.size != theirs.size or not np.isfinite(own).all():
            raise SystemExit(f"compare: {model}: logits of {other.name} and Bertrand do not match.")
        off, size = float(np.abs(own - theirs).max()), float(np.abs(theirs).max())
        self.tell(f"{model}, {precision}: logits of {other.name} and Bertrand differ by {off:.1e} "
                  f"of {size:.1f} at most.")  # fmt: skip
        if off > TOLERANCES.get(precision, np.inf) * max(1, size):
            raise SystemExit(f"compare: {model}: the logits are not equal, so times say nothing.")

    def prepare(self, onnx):
        """In a process of its own, which gives back the memory that exporting takes."""
        for model in self.flags.model:
            command = [sys.executable, compare_models.__file__, model, self.folder / model]
            subprocess.run(command + (["onnx"] if onnx else []), check=True)

    def run(self):
        for work in self.flags.work:
            for model in self.flags.model:
                getattr(self, work)(model)
