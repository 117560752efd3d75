"""Loads a model folder with transformers, checks it, and saves it again under FOLDER/again.

Usage: peer_transformers.py FOLDER. Exits with 1 and a line on standard error where something is
not as it should be. Called by peer_test.cpp.
"""

import sys

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer, BertForQuestionAnswering


def check(condition, complaint):
    if not condition:
        sys.exit(complaint)


def main(folder):
    config = AutoConfig.from_pretrained(folder)
    check(config.architectures == ["BertForQuestionAnswering"], "other architecture")
    model, loading = BertForQuestionAnswering.from_pretrained(
        folder, output_loading_info=True, torch_dtype=torch.float32)
    check(not loading["missing_keys"], f"missing: {loading['missing_keys']}")
    check(not loading["mismatched_keys"], f"mismatched: {loading['mismatched_keys']}")
    unexpected = [key for key in loading["unexpected_keys"] if ".pooler." not in key]
    check(not unexpected, f"unexpected: {unexpected}")

    stored = load_file(f"{folder}/model.safetensors")
    for name, parameter in model.named_parameters():
        check(torch.equal(parameter, stored[name].float()), f"{name} is not as stored")
    model.eval()
    with torch.no_grad():
        output = model(input_ids=torch.tensor([[2, 5, 3, 6, 7, 3]]),
                       token_type_ids=torch.tensor([[0, 0, 0, 1, 1, 1]]))
    check(torch.isfinite(output.start_logits).all(), "logits that are not finite")

    tokenizer = AutoTokenizer.from_pretrained(folder)
    check(type(tokenizer).__name__.startswith("BertTokenizer"), "other tokenizer")
    check(tokenizer.model_max_length == config.max_position_embeddings, "other model_max_length")
    with open(f"{folder}/expected_tokens.txt", encoding="utf-8") as lines:
        text, *tokens = lines.read().splitlines()
    check(tokenizer.tokenize(text) == tokens, f"tokens {tokenizer.tokenize(text)}")
    model.save_pretrained(f"{folder}/again")
    tokenizer.save_pretrained(f"{folder}/again")


if __name__ == "__main__":
    main(sys.argv[1])
