"""Measures Bertrand and its peers in turns; started by bench/compare, which describes the flags."""

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import compare_models
import compare_report
from compare_base import HERE, Comparison, Failed
from compare_flags import parse_flags
from compare_report import MOST_F1_LOST, MOST_SPREAD, floor_of

PEERS_INT8 = ["torch", "onnxruntime"]
EMBEDDED = HERE.parent / "models/minilm-l6-squad"
CLEARLY = 1.25  # times as slow


def fastest(choices, seconds, rounds=3):
    """The choice of which the least of so many times `seconds(choice)` is least; one that is clearly
    slower is not tried again."""
    least = dict.fromkeys(choices, math.inf)
    left = list(choices)
    for _ in range(rounds):
        for choice in left:
            least[choice] = min(least[choice], seconds(choice))
        left = [choice for choice in left if least[choice] <= CLEARLY * min(least.values())]
        if len(left) == 1:
            break
    return min(left, key=least.get)


def spread(count, pairs):
    """So many of `count` places, even: the second, middle and last but one of 12, say."""
    return [(2 * i + 1) * count // (2 * pairs) for i in range(pairs)]


def batch_of(lengths, index, size):
    """The lengths of a batch, as the sides choose its windows."""
    begin = index * size % len(lengths)
    return lengths[begin : begin + size]


class NativeComparison(Comparison):
    """The native engine and its peers on the CPU."""

    def __init__(self, flags, about):
        super().__init__(flags, about)
        self.threads = {}  # best of a peer, by (peer, model, work, precision)
        self.product = {}  # R of a model, in FLOP/s, where it was measured

    def add_pairs(self, model, what, peer, times, floor, precision, lengths):
        """A row of seconds; `lengths`: of the windows of each turn, to tell what the floor takes."""
        needs = None
        if floor is not None and model in self.product:
            work = statistics.median(compare_models.useful_work(model, turn) for turn in lengths)
            work *= 3 if what.startswith("training") else 1
            needs = floor * work / (times[1] * self.product[model])
        self.add(model, what, peer, times, floor, precision=precision, needs=needs)

    def latency_pairs(self, ours, other, tokens):
        turns = 2 if self.flags.quick else 8
        for side in (ours, other):
            side.ask("latency", tokens, 2)
        return self.pairs(lambda i: tuple(statistics.median(side.seconds("latency", tokens, turns))
                                          for side in (ours, other)))  # fmt: skip

    def set_threads(self, peer, model, work, precision, seconds):
        """The peer's best of one thread and all; `seconds()` times some of its work. What PyTorch
        compiled is compiled anew for another count: it takes PyTorch's."""
        key = (peer.name.removesuffix("-compile"), model, work, precision)
        counts = sorted({1, self.flags.threads}, reverse=True)

        def try_count(count):
            peer.ask("threads", count)
            seconds()
            return seconds()

        if key not in self.threads and not self.flags.quick and peer.name != "torch-compile":
            self.threads[key] = fastest(counts, try_count)
        count = self.threads.get(key, self.flags.threads)
        if len(counts) > 1:
            peer.ask("threads", count)
        return f"{count} thread{'s' if count > 1 else ''}"

    def best_batch(self, peer, pad, turn):
        """The peer's best number of windows at once, by a turn as those that count; also its warm-up."""
        sizes = [8] if self.flags.quick else [8, 32] if peer.name == "torch-compile" else [1, 8, 32]
        for size in sizes:
            peer.seconds("inference", turn[0], 10, size, pad)
        if len(sizes) == 1:
            return sizes[0]
        return fastest(sizes, lambda size: peer.seconds("inference", *turn, size, pad), rounds=2)

    def turns(self, model):
        """First and stride of the groups of windows of each turn, out of ten that hold all 319: a third of
        them, of BERT-base a fifth, of lengths from one end to the other."""
        stride = 10 if self.flags.quick else 3 if model == "minilm" else 5
        return [(first, stride) for first in spread(stride, self.flags.pairs)]

    def infer(self, model, name, precision, pads):
        turns = self.turns(model)
        lengths = compare_models.lengths("kInferenceLengths")
        with self.ours(model, "inference.txt", precision) as ours, \
                self.peer(name, model, "inference.txt", precision) as peer:  # fmt: skip
            if not self.flags.quick or name != "torch-compile":
                self.check_logits(model, ours, peer, precision)
            ours.seconds("inference", 9, 10)
            for what, pad in pads:
                threads = self.set_threads(peer, model, f"inference, {what}", precision,
                                           lambda: peer.seconds("inference", 5, 10, 8, pad))  # fmt: skip
                size = self.best_batch(peer, pad, turns[len(turns) // 2])
                times = self.pairs(lambda i: (ours.seconds("inference", *turns[i]),
                                              peer.seconds("inference", *turns[i], size, pad)))  # fmt: skip
                self.add_pairs(model, f"inference, {what}", f"{name}, {threads}, batch {size}", times,
                               floor_of(model, what, precision), precision,
                               [compare_models.grouped(lengths, *turn) for turn in turns])  # fmt: skip

    def answer_one(self, model, name, precision):
        with self.ours(model, "inference.txt", precision) as ours, \
                self.peer(name, model, "inference.txt", precision) as peer:  # fmt: skip
            if not self.flags.quick or name != "torch-compile":
                self.check_logits(model, ours, peer, precision)
            for tokens in (128, 384):
                threads = self.set_threads(
                    peer, model, f"latency, {tokens}", precision,
                    lambda: statistics.median(peer.seconds("latency", tokens, 5)))  # fmt: skip
                self.add_pairs(model, f"latency, {tokens} tokens", f"{name}, {threads}",
                               self.latency_pairs(ours, peer, tokens),
                               floor_of(model, "latency", precision), precision, [[tokens]])  # fmt: skip

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
        turns = self.turns(model)
        with self.ours(model, "inference.txt", "int8") as int8, \
                self.ours(model, "inference.txt", "fp32") as fp32:  # fmt: skip
            for side in (int8, fp32):
                side.seconds("inference", 9, 10)
            self.add(model, "inference, sorted", "Bertrand, fp32",
                     self.pairs(lambda i: tuple(side.seconds("inference", *turns[i])
                                                for side in (int8, fp32))),
                     floor_of(model, "own int8", "int8"), precision="int8")  # fmt: skip
            for tokens in (128, 384):
                self.add(model, f"latency, {tokens} tokens", "Bertrand, fp32",
                         self.latency_pairs(int8, fp32, tokens), None, precision="int8")  # fmt: skip

    def training_pairs(self, model, ours, other):
        """Steps of 32 windows; of BERT-base one a turn: short, middle and long windows. Times, and the
        lengths of each turn's windows."""
        batch, steps = (2, 1) if self.flags.quick else (32, 4 if model == "minilm" else 1)
        for side in (ours, other):  # two lengths, so that compilation is done with
            side.ask("train", 0, 7, batch, 2, 0, 0)
        lengths = compare_models.lengths("kTrainingLengths")
        stride = len(lengths) // batch // steps
        begins = spread(stride, self.flags.pairs)
        times = self.pairs(lambda i: tuple(
            side.seconds("train", begins[i], stride, batch, steps, 0, 0)
            for side in (ours, other)))  # fmt: skip
        return times, [[length for step in range(steps)
                        for length in batch_of(lengths, begin + step * stride, batch)]
                       for begin in begins]  # fmt: skip

    def train(self, model, name):
        batch = 2 if self.flags.quick else 32
        precision = self.flags.precision
        with self.ours(model, "training.txt", precision) as ours, \
                self.peer(name, model, "training.txt", precision) as peer:  # fmt: skip
            if not self.flags.quick or name != "torch-compile":
                self.check_logits(model, ours, peer, precision)
            threads = self.set_threads(peer, model, "training", precision,
                                       lambda: peer.seconds("train", 0, 1, 4, 1, 0, 0))  # fmt: skip
            times, lengths = self.training_pairs(model, ours, peer)
            self.add_pairs(model, f"training, batches of {batch}", f"{name}, {threads}", times,
                           floor_of(model, "train", precision), precision, lengths)  # fmt: skip
            if name != "torch":
                return
            # BERT-base's 12,288 tokens at once would take PyTorch more than 20 GB.
            parts = 4 if model == "bert-base" and batch == 32 else 1
            peer.ask("train", 0, 1, 2, 1, 0, 384)
            lengths = compare_models.lengths("kTrainingLengths")
            begins = spread(len(lengths) // batch, self.flags.pairs)
            times = self.pairs(lambda i: (ours.seconds("train", begins[i], 1, batch, 1, 0),
                                          peer.seconds("train", begins[i], 1, batch, 1, 0, 384, parts)))  # fmt: skip
            self.add_pairs(model, f"training, {batch}, padded", f"{name}, {threads}", times,
                           floor_of(model, "train-padded", precision), precision,
                           [batch_of(lengths, begin, batch) for begin in begins])  # fmt: skip

    def training(self, model):
        for name in self.flags.peers:
            if name.startswith("torch"):
                self.try_to(f"training of {model} by {name}", self.train, model, name)

    def own_bf16(self, model):
        with self.ours(model, "training.txt", "bf16") as bf16, \
                self.ours(model, "training.txt", "fp32") as fp32:  # fmt: skip
            times, _ = self.training_pairs(model, bf16, fp32)
            self.add(model, f"training, batches of {2 if self.flags.quick else 32}",
                     "Bertrand, fp32", times,
                     floor_of(model, "own bf16, AMX" if has_amx() else "own bf16", "bf16"),
                     precision="bf16")  # fmt: skip

    def bf16(self, model):
        self.try_to(f"bf16 training of {model}", self.own_bf16, model)

    def measure_memory(self, model):
        found = []
        for begin in (self.ours, lambda *which: self.peer("torch", *which)):
            with begin(model, "training.txt", self.flags.precision) as side:
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
        if not void and work in ("inference", "training"):
            self.product[model] = 1e9 * row["product_gflops"]
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

    def score(self, model, data, precision):
        command = [self.flags.bin / "bertrand", "--quiet", "evaluate", "--model", model, "--data", data,
                   "--precision", precision, "--threads", str(self.flags.threads)]  # fmt: skip
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        return json.loads(out)["f1"]

    def given(self, flag, of_shared, of_repository):
        """What the flag says, or what stands for it."""
        path = getattr(self.flags, flag)
        if path is None and self.flags.quick:
            path = HERE.parent / of_repository
        elif path is None:
            path = Path(os.environ.get("BERTRAND_SHARED", HERE.parent.parent / "shared")) / of_shared
        if not path.exists():
            raise Failed(f"{path} is missing; give --{flag}")
        return path

    def questions(self):
        return self.given("data", "data/squad/dev-v1.1.json", "data/sample/dev.json")

    def add_f1(self, model, work, precision, scores):
        """`scores`: in that precision, and in f32."""
        least = scores[1] - MOST_F1_LOST
        self.add(model, work, f"in fp32, less {MOST_F1_LOST}", (scores[0], least, scores[0] / least), 1.0, "",
                 precision=precision)  # fmt: skip

    def f1(self):
        """What 8 bits cost the embedded model."""
        data = self.questions()
        self.add_f1("embedded", "F1", "int8",
                    [self.score(EMBEDDED, data, precision) for precision in ("int8", "fp32")])  # fmt: skip

    def f1_bf16(self):
        """What training in bf16 costs: an epoch of 20,000 windows in both precisions, same seed, both results
        scored in f32."""
        data = self.questions()
        train = self.given("train", "data/squad/train-v1.1.json", "data/sample/train.json")
        base = self.given("base", "models/all-minilm-l6-v2", "models/minilm-l6-squad")
        batch, windows = (2, 4) if self.flags.quick else (32, 20_000)
        scores = []
        for precision in ("bf16", "fp32"):
            with tempfile.TemporaryDirectory() as folder:
                made = Path(folder) / "made"
                command = [self.flags.bin / "bertrand", "--quiet", "train", "--model", base, "--train", train,
                           "--out", made, "--max-steps", windows // batch, "--batch-size", batch,
                           "--learning-rate", "2e-4", "--seed", 42, "--uncased", "--precision", precision,
                           "--snapshot-minutes", 0, "--threads", self.flags.threads]  # fmt: skip
                subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
                scores.append(self.score(made, data, "fp32"))
        self.add_f1(base.name, f"F1 after {windows} windows", "bf16", scores)

    def ask(self):
        program = self.flags.bin / "bertrand"
        question = ["ask", "-q", "What is honey made from?", "-c", "Bees make honey from nectar."]
        with tempfile.TemporaryDirectory() as folder:
            small = Path(folder) / "small"
            subprocess.run([program, "--quiet", "quantize", EMBEDDED, small], check=True,
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
        asked = self.flags.work
        alone = {"ask": self.ask, "f1": self.f1, "f1-bf16": self.f1_bf16}  # of a model that is there
        for work in [work for work in asked if work in alone]:
            self.try_to(work, alone[work])
        self.flags.work = [work for work in asked if work not in alone]
        if self.flags.work:
            self.prepare(onnx=True)
        super().run()


def of_cpuinfo(name):
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(name):
            return line.split(": ", 1)[1]
    return ""


def processor():
    return of_cpuinfo("model name") or "unknown processor"


def has_amx():
    return "amx_bf16" in of_cpuinfo("flags").split()


def main():
    for told in (signal.SIGTERM, signal.SIGHUP):  # the sides are to be ended, too
        if signal.getsignal(told) is not signal.SIG_IGN:  # as under nohup
            signal.signal(told, lambda number, _: sys.exit(128 + number))
    flags = parse_flags()
    about = dict(processor=processor(), threads=flags.threads,
                 date=time.strftime("%Y-%m-%d", time.gmtime()), quick=flags.quick)  # fmt: skip
    if flags.engine == "torch":
        import compare_device

        about["versions"] = compare_models.versions(compare_models.PACKAGES_TORCH)
        about["device"] = compare_device.name_of(flags.device)
        comparison = compare_device.DeviceComparison(flags, about)
    else:
        about["versions"] = compare_models.versions(compare_models.PACKAGES)
        comparison = NativeComparison(flags, about)
    comparison.run()
    comparison.save()
    print(compare_report.table(about, comparison.rows, comparison.missing))
    return 1 if comparison.missing else 0


if __name__ == "__main__":
    sys.exit(main())
