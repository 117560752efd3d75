"""bench/compare --device cuda or --engine torch: Bertrand through LibTorch against PyTorch."""

import statistics
import subprocess

import compare_models
from compare_base import Comparison
from compare_report import device_floor_of


def name_of(device):
    """The card's, where there is one; "" for the CPU."""
    if not device.startswith("cuda"):
        return ""
    index = device.partition(":")[2] or "0"
    query = ["--query-gpu=name,driver_version", "--format=csv,noheader", "-i", index]
    try:
        out = subprocess.run(["nvidia-smi", *query], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown card"
    return out.strip().replace(", ", ", driver ")


class DeviceComparison(Comparison):
    """Both sides warm up on all lengths that are timed, so that compiling and recording graphs are
    over. Times end when the device is done."""

    warm_ups = 3

    def floor(self, what):
        return device_floor_of(what, self.flags.precision) if self.flags.device != "cpu" else None

    def rates(self, windows, turn):
        """Of turn(i) -> (seconds of ours, of theirs) for so many windows."""
        ours, theirs, ratio = self.pairs(turn)
        return windows / ours, windows / theirs, ratio

    def infer(self, model, name):
        batch, stride = (8, 40) if self.flags.quick else (128, 1)  # of groups of windows
        windows = len(compare_models.grouped(compare_models.many_lengths(), 0, stride))
        with self.ours(model, "many.txt", self.flags.precision) as ours, \
                self.peer(name, model, "many.txt", self.flags.precision) as peer:  # fmt: skip
            if name == "torch":  # what is compiled is the same model
                self.check_logits(model, ours, peer, self.flags.precision, stride=64)
            what = ("inference", 0, stride, batch)
            for _ in range(self.warm_ups):
                ours.seconds(*what)
                peer.seconds(*what, 0)
            self.add(model, f"inference, batches of {batch}", name,
                     self.rates(windows, lambda i: (ours.seconds(*what), peer.seconds(*what, 0))),
                     self.floor("inference"), "windows/s")  # fmt: skip

    def answer_one(self, model, name):
        turns = 3 if self.flags.quick else 200
        with self.ours(model, "inference.txt", self.flags.precision) as ours, \
                self.peer(name, model, "inference.txt", self.flags.precision) as peer:  # fmt: skip
            if name == "torch":
                self.check_logits(model, ours, peer, self.flags.precision, stride=64)
            for tokens in (128, 384):
                for side in (ours, peer):
                    side.ask("latency", tokens, 3 if self.flags.quick else 20)
                own, theirs, ratio = self.pairs(lambda i: tuple(
                    statistics.median(side.seconds("latency", tokens, turns))
                    for side in (ours, peer)))  # fmt: skip
                self.add(model, f"latency, {tokens} tokens", name, (1e3 * own, 1e3 * theirs, ratio),
                         self.floor("latency"), "ms")  # fmt: skip

    def train(self, model, name):
        batch, steps = (2, 2) if self.flags.quick else (32, 48)
        batches = len(compare_models.lengths("kTrainingLengths")) // batch
        stride = batches // 2 if self.flags.quick else 1
        recorded = {"BERTRAND_FIXED_SHAPES": "1"}
        with self.ours(model, "training.txt", self.flags.precision) as ours, \
                self.ours(model, "training.txt", self.flags.precision, recorded) as graphs, \
                self.peer(name, model, "training.txt", self.flags.precision) as peer:  # fmt: skip
            if name == "torch":
                self.check_logits(model, ours, peer, self.flags.precision, stride=64)
            what = ("train", 0, stride, batch, steps, 0)
            for _ in range(1 if self.flags.quick else self.warm_ups):
                ours.seconds(*what)
                graphs.seconds(*what)
                peer.seconds(*what, 0)
            for how, own in ((f"batches of {batch}", ours), (f"{batch}, recorded", graphs)):
                self.add(model, f"training, {how}", name,
                         self.rates(batch * steps,
                                    lambda i: (own.seconds(*what), peer.seconds(*what, 0))),
                         self.floor("training"), "windows/s")  # fmt: skip

    def each_peer(self, what, model, measure):
        for name in self.flags.peers:
            self.try_to(f"{what} of {model} by {name}", measure, model, name)

    def inference(self, model):
        self.each_peer("inference", model, self.infer)

    def latency(self, model):
        self.each_peer("latency", model, self.answer_one)

    def training(self, model):
        self.each_peer("training", model, self.train)

    def run(self):
        self.prepare(onnx=False)
        super().run()
