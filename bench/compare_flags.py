"""The flags of bench/compare, which describes them, and what they leave open."""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
MODELS = ["minilm", "bert-base"]
# In this order, so that what time does not suffice for matters least.
WORK = ["ask", "f1", "f1-bf16", "bench", "inference", "int8", "bf16", "training", "latency", "memory"]
PEERS = ["torch", "torch-compile", "onnxruntime", "openvino"]
# Through LibTorch, on the CPU or a device.
WORK_TORCH = ["latency", "inference", "training"]
PEERS_TORCH = ["torch", "torch-compile", "torch-static"]


def choice(parser, flag, text, known):
    names = known if text == "all" else text.split(",")
    for name in names:
        if name not in known:
            parser.error(f"{flag}: {name} is not one of {', '.join(known)}, all")
    return names


def usable_threads(programs, asked):
    """As many as the affinity mask and the cgroup allow, for both sides; 0: all of them."""
    command = [programs / "bench_compare", "threads", str(asked)]
    usable = int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    if usable < asked:
        print(f"compare: {asked} threads were asked for, {usable} may be used.", file=sys.stderr)
    return usable


def parse_flags():
    parser = argparse.ArgumentParser(prog="compare", add_help=False)
    parser.add_argument("--bin", type=lambda path: Path(path).resolve(), required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--engine", choices=["native", "torch"])
    parser.add_argument("--model")
    parser.add_argument("--work", default="all")
    parser.add_argument("--peers")
    parser.add_argument("--precision", choices=["fp32", "bf16", "int8"])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--minutes", type=float, default=120)
    for name in ("--data", "--train", "--base"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--out", default=HERE.parent / "build/compare.json")
    parser.add_argument("--quick", action="store_true")
    flags = parser.parse_args()
    flags.threads = usable_threads(flags.bin, flags.threads)
    flags.engine = flags.engine or ("native" if flags.device == "cpu" else "torch")
    if flags.engine == "native" and flags.device != "cpu":
        parser.error(f"--engine native computes on the CPU, not on {flags.device}")
    through_torch = flags.engine == "torch"
    flags.precision = flags.precision or ("fp32" if flags.device == "cpu" else "bf16")
    if through_torch and flags.precision == "int8":
        parser.error("--precision int8 is of the native engine alone")
    flags.pairs = flags.pairs or (1 if flags.quick else 3)
    models = flags.model or ("minilm" if flags.quick else "all")
    flags.model = choice(parser, "--model", models, MODELS)
    flags.work = choice(parser, "--work", flags.work, WORK_TORCH if through_torch else WORK)
    peers = PEERS_TORCH if through_torch else PEERS
    some = [peer for peer in peers if peer not in ("torch-compile", "torch-static")]
    names = flags.peers or ",".join(some if flags.quick else peers)
    flags.peers = sorted(choice(parser, "--peers", names, peers), key=peers.index)
    return flags
