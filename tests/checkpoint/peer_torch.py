"""Writes checkpoints with PyTorch, or reads ours.

Usage: peer_torch.py write FOLDER: state dictionaries of every type of tensor, in each form this
PyTorch can write, with the same values in expected.json.
Usage: peer_torch.py training FOLDER: what training programs save, a BERT's tensors with all that torch
takes for safe beside them, and other plain values, each in a file of its own; the values of the
BERT's in expected.json.
Usage: peer_torch.py read FILE: prints names, types, shapes and sums as JSON, loaded with
weights_only=True where this PyTorch has it.
"""

import argparse
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


def write_expected(folder, tensors):
    expected = {name: [str(t.dtype).split(".")[1], list(t.shape), t.detach().double().flatten().tolist()]
                for name, t in tensors.items()}
    with open(f"{folder}/expected.json", "w", encoding="utf-8") as file:
        json.dump(expected, file)


def best():
    """A number of NumPy's, where it is there."""
    try:
        import numpy
    except ImportError:
        return .9
    return numpy.float64(.9)


def training(folder):
    tensors = collections.OrderedDict()
    for place, tensor in enumerate(state().values()):
        if tensor.dtype.is_floating_point:
            tensors[f"bert.encoder.layer.{place}.output.dense.weight"] = tensor
    tagged = torch.ones(3)
    tagged.tag = "of the tensor"
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.partition_dim = 0
    tensors["bert.pooler.dense.bias"] = tagged
    tensors["qa_outputs.bias"] = parameter
    tensors["qa_outputs.weight"] = torch.randn(1, 4).expand(2, 4)
    write_expected(folder, tensors)
    linear = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(linear.parameters())
    linear(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    moments = {name: torch.zeros_like(t) for name, t in tensors.items()}
    types = ["complex64", "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"]
    beside = {name: torch.zeros(2).to(getattr(torch, name)) for name in types if hasattr(torch, name)}
    scores = collections.defaultdict(list)
    scores["f1"].append(.5)
    files = {
        "tutorial": {"epoch": 5, "model_state_dict": tensors, "optimizer_state_dict": optimizer.state_dict(),
                     "loss": torch.tensor(.5)},
        "rng": {"model": tensors, "rng": torch.get_rng_state()},
        "empty": {"state_dict": {}, "model": tensors},
        "moments": {"momentum": moments, "weights": tensors},
        "schedule": {"model": tensors, "schedule": schedule.state_dict()},
        "losses": {"model": tensors, "losses": [0.1 * i for i in range(230_000)]},
        "types": {"model": tensors, "beside": beside},
        "bytes": {"model": tensors, "note": b"\0\xff", "array": bytearray(b"ab")},
        "scores": {"model": tensors, "best": best(), "scores": scores},
    }
    for name, objects in files.items():
        torch.save(objects, f"{folder}/{name}.pt")
        torch.save(objects, f"{folder}/{name}-legacy.pt", _use_new_zipfile_serialization=False)
        torch.save(objects, f"{folder}/{name}-1.pt", pickle_protocol=1)
    settings = argparse.Namespace(lr=1e-3, layers=[0, 1])
    torch.save({"model": tensors, "args": settings}, f"{folder}/settings.pt")
    torch.save(files["rng"], f"{folder}/rng-legacy-1.pt", pickle_protocol=1,
               _use_new_zipfile_serialization=False)


def write(folder):
    tensors = state()
    write_expected(folder, tensors)
    nested = {"epoch": 2, "model": tensors, "optimizer": {
        "state": {0: {"step": 3, "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}}
    for protocol in (2, 4):
        torch.save(tensors, f"{folder}/zip-{protocol}.pt", pickle_protocol=protocol)
        torch.save(nested, f"{folder}/nested-{protocol}.pt", pickle_protocol=protocol)
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
    {"write": write, "training": training, "read": read}[sys.argv[1]](sys.argv[2])
