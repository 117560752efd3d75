"""What bench/compare measures on: models with random weights, and windows as long as SQuAD's."""

import random
import re
import sys
from importlib.metadata import version
from pathlib import Path

SHAPES = {
    "minilm": dict(hidden_size=384, num_hidden_layers=6, intermediate_size=1536),
    "bert-base": {},
}
LAYERS, HIDDEN, INTERMEDIATE = 12, 768, 3072  # where the shape does not say
GROUP = 32  # windows; as in compare_side.cpp
PACKAGES = ["torch", "transformers", "onnx", "onnxruntime", "openvino"]
PACKAGES_TORCH = PACKAGES[:2]


def versions(packages):
    return {package: version(package) for package in packages}


def lengths(name):
    """A list of the header that Bertrand's own benchmarks use."""
    header = Path(__file__).parent.parent / "src/measure/squad_lengths.h"
    found = re.search(name + r"\[\] = \{([^}]*)\}", header.read_text())
    return [int(length) for length in found[1].split(",")]


def grouped(all_lengths, first, stride):
    """The lengths of the windows in groups first, first + stride, ..., as the sides choose them."""
    groups = range(first, -(-len(all_lengths) // GROUP), stride)
    return [length for group in groups for length in all_lengths[group * GROUP : (group + 1) * GROUP]]


def useful_work(name, all_lengths):
    """Floating point operations of answering windows of these lengths; see docs/performance.md."""
    shape = SHAPES[name]
    layers = shape.get("num_hidden_layers", LAYERS)
    hidden = shape.get("hidden_size", HIDDEN)
    weights = layers * (4 * hidden**2 + 2 * hidden * shape.get("intermediate_size", INTERMEDIATE))
    return sum(2 * weights * length + 4 * layers * hidden * length**2 for length in all_lengths)


def many_lengths():
    """For batches of 128 windows, ten of them, all full."""
    return sorted(4 * lengths("kInferenceLengths") + [128] * 4)


def write_windows(path, all_lengths, seed):
    """[CLS] question [SEP] text [SEP] of random words, with an answer early in the text."""
    words = random.Random(seed)
    with open(path, "w") as file:
        for length in all_lengths:
            ids = [words.randrange(1000, 30000) for _ in range(length)]
            ids[0], ids[12], ids[-1] = 101, 102, 102
            print(13, 20, 22, *ids, file=file)


def write_onnx(model, folder, shape):
    """model.onnx, and fused.onnx as ONNX Runtime's optimizer for transformers makes it."""
    import torch
    from onnxruntime.transformers import optimizer

    class Scores(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids):
            out = self.model(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            )
            return out.start_logits, out.end_logits

    # Three tensors: of one given thrice the exporter would make one input.
    example = tuple(torch.ones(2, 16, dtype=torch.int64) for _ in range(3))
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        Scores().eval(),
        example,
        str(folder / "model.onnx"),
        dynamo=True,
        verbose=False,
        external_data=False,
        input_names=["input_ids", "attention_mask", "token_type_ids"],
        output_names=["start", "end"],
        dynamic_shapes=(axes, axes, axes),
    )
    fused = optimizer.optimize_model(
        str(folder / "model.onnx"),
        model_type="bert",
        num_heads=shape.num_attention_heads,
        hidden_size=shape.hidden_size,
    )
    print(f"{folder.name}: ONNX Runtime fused {fused.get_fused_operator_statistics()}", file=sys.stderr)
    fused.save_model_to_file(str(folder / "fused.onnx"))


def make_model(name, folder):
    """A model folder that PyTorch and Bertrand load, and the windows."""
    import torch
    from transformers import BertConfig, BertForQuestionAnswering

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    # Wider weights than usual, so that attention and answers are far from even.
    shape = BertConfig(**SHAPES[name], initializer_range=0.05)
    BertForQuestionAnswering(shape).save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"word{i}\n" for i in range(shape.vocab_size)))
    (folder / "weights").touch()


def prepare(name, folder, onnx):
    """All that is measured on, in `folder` unless it is there already; without `onnx` for PyTorch
    alone."""
    complete = folder / "complete"
    if not complete.exists() and not (folder / "weights").exists():
        make_model(name, folder)
    write_windows(folder / "inference.txt", lengths("kInferenceLengths"), seed=1)
    write_windows(folder / "training.txt", lengths("kTrainingLengths"), seed=2)
    write_windows(folder / "many.txt", many_lengths(), seed=3)
    if onnx and not complete.exists():
        from transformers import BertForQuestionAnswering

        # The form whose attention ONNX Runtime knows.
        model = BertForQuestionAnswering.from_pretrained(folder, attn_implementation="eager")
        write_onnx(model, folder, model.config)
        complete.touch()


if __name__ == "__main__":
    prepare(sys.argv[1], Path(sys.argv[2]), onnx="onnx" in sys.argv[3:])
