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

HERE = Path(__file__).parent
MODELS = ["minilm", "bert-base"]
WORK = ["bench", "inference", "latency", "training", "memory", "ask"]
PEERS = ["torch", "torch-compile", "onnxruntime", "openvino"]
TOLERANCE = 2e-3  # of f32 scores, whose size is about 1

# What Bertrand aims at, at least: of the peer's time for ratios, of R for fractions.
FLOORS = {
    "minilm": {
        "inference": 0.80, "training": 0.72,
        "sorted": 1.5, "padded": 3.3, "latency": 1.5, "train": 2.2, "train-padded": 6.5,
    },
    "bert-base": {
        "inference": 0.88, "training": 0.82, "training-4": 0.68,
        "sorted": 1.35, "padded": 2.9, "latency": 1.3, "train": 1.5, "train-padded": 4.3,
        "memory": 1.5,
    },
}  # fmt: skip
FLOORS_INT8 = {"sorted": 2.5, "latency": 1.6}


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
            raise SystemExit(f"compare: {self.name} ended with code {self.process.wait()}.")
        return json.loads(line)

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        return self.read()

    def seconds(self, *words):
        return self.ask(*words)["seconds"]

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.process.stdin.close()
        self.process.wait()


class Comparison:
    def __init__(self, flags):
        self.flags = flags
        self.folder = Path(flags.out).resolve().parent / "compare-models"
        self.rows = []

    def tell(self, text):
        print(text, file=sys.stderr, flush=True)

    def add(self, model, what, peer, ours, theirs, ratio, floor, unit):
        row = dict(model=model, work=what, peer=peer, bertrand=ours, other=theirs, ratio=ratio,
                   floor=floor, unit=unit, precision=self.flags.precision)  # fmt: skip
        self.rows.append(row)
        self.tell(line_of(row))

    def ours(self, model, windows):
        folder = self.folder / model
        return Side("bertrand", [self.flags.bin / "bench_compare", folder,
                                 folder / windows, self.flags.threads, self.flags.precision])  # fmt: skip

    def peer(self, name, model, windows):
        folder = self.folder / model
        return Side(name, [sys.executable, HERE / "compare_peer.py", name, folder,
                           folder / windows, self.flags.threads, self.flags.precision])  # fmt: skip

    def pairs(self, turn):
        """turn(i) -> (seconds of ours, of theirs), in turns; the medians, and that of the ratios."""
        times = [turn(i) for i in range(self.flags.pairs)]
        ours, theirs = (statistics.median(column) for column in zip(*times))
        return ours, theirs, statistics.median(other / own for own, other in times)

    def floor(self, model, what):
        if self.flags.precision == "int8":
            return FLOORS_INT8.get(what)
        return FLOORS[model].get(what)

    def check_logits(self, model, ours, other):
        files = [self.folder / f"{side.name}.logits" for side in (ours, other)]
        for side, file in zip((ours, other), files):
            side.ask("logits", file)
        own, theirs = (np.fromfile(file, np.float32) for file in files)
        if own.size != theirs.size or not np.isfinite(own).all():
            raise SystemExit(f"compare: {model}: logits of {other.name} and Bertrand do not match.")
        off = float(np.abs(own - theirs).max())
        size = float(np.abs(theirs).max())
        self.tell(f"{model}: logits of {other.name} and Bertrand differ by {off:.1e} of {size:.1f} at most.")
        if self.flags.precision == "fp32" and off > TOLERANCE * max(1, size):
            raise SystemExit(f"compare: {model}: the logits are not equal, so times say nothing.")

    def best_batch(self, peer, pad, stride):
        """The peer's best number of windows at once; also its warm-up."""
        sizes = [8] if self.flags.quick else [1, 8, 32]
        for size in sizes:
            peer.seconds("inference", 0, stride * 8, size, pad)
        return min(sizes, key=lambda size: peer.seconds("inference", 0, stride * 8, size, pad))

    def inference(self, model):
        stride = 60 if self.flags.quick else self.flags.pairs
        for name in self.flags.peers:
            with self.ours(model, "inference.txt") as ours, \
                    self.peer(name, model, "inference.txt") as peer:  # fmt: skip
                if not self.flags.quick or name != "torch-compile":
                    self.check_logits(model, ours, peer)
                for what, pad in (("sorted", 0), ("padded", 384)):
                    size = self.best_batch(peer, pad, stride)
                    self.add(model, f"inference, {what}", f"{name} ({size})", *self.pairs(
                        lambda i: (ours.seconds("inference", i, stride),
                                   peer.seconds("inference", i, stride, size, pad))
                    ), self.floor(model, what), "s")  # fmt: skip

    def latency(self, model):
        turns = 2 if self.flags.quick else 10
        for name in self.flags.peers:
            with self.ours(model, "inference.txt") as ours, \
                    self.peer(name, model, "inference.txt") as peer:  # fmt: skip
                for tokens in (128, 384):
                    for side in (ours, peer):
                        side.ask("latency", tokens, 3)
                    self.add(model, f"latency, {tokens} tokens", name, *self.pairs(
                        lambda i: tuple(statistics.median(side.seconds("latency", tokens, turns))
                                        for side in (ours, peer))
                    ), self.floor(model, "latency"), "s")  # fmt: skip

    def training(self, model):
        batch, steps = (2, 1) if self.flags.quick else (32, 4)
        for name in self.flags.peers:
            if not name.startswith("torch"):
                continue
            with self.ours(model, "training.txt") as ours, \
                    self.peer(name, model, "training.txt") as peer:  # fmt: skip
                for side in (ours, peer):  # two lengths, so that compilation is done with
                    side.ask("train", 0, 7, batch, 2, 0, 0)
                stride = len(compare_models.lengths("kTrainingLengths")) // batch // steps
                self.add(model, f"training, batches of {batch}", name, *self.pairs(
                    lambda i: tuple(side.seconds("train", i, stride, batch, steps, 0, 0)
                                    for side in (ours, peer))
                ), self.floor(model, "train"), "s")  # fmt: skip
                if name == "torch":
                    peer.ask("train", 0, 1, batch, 1, 0, 384)
                    self.add(model, f"training, {batch}, padded", name, *self.pairs(
                        lambda i: tuple(side.seconds("train", 5 + i, 1, batch, 1, 0, 384)
                                        for side in (ours, peer))
                    ), self.floor(model, "train-padded"), "s")  # fmt: skip

    def memory(self, model):
        found = []
        for side in (self.ours(model, "training.txt"), self.peer("torch", model, "training.txt")):
            with side:
                side.ask("train", 0, 1, 4, 1 if self.flags.quick else 3, 384, 384)
                found.append(side.ask("memory")["bytes"] / 2**30)
        self.add(model, "memory, training 4 x 384", "torch", *found, found[1] / found[0],
                 self.floor(model, "memory"), "GiB")  # fmt: skip

    def bench(self, model):
        """Bertrand alone: fractions of R."""
        works = "inference,training" + (",training-4" if model == "bert-base" else "")
        command = [self.flags.bin / "bertrand", "bench", "--json", "--model", model, "--work", works,
                   "--precision", self.flags.precision, "--threads", self.flags.threads]  # fmt: skip
        command += ["--quick"] if self.flags.quick else []
        out = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, check=True)
        for row in json.loads(out.stdout)["rows"]:
            peer = "R (void)" if row["void"] else "R"
            self.add(model, row["work"], peer, row["gflops"], row["product_gflops"],
                     row["fraction"], self.floor(model, row["work"]), "GFLOP/s")  # fmt: skip

    def ask(self):
        program = self.flags.bin / "bertrand"
        embedded = HERE.parent / "models/minilm-l6-squad"
        question = ["ask", "-q", "What is honey made from?", "-c", "Bees make honey from nectar."]
        with tempfile.TemporaryDirectory() as folder:
            small = Path(folder) / "small"
            subprocess.run([program, "--quiet", "quantize", embedded, small], check=True,
                           stdout=subprocess.DEVNULL)  # fmt: skip
            in_int8 = [*question, "--model", small, "--precision", "int8"]
            self.start("ask, from start", [program, *question], 0.080)
            self.start("ask, int8", [program, *in_int8], 0.045)
        self.start("--version", [program, "--version"], 0.006)

    def start(self, what, command, limit):
        """The whole life of a process, in seconds."""
        seconds = []
        for _ in range(3 if self.flags.quick else 21):
            begin = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)  # fmt: skip
            seconds.append(time.perf_counter() - begin)
        own = statistics.median(seconds)
        self.add("embedded", what, "the limit", own, limit, limit / own, 1.0, "s")

    def run(self):
        for model in self.flags.model:
            compare_models.prepare(model, self.folder / model)
            for work in self.flags.work:
                if work == "ask" or work == "memory" and model != "bert-base":
                    continue
                getattr(self, work)(model)
        if "ask" in self.flags.work:
            self.ask()


def line_of(row):
    def number(value):
        return f"{value:.3f}" if value < 100 else f"{value:.1f}"

    floor = row["floor"]
    verdict = "" if floor is None else f"{floor:.2f} " + ("ok" if row["ratio"] >= floor else "below")
    return (f"{row['model']:<10}{row['work']:<26}{row['peer']:<18}{number(row['bertrand']):>9}"
            f"{number(row['other']):>9} {row['unit']:<8}{row['ratio']:>6.2f}  {verdict}")  # fmt: skip


def print_table(rows, about):
    print(f"\n{about['processor']}, {about['threads']} threads, {about['date']}; "
          + ", ".join(f"{name} {version}" for name, version in about["versions"].items()))  # fmt: skip
    print(f"\n{'model':<10}{'work':<26}{'peer (batch)':<18}{'bertrand':>9}{'peer':>9} "
          f"{'unit':<8}{'ratio':>6}  floor")  # fmt: skip
    for row in rows:
        print(line_of(row))


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
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pairs", type=int)
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
    comparison = Comparison(flags)
    comparison.run()
    print_table(comparison.rows, about)
    Path(flags.out).write_text(json.dumps(about | {"rows": comparison.rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
