#!/usr/bin/env bash
# Fine-tunes and evaluates BERT on SQuAD v1.1: fp32, two epochs, four MLU cards, batch 4 each.
set -euo pipefail

usage='Usage: run_scripts/BERT_FP32_2E_4MLUs_Train.sh

Trains from the weights in $BERT_MODEL on $SQUAD_DIR/train-v1.1.json, answers and evaluates
$SQUAD_DIR/dev-v1.1.json, and leaves all in models/output. See env.sh for the variables, and
models/scripts/run_squad.sh --help for those that change device and cards.'

case ${1:-} in
  --help) echo "$usage"; exit 0 ;;
  ?*) echo "BERT_FP32_2E_4MLUs_Train.sh: unknown argument $1; see --help." >&2; exit 2 ;;
esac
for variable in BERT_MODEL SQUAD_DIR; do
  if [[ -z ${!variable:-} ]]; then
    echo "[ERROR] Please set $variable, for example in env.sh." >&2
    exit 1
  fi
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec bash models/scripts/run_squad.sh \
  "$BERT_MODEL" \
  2 \
  4 \
  0.00003 \
  fp32 \
  4 \
  1 \
  "$SQUAD_DIR" \
  checkpoints/squad/vocab.txt \
  output \
  train-eval \
  checkpoints/squad/bert_config.json \
  -1 \
  -1 \
  -1 \
  O0 \
  mlu
