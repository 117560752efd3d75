"""Runs an ONNX model on a batch and compares the logits of its real tokens with those given.

Usage: peer_onnx.py MODEL BATCH EXPECTED, the last two safetensors files: input_ids, attention_mask
and token_type_ids; start_logits and end_logits. Exits with 1 where one is off by more than 1e-4.
"""

import sys

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file


def find(tensors, *names):
    return next(tensors[name] for name in names if name in tensors)


def main(model, batch_path, expected_path):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    batch, expected = load_file(batch_path), load_file(expected_path)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    mask = inputs["attention_mask"] == 1
    worst = 0.0
    for name, logits in zip(("start", "end"), session.run(["start_logits", "end_logits"], inputs)):
        wanted = find(expected, f"{name}_logits", f"logits.{name}", name)
        worst = max(worst, float(np.abs(logits - wanted)[mask].max()))
    short = {name: values[:1, :17] for name, values in inputs.items()}
    shape = session.run(["start_logits"], short)[0].shape
    print(f"onnxruntime {onnxruntime.__version__}: largest difference {worst:.2e}")
    if not worst < 1e-4 or shape != (1, 17):
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
