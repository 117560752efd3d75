"""A peer's side of bench/compare: obeys the lines that bench_compare obeys, with two fields more,
and one of its own: `threads N`, to compute with so many.

Usage: compare_peer.py NAME MODEL-FOLDER WINDOWS-FILE THREADS PRECISION [DEVICE]

    logits FILE FIRST STRIDE BATCH PAD
    inference FIRST STRIDE BATCH PAD
    train FIRST STRIDE BATCH STEPS LENGTH PAD [PARTS]

BATCH is how many windows are computed at once, PAD the length they are padded to; 0: that of the
longest in the batch. PARTS: a step's gradients are the sum of so many parts', one after the other.
"""

import copy
import json
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np


GROUP = 32  # windows; as in compare_side.cpp


class Windows:
    """The windows of a file, and batches of them as arrays [windows, tokens]."""

    def __init__(self, path):
        self.all = []
        for line in Path(path).read_text().splitlines():
            question, start, end, *ids = map(int, line.split())
            self.all.append((question, start, end, ids))

    def batch(self, windows, pad=0, multiple=1):
        longest = max(pad, max(len(ids) for _, _, _, ids in windows))
        longest = -(-longest // multiple) * multiple
        shape = (len(windows), longest)
        ids, segments, mask = (np.zeros(shape, np.int64) for _ in range(3))
        for row, (question, _, _, tokens) in enumerate(windows):
            ids[row, : len(tokens)] = tokens
            segments[row, question : len(tokens)] = 1
            mask[row, : len(tokens)] = 1
        return ids, mask, segments

    def groups(self, first, stride):
        """The windows of groups first, first + stride, ..., one after the other."""
        count = -(-len(self.all) // GROUP)
        return [window for group in range(first, count, stride)
                for window in self.all[group * GROUP : (group + 1) * GROUP]]  # fmt: skip

    def batches(self, windows, size, pad, multiple):
        """Some windows, and the arrays of them at once, until all are through."""
        for begin in range(0, len(windows), size):
            some = windows[begin : begin + size]
            yield some, self.batch(some, pad, multiple)


class Peer:
    multiple = 1  # of which lengths are padded to one

    def finish(self):
        """Returns when all that was begun is done."""


class Torch(Peer):
    """PyTorch by transformers' BERT, attention by scaled_dot_product_attention."""

    compiled = None  # what torch.compile is given, where it is used

    def __init__(self, folder, threads, precision, device):
        import torch
        from transformers import BertForQuestionAnswering
        from transformers.utils import logging

        logging.disable_progress_bar()
        warnings.simplefilter("ignore")  # of what is to leave PyTorch one day
        if self.compiled and precision == "int8":
            raise SystemExit("Compiled PyTorch is not measured in int8.")
        self.torch, self.device = torch, torch.device(device)
        torch.set_num_threads(threads)
        self.bf16 = precision == "bf16"
        self.plain = BertForQuestionAnswering.from_pretrained(
            folder, attn_implementation="sdpa", dtype=torch.float32
        ).to(self.device)
        if precision == "int8":
            self.plain = torch.ao.quantization.quantize_dynamic(
                self.plain, {torch.nn.Linear}, dtype=torch.qint8
            )
        self.training = self.maybe_compiled(self.plain)
        self.answering = self.optimizer = None

    def maybe_compiled(self, model):
        if not self.compiled:
            return model
        self.torch._dynamo.config.cache_size_limit = 64  # lengths, each of which may be compiled
        return self.torch.compile(model, **self.compiled)

    def finish(self):
        if self.device.type == "cuda":
            self.torch.cuda.synchronize(self.device)

    def set_threads(self, threads):
        self.torch.set_num_threads(threads)

    def call(self, model, batch):
        ids, mask, segments = (self.torch.from_numpy(put).to(self.device) for put in batch)
        if self.device.type == "cuda":
            self.torch.compiler.cudagraph_mark_step_begin()
        autocasts = self.bf16 and model is self.training
        with self.torch.autocast(self.device.type, self.torch.bfloat16, enabled=autocasts):
            return model(input_ids=ids, attention_mask=mask, token_type_ids=segments)

    def make_answering(self):
        """On devices weights are rounded once, not each time; the CPU does that by itself."""
        self.plain.eval()
        self.answering = self.training
        if self.bf16 and self.device.type != "cpu":
            self.answering = self.maybe_compiled(copy.deepcopy(self.plain).to(self.torch.bfloat16))

    def scores(self, *batch):
        if self.answering is None:
            self.make_answering()
        with self.torch.inference_mode():
            out = self.call(self.answering, batch)
        return [scores.float().cpu().numpy() for scores in (out.start_logits, out.end_logits)]

    def make_optimizer(self):
        # Biases and LayerNorm do not decay, as in Bertrand.
        groups = ([], [])
        for name, parameter in self.plain.named_parameters():
            groups[name.endswith("bias") or "LayerNorm" in name].append(parameter)
        self.optimizer = self.torch.optim.AdamW(
            [{"params": groups[0], "weight_decay": 0.01}, {"params": groups[1], "weight_decay": 0}],
            lr=1e-6,
            fused=True,
        )

    def train(self, parts):
        """An optimizer step; `parts`: arrays, starts and ends of as many windows each."""
        if self.optimizer is None:
            self.make_optimizer()
        self.plain.train()
        self.answering = None
        entropy = self.torch.nn.functional.cross_entropy
        for batch, *places in parts:
            out = self.call(self.training, batch)
            starts, ends = (self.torch.tensor(all, device=self.device) for all in places)
            loss = (entropy(out.start_logits, starts) + entropy(out.end_logits, ends)) / 2
            (loss / len(parts)).backward()
        self.torch.nn.utils.clip_grad_norm_(self.plain.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


class TorchCompile(Torch):
    """Compiled for any length."""

    compiled = {"dynamic": True}


class TorchStatic(Torch):
    """Compiled for each length that is a multiple of 64, on GPUs as CUDA graphs."""

    compiled = {"dynamic": False, "mode": "reduce-overhead"}
    multiple = 64


NAMES = ["input_ids", "attention_mask", "token_type_ids"]


class OnnxRuntime(Peer):
    """ONNX Runtime with its own optimizer's fused attention, LayerNorm and GELU."""

    def __init__(self, folder, threads, precision, _device):
        model = Path(folder) / "fused.onnx"
        if precision == "int8":
            from onnxruntime.quantization import quantize_dynamic

            plain, model = model, Path(folder) / "int8.onnx"
            if not model.exists():
                quantize_dynamic(plain, model, per_channel=True)
        elif precision != "fp32":
            raise SystemExit(f"ONNX Runtime is not measured in {precision}.")
        self.model = model
        self.set_threads(threads)
        self.names = [put.name for put in self.session.get_inputs()]

    def set_threads(self, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            self.model, options, ["CPUExecutionProvider"]
        )

    def scores(self, *batch):
        given = dict(zip(NAMES, batch))
        return self.session.run(None, {name: given[name] for name in self.names})[:2]


class OpenVino(Peer):
    """OpenVINO on the CPU, computing in f32 also where it would choose bf16."""

    def __init__(self, folder, threads, precision, _device):
        if precision not in ("fp32", "bf16"):
            raise SystemExit(f"OpenVINO is not measured in {precision}.")
        self.folder = folder
        self.hint = {"fp32": "f32", "bf16": "bf16"}[precision]
        self.set_threads(threads)

    def set_threads(self, threads):
        import openvino

        model = openvino.Core().compile_model(
            str(Path(self.folder) / "model.onnx"),
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": self.hint,
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        self.request = model.create_infer_request()
        self.names = [put.any_name for put in model.inputs]

    def scores(self, *batch):
        given = dict(zip(NAMES, batch))
        out = self.request.infer({name: given[name] for name in self.names})
        return [value.copy() for value in out.values()][:2]


PEERS = {
    "torch": Torch,
    "torch-compile": TorchCompile,
    "torch-static": TorchStatic,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}


class Side:
    def __init__(self, peer, windows, count):
        self.peer, self.windows, self.count = peer, windows, count

    def threads(self, count):
        if count != self.count:
            self.peer.set_threads(count)
            self.count = count
        return {}

    def logits(self, path, first, stride, batch, pad):
        windows = self.windows.all[first::stride]
        with open(path, "wb") as file:
            for some, arrays in self.windows.batches(windows, batch, pad, self.peer.multiple):
                start, end = self.peer.scores(*arrays)
                for row, (_, _, _, ids) in enumerate(some):
                    for scores in (start, end):
                        scores = scores[row][: len(ids)]
                        file.write(np.ascontiguousarray(scores, np.float32).tobytes())
        return {}

    def inference(self, first, stride, batch, pad):
        begin = time.perf_counter()
        windows = self.windows.groups(first, stride)
        for _, arrays in self.windows.batches(windows, batch, pad, self.peer.multiple):
            self.peer.scores(*arrays)
        return {"seconds": time.perf_counter() - begin}

    def latency(self, tokens, count):
        question, start, end, ids = self.windows.all[-1]
        arrays = self.windows.batch([(question, start, end, ids[:tokens])], 0, self.peer.multiple)
        seconds = []
        for _ in range(count):
            begin = time.perf_counter()
            self.peer.scores(*arrays)
            seconds.append(time.perf_counter() - begin)
        return {"seconds": seconds}

    def part(self, windows, pad):
        arrays = self.windows.batch(windows, pad, self.peer.multiple)
        return arrays, [window[1] for window in windows], [window[2] for window in windows]

    def train(self, first, stride, batch, steps, length, pad, parts=1):
        begin = time.perf_counter()
        for step in range(steps):
            at = (first + step * stride) * batch % len(self.windows.all)
            chosen = []
            for question, start, end, ids in self.windows.all[at : at + batch]:
                repeats = -(-length // len(ids)) if length else 1
                chosen.append((question, start, end, (ids * repeats)[: length or None]))
            size = batch // parts
            self.peer.train(
                [self.part(chosen[begin : begin + size], pad) for begin in range(0, batch, size)]
            )
        self.peer.finish()
        return {"seconds": time.perf_counter() - begin}

    def memory(self):
        return {"bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def main():
    name, folder, windows, threads, precision, *device = sys.argv[1:]
    peer = PEERS[name](folder, int(threads), precision, *(device or ["cpu"]))
    side = Side(peer, Windows(windows), int(threads))
    print(json.dumps({"name": name}), flush=True)
    for line in sys.stdin:
        what, *values = line.split()
        values = [value if value.startswith("/") else int(value) for value in values]
        print(json.dumps(getattr(side, what)(*values)), flush=True)


if __name__ == "__main__":
    main()
