# shellcheck shell=bash
# Where the reference's scripts find model and data; to be sourced: source env.sh. A variable that is
# set already stays as it is.

# Weights to begin training from: what `bertrand convert` wrote, or any checkpoint it reads.
export BERT_MODEL=${BERT_MODEL:-/path/to/pytorch_model.pt}
# Fine-tuned weights to answer with: pytorch_model.bin in the output folder of a training run.
export BERT_INFER_MODEL=${BERT_INFER_MODEL:-/path/to/output/pytorch_model.bin}
# Folder with train-v1.1.json and dev-v1.1.json; models/data/squad/squad_download.sh fetches them.
export SQUAD_DIR=${SQUAD_DIR:-/path/to/squad/v1.1}
