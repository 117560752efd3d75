"""Measures Bertrand and its peers in turns; started by bench/compare, which describes the flags."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import compare_models
import compare_report
from compare_report import MOST_SPREAD, floor_of

HERE = Path(__file__).parent
MODELS = ["minilm", "bert-base"]
# In this order, so that what time does not suffice for matters least.
WORK = ["ask", "bench", "inference", "int8", "bf16", "training", "latency", "memory"]
PEERS = ["torch", "torch-compile", "onnxruntime", "openvino"]
PEERS_INT8 = ["torch", "onnxruntime"]
TOLERANCE = 2e-3  # of f32 scores, whose size is about 1


class Failed(Exception):
    """Something that was to be measured cannot be."""


class Side:
    """A program that obeys lines; see compare_side.cpp and compare_peer.py."""

    def __init__(self, name, command):
        self.name = name
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended with code {self.process.wait()}")
        return json.loads(line)

    def ask(self, *words):
        try:
            print(*words, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass
        return self.read()

    def seconds(self, *words):
        return self.ask(*words)["seconds"]

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.process.stdin.close()
        self.process.wait()


class Comparison:
    def __init__(self, flags, about):
        self.flags, self.about = flags, about
        self.folder = Path(flags.out).resolve().parent / "compare-models"
        self.rows, self.missing = [], []
        self.threads = {}  # best of a peer, by (peer, model)
        self.end = time.monotonic() + 60 * flags.minutes

    def tell(self, text):
        print(text, file=sys.stderr, flush=True)

    def add(self, model, what, peer, times, floor, unit="s", precision=None, void=False):
        """`times`: ours, theirs, ratio. A run that is cut off leaves its rows."""
        ours, theirs, ratio = times
        precision = self.flags.precision if precision is None else precision
        self.rows.append(dict(model=model, work=what, peer=peer, bertrand=ours, other=theirs,
                              ratio=ratio, floor=floor, unit=unit,
                              precision=precision, void=void))  # fmt: skip
        self.tell(compare_report.line_of(self.rows[-1]))
        self.save()

    def save(self):
        out = self.about | {"rows": self.rows, "missing": self.missing}
        Path(self.flags.out).write_text(json.dumps(out, indent=1) + "\n")

    def ours(self, model, windows, precision):
        folder = self.folder / model
        return Side("bertrand", [self.flags.bin / "bench_compare", folder, folder / windows,
                                 self.flags.threads, precision])  # fmt: skip

    def peer(self, name, model, windows, precision):
        folder = self.folder / model
        return Side(name, [sys.executable, HERE / "compare_peer.py", name, folder,
                           folder / windows, self.flags.threads, precision])  # fmt: skip

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
        """turn(i) -> (seconds of ours, of theirs), in turns; the medians, and that of the ratios."""
        times = [turn(i) for i in range(self.flags.pairs)]
        ours, theirs = (statistics.median(column) for column in zip(*times))
        return ours, theirs, statistics.median(other / own for own, other in times)

    def latency_pairs(self, ours, other, tokens):
        turns = 2 if self.flags.quick else 8
        for side in (ours, other):
            side.ask("latency", tokens, 2)
        return self.pairs(lambda i: tuple(statistics.median(side.seconds("latency", tokens, turns))
                                          for side in (ours, other)))  # fmt: skip

    def check_logits(self, model, ours, other, precision):
        """Of some windows, before anything is timed."""
        files = [self.folder / f"{side.name}.logits" for side in (ours, other)]
        for side, file in zip((ours, other), files):
            side.ask("logits", file, 0, 16)
        own, theirs = (np.fromfile(file, np.float32) for file in files)
        if own.size != theirs.size or not np.isfinite(own).all():
            raise SystemExit(f"compare: {model}: logits of {other.name} and Bertrand do not match.")
        off, size = float(np.abs(own - theirs).max()), float(np.abs(theirs).max())
        self.tell(f"{model}, {precision}: logits of {other.name} and Bertrand differ by {off:.1e} "
                  f"of {size:.1f} at most.")  # fmt: skip
        if precision == "fp32" and off > TOLERANCE * max(1, size):
            raise SystemExit(f"compare: {model}: the logits are not equal, so times say nothing.")

    def set_threads(self, peer, model, seconds):
        """The peer's best of one thread and all; `seconds()` times some of its work. What PyTorch
        compiled is compiled anew for another count: it takes PyTorch's."""
        key = (peer.name, model)
        if peer.name == "torch-compile":
            key = ("torch", model)
        counts = sorted({1, self.flags.threads}, reverse=True)
        if key not in self.threads and not self.flags.quick and peer.name != "torch-compile":
            taken = {}
            for count in counts:
                peer.ask("threads", count)
                seconds()
                taken[count] = seconds()
            self.threads[key] = min(taken, key=taken.get)
        count = self.threads.get(key, self.flags.threads)
        if len(counts) > 1:
            peer.ask("threads", count)
        return f"{count} thread{'s' if count > 1 else ''}"

    def best_batch(self, peer, pad, stride):
        """The peer's best number of windows at once; also its warm-up."""
        sizes = [8] if self.flags.quick else [8, 32] if peer.name == "torch-compile" else [1, 8, 32]
        for size in sizes:
            peer.seconds("inference", 0, stride * 8, size, pad)
        return min(sizes, key=lambda size: peer.seconds("inference", 0, stride * 8, size, pad))

    def stride(self, model):
        """Every so many of the 319 windows a turn."""
        return 60 if self.flags.quick else 4 if model == "minilm" else 12

    def infer(self, model, name, precision, pads):
        stride = self.stride(model)
        with self.ours(model, "inference.txt", precision) as ours, \
                self.peer(name, model, "inference.txt", precision) as peer:  # fmt: skip
            if not self.flags.quick or name != "torch-compile":
                self.check_logits(model, ours, peer, precision)
            for what, pad in pads:
                threads = self.set_threads(
                    peer, model, lambda: peer.seconds("inference", 0, stride * 8, 8, pad))  # fmt: skip
                size = self.best_batch(peer, pad, stride)
                self.add(model, f"inference, {what}", f"{name}, {threads}, batch {size}",
                         self.pairs(lambda i: (
                             ours.seconds("inference", i, stride),
                             peer.seconds("inference", i, stride, size, pad))),
                         floor_of(model, what, precision), precision=precision)  # fmt: skip

    def answer_one(self, model, name, precision):
        with self.ours(model, "inference.txt", precision) as ours, \
                self.peer(name, model, "inference.txt", precision) as peer:  # fmt: skip
            threads = self.set_threads(
                peer, model, lambda: statistics.median(peer.seconds("latency", 128, 3)))  # fmt: skip
            for tokens in (128, 384):
                self.add(model, f"latency, {tokens} tokens", f"{name}, {threads}",
                         self.latency_pairs(ours, peer, tokens),
                         floor_of(model, "latency", precision), precision=precision)  # fmt: skip

    def inference(self, model):
        for name in self.flags.peers:
            self.try_to(f"inference of {model} by {name}", self.infer, model, name,
                        self.flags.precision, (("sorted", 0), ("padded", 384)))  # fmt: skip

    def latency(self, model):
        for name in self.flags.peers:
            self.try_to(f"latency of {model} by {name}", self.answer_one, model, name,
                        self.flags.precision)  # fmt: skip

    def int8(self, model):
        """8-bit products against our own in f32, and against the peers' in 8 bits."""
        self.try_to(f"int8 of {model}", self.own_int8, model)
        for name in [name for name in PEERS_INT8 if name in self.flags.peers]:
            self.try_to(f"int8 inference of {model} by {name}", self.infer, model, name, "int8",
                        (("sorted", 0),))  # fmt: skip
            self.try_to(f"int8 latency of {model} by {name}", self.answer_one, model, name, "int8")

    def own_int8(self, model):
        stride = self.stride(model)
        with self.ours(model, "inference.txt", "int8") as int8, \
                self.ours(model, "inference.txt", "fp32") as fp32:  # fmt: skip
            for side in (int8, fp32):
                side.seconds("inference", 0, stride)
            self.add(model, "inference, sorted", "Bertrand, fp32",
                     self.pairs(lambda i: tuple(side.seconds("inference", i, stride)
                                                for side in (int8, fp32))),
                     floor_of(model, "own int8", "int8"), precision="int8")  # fmt: skip
            for tokens in (128, 384):
                self.add(model, f"latency, {tokens} tokens", "Bertrand, fp32",
                         self.latency_pairs(int8, fp32, tokens), None, precision="int8")  # fmt: skip

    def training_pairs(self, model, ours, other):
        """Steps of 32 windows; of BERT-base one a turn: short, middle and long windows."""
        batch, steps = (2, 1) if self.flags.quick else (32, 4 if model == "minilm" else 1)
        for side in (ours, other):  # two lengths, so that compilation is done with
            side.ask("train", 0, 7, batch, 2, 0, 0)
        batches = len(compare_models.lengths("kTrainingLengths")) // batch
        first = 1 if steps > 1 else batches // 3
        return self.pairs(lambda i: tuple(
            side.seconds("train", i * first + (steps == 1), batches // steps, batch, steps, 0, 0)
            for side in (ours, other)))  # fmt: skip

    def train(self, model, name):
        batch = 2 if self.flags.quick else 32
        precision = self.flags.precision
        with self.ours(model, "training.txt", precision) as ours, \
                self.peer(name, model, "training.txt", precision) as peer:  # fmt: skip
            threads = self.set_threads(peer, model, lambda: peer.seconds("train", 0, 1, 4, 1, 0, 0))
            self.add(model, f"training, batches of {batch}", f"{name}, {threads}",
                     self.training_pairs(model, ours, peer), floor_of(model, "train", precision))  # fmt: skip
            if name == "torch":
                peer.ask("train", 0, 1, 2, 1, 0, 384)
                self.add(model, f"training, {batch}, padded", f"{name}, {threads}", self.pairs(
                    lambda i: tuple(side.seconds("train", 5 + i, 1, batch, 1, 0, 384)
                                    for side in (ours, peer))
                ), floor_of(model, "train-padded", precision))  # fmt: skip

    def training(self, model):
        for name in self.flags.peers:
            if name.startswith("torch"):
                self.try_to(f"training of {model} by {name}", self.train, model, name)

    def own_bf16(self, model):
        with self.ours(model, "training.txt", "bf16") as bf16, \
                self.ours(model, "training.txt", "fp32") as fp32:  # fmt: skip
            self.add(model, f"training, batches of {2 if self.flags.quick else 32}",
                     "Bertrand, fp32", self.training_pairs(model, bf16, fp32),
                     floor_of(model, "own bf16", "bf16"), precision="bf16")  # fmt: skip

    def bf16(self, model):
        self.try_to(f"bf16 training of {model}", self.own_bf16, model)

    def measure_memory(self, model):
        found = []
        for side in (self.ours(model, "training.txt", self.flags.precision),
                     self.peer("torch", model, "training.txt", self.flags.precision)):  # fmt: skip
            with side:
                side.ask("train", 0, 1, 4, 1 if self.flags.quick else 3, 384, 384)
                found.append(side.ask("memory")["bytes"] / 2**30)
        self.add(model, "memory, training 4 x 384", "torch", (*found, found[1] / found[0]),
                 floor_of(model, "memory", self.flags.precision), "GiB")  # fmt: skip

    def memory(self, model):
        if model == "bert-base":
            self.try_to(f"memory of {model}", self.measure_memory, model)

    def measure_alone(self, model, work):
        command = [self.flags.bin / "bertrand", "--quiet", "bench", "--json", "--model", model,
                   "--work", work, "--precision", self.flags.precision,
                   "--threads", self.flags.threads]  # fmt: skip
        command += ["--quick"] if self.flags.quick else []
        out = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE)
        if out.returncode != 0:
            raise Failed(f"bertrand bench ended with code {out.returncode}")
        row = json.loads(out.stdout)["rows"][0]
        void = row["void"]
        if work.startswith("latency"):
            median, excess = row["median_seconds"], row["machine_excess_seconds"]
            spread = max(1, (row["percentile_99_seconds"] - excess) / median)
            self.add(model, f"{work}, 99th percentile", "the median",
                     (spread, MOST_SPREAD, MOST_SPREAD / spread), 1.0, "x")  # fmt: skip
        elif work == "scaling":
            self.add(model, "threads, share of R", "one thread",
                     (row["fraction"], row["fraction"] / row["scaling"], row["scaling"]),
                     floor_of(model, work, "fp32"), "of R", void=void)  # fmt: skip
        else:
            self.add(model, work, "R", (row["gflops"], row["product_gflops"], row["fraction"]),
                     floor_of(model, work, self.flags.precision), "GFLOP/s", void=void)  # fmt: skip

    def bench(self, model):
        """Bertrand alone: fractions of R, what threads gain, how even latency is."""
        works = ["inference", "latency-128", "latency-384"]
        if self.flags.precision != "int8":
            works += ["training"] + (["training-4"] if model == "bert-base" else [])
        if self.flags.precision == "fp32" and self.flags.threads > 1:
            works.append("scaling")
        for work in works:
            self.try_to(f"{work} of {model}", self.measure_alone, model, work)

    def ask(self):
        program = self.flags.bin / "bertrand"
        embedded = HERE.parent / "models/minilm-l6-squad"
        question = ["ask", "-q", "What is honey made from?", "-c", "Bees make honey from nectar."]
        with tempfile.TemporaryDirectory() as folder:
            small = Path(folder) / "small"
            subprocess.run([program, "--quiet", "quantize", embedded, small], check=True,
                           stdout=subprocess.DEVNULL)  # fmt: skip
            in_int8 = [*question, "--model", small, "--precision", "int8"]
            self.start("ask, from start", [program, *question], 0.080, "fp32")
            self.start("ask, int8", [program, *in_int8], 0.045, "int8")
        self.start("--version", [program, "--version"], 0.006, "")

    def start(self, what, command, limit, precision):
        """The whole life of a process, in seconds."""
        seconds = []
        for _ in range(3 if self.flags.quick else 21):
            begin = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)  # fmt: skip
            seconds.append(time.perf_counter() - begin)
        own = statistics.median(seconds)
        self.add("embedded", what, "the limit", (own, limit, limit / own), 1.0,
                 precision=precision)  # fmt: skip

    def run(self):
        for model in self.flags.model:
            compare_models.prepare(model, self.folder / model)
        for work in self.flags.work:
            if work == "ask":
                self.ask()
                continue
            for model in self.flags.model:
                getattr(self, work)(model)


