#!/usr/bin/env bash
# Answers and evaluates the development questions of SQuAD v1.1 with a fine-tuned BERT, on one MLU card.
set -euo pipefail

usage='Usage: run_scripts/BERT_Infer.sh

Answers and evaluates $SQUAD_DIR/dev-v1.1.json with the weights in $BERT_INFER_MODEL, and leaves the
answers in models/output. See env.sh for the variables, and models/scripts/run_squad.sh --help for
those that change the device.'

case ${1:-} in
  --help) echo "$usage"; exit 0 ;;
  ?*) echo "BERT_Infer.sh: unknown argument $1; see --help." >&2; exit 2 ;;
esac
for variable in BERT_INFER_MODEL SQUAD_DIR; do
  if [[ -z ${!variable:-} ]]; then
    echo "[ERROR] Please set $variable, for example in env.sh." >&2
    exit 1
  fi
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec bash models/scripts/run_squad.sh \
  "$BERT_INFER_MODEL" \
  2 \
  4 \
  0.00003 \
  fp32 \
  4 \
  1 \
  "$SQUAD_DIR" \
  checkpoints/squad/vocab.txt \
  output \
  eval \
  checkpoints/squad/bert_config.json \
  -1 \
  -1 \
  -1 \
  O0 \
  mlu
