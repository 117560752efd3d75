# shellcheck shell=bash
# Where the reference's scripts find model and data; edit the paths, then: source env.sh. What the
# caller has set itself stays; what is empty, begins with /path/to/ or was set here before does not.
bertrand_set() { # NAME VALUE
  eval "set -- \"\$1\" \"\$2\" \"\${$1:-}\" \"\${BERTRAND_ENV_$1:-}\""
  case $3 in
    '' | /path/to/* | "$4") export "$1=$2" "BERTRAND_ENV_$1=$2" ;;
  esac
}

# Weights to begin training from: what `bertrand convert` wrote, or any checkpoint it reads.
bertrand_set BERT_MODEL /path/to/pytorch_model.pt
# Fine-tuned weights to answer with: pytorch_model.bin in the output folder of a training run.
bertrand_set BERT_INFER_MODEL /path/to/output/pytorch_model.bin
# Folder with train-v1.1.json and dev-v1.1.json; models/data/squad/squad_download.sh fetches them.
bertrand_set SQUAD_DIR /path/to/squad/v1.1

unset -f bertrand_set