def choice(text, known):
    names = known if text == "all" else text.split(",")
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name} is not one of {', '.join(known)}, all")
    return names


def parse_flags():
    parser = argparse.ArgumentParser(prog="compare", add_help=False)
    parser.add_argument("--bin", type=lambda path: Path(path).resolve(), required=True)
    parser.add_argument("--model", type=lambda text: choice(text, MODELS))
    parser.add_argument("--work", type=lambda text: choice(text, WORK), default=WORK)
    parser.add_argument("--peers", type=lambda text: choice(text, PEERS))
    parser.add_argument("--precision", choices=["fp32", "bf16", "int8"], default="fp32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--out", default=HERE.parent / "build/compare.json")
    parser.add_argument("--quick", action="store_true")
    flags = parser.parse_args()
    flags.pairs = flags.pairs or (1 if flags.quick else 3)
    flags.model = flags.model or (["minilm"] if flags.quick else MODELS)
    quick_peers = [peer for peer in PEERS if peer != "torch-compile"]
    flags.peers = flags.peers or (quick_peers if flags.quick else PEERS)
    return flags


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(": ", 1)[1]
    return "unknown processor"


def main():
    flags = parse_flags()
    about = dict(processor=processor(), threads=flags.threads,
                 date=time.strftime("%Y-%m-%d", time.gmtime()),
                 versions=compare_models.versions(), quick=flags.quick)  # fmt: skip
    comparison = Comparison(flags, about)
    comparison.run()
    comparison.save()
    print(compare_report.table(about, comparison.rows, comparison.missing))
    return 1 if comparison.missing else 0


if __name__ == "__main__":
    sys.exit(main())
