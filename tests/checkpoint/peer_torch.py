"""Writes checkpoints with PyTorch, or reads ours.

Usage: peer_torch.py write FOLDER: state dictionaries of every type of tensor, in each form this
PyTorch can write, with the same values in expected.json.
Usage: peer_torch.py read FILE: prints names, types, shapes and sums as JSON, loaded with
weights_only=True where this PyTorch has it.
"""

import collections
import inspect
import json
import sys

import torch


def state():
    generator = torch.Generator().manual_seed(5)
    base = torch.randn(6, 4, generator=generator)
    tensors = collections.OrderedDict()
    tensors["plain"] = base
    tensors["turned"] = base.t()
    tensors["part"] = base[2:5, 1:3]
    tensors["every_other"] = base[::2]
    tensors["parameter"] = torch.nn.Parameter(torch.randn(3, generator=generator))
    tensors["scalar"] = torch.tensor(0.25)
    tensors["none"] = torch.zeros(0, 3)
    tensors["f64"] = base[0].double()
    tensors["f16"] = base[1].half()
    tensors["bf16"] = base[2].bfloat16()
    tensors["i64"] = torch.arange(5) - 2
    tensors["bool"] = torch.tensor([True, False])
    return tensors


def write(folder):
    tensors = state()
    expected = {name: [str(t.dtype).split(".")[1], list(t.shape), t.detach().double().flatten().tolist()]
                for name, t in tensors.items()}
    with open(f"{folder}/expected.json", "w", encoding="utf-8") as file:
        json.dump(expected, file)
    training = {"epoch": 2, "model": tensors, "optimizer": {
        "state": {0: {"step": 3, "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}}
    for protocol in (2, 4):
        torch.save(tensors, f"{folder}/zip-{protocol}.pt", pickle_protocol=protocol)
        torch.save(training, f"{folder}/nested-{protocol}.pt", pickle_protocol=protocol)
        torch.save(tensors, f"{folder}/legacy-{protocol}.pt", pickle_protocol=protocol,
                   _use_new_zipfile_serialization=False)
    print(torch.__version__)


def read(path):
    options = {}
    if "weights_only" in inspect.signature(torch.load).parameters:
        options["weights_only"] = True
    tensors = torch.load(path, map_location="cpu", **options)
    json.dump({name: [str(t.dtype).split(".")[1], list(t.shape), t.double().flatten().tolist()]
               for name, t in tensors.items()}, sys.stdout)


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](sys.argv[2])
