#!/usr/bin/env bash
# The reference's run_squad.sh: its 17 arguments, in their order, become flags of bertrand run_squad.
set -euo pipefail

usage='Usage: models/scripts/run_squad.sh [ARGUMENT...]

Trains, answers and evaluates with bertrand run_squad. Relative paths are relative to models/. The
arguments, with their defaults:

   1  init_checkpoint  /workspace/bert/checkpoints/bert_uncased.pt
   2  epochs           2.0
   3  batch_size       4: windows a step on each card
   4  learning_rate    3e-5
   5  precision        fp16, which trains in fp32 as in the reference; cnmix (with opt_level), pyamp
   6  num_gpu          8: cards, a process each
   7  seed             1
   8  squad_dir        $BERT_PREP_WORKING_DIR/download/squad/v1.1
   9  vocab_file       $BERT_PREP_WORKING_DIR/download/google_pretrained_weights/
                       uncased_L-24_H-1024_A-16/vocab.txt
  10  OUT_DIR          /workspace/bert/results/SQuAD
  11  mode             train eval, as any other word; train, eval or prediction alone
  12  CONFIG_FILE      /workspace/bert/bert_config.json
  13  max_steps        -1: all
  14  eval_iters       -1: all
  15  hvd              -1; processes that horovod was to begin, unless num_gpu is 1
  16  opt_level        none; O0 to O3
  17  device           mlu; gpu or cpu

init_checkpoint may be a model folder, too. Where vocab_file or CONFIG_FILE is not there, vocab.txt or
bert_config.json (else config.json) beside init_checkpoint is taken, else beside $BERT_MODEL. A run that
is stopped leaves a snapshot in OUT_DIR. These variables go before the arguments:

  BERTRAND            the program [build/release/bin/bertrand, else the one on the PATH]
  BERTRAND_DEVICE     device
  BERTRAND_CARDS      num_gpu; 1: one process
  BERTRAND_MAX_STEPS  max_steps
  BERTRAND_RESUME     1: go on with the run in OUT_DIR where it was stopped, if one was; 0: begin
                      anew over it [where one was stopped nothing is done]'

case ${1:-} in
  --help) echo "$usage"; exit 0 ;;
  -*) echo "run_squad.sh: unknown argument $1; see --help." >&2; exit 2 ;;
esac
if (($# > 17)); then
  echo "run_squad.sh: takes 17 arguments, not $#; see --help." >&2
  exit 2
fi

preparations=${BERT_PREP_WORKING_DIR:-}
weights_folder=$preparations/download/google_pretrained_weights/uncased_L-24_H-1024_A-16
init_checkpoint=${1:-/workspace/bert/checkpoints/bert_uncased.pt}
epochs=${2:-2.0}
batch_size=${3:-4}
learning_rate=${4:-3e-5}
precision=${5:-fp16}
num_gpu=${BERTRAND_CARDS:-${6:-8}}
seed=${7:-1}
squad_dir=${8:-$preparations/download/squad/v1.1}
vocab_file=${9:-$weights_folder/vocab.txt}
OUT_DIR=${10:-/workspace/bert/results/SQuAD}
mode=${11:-train eval}
CONFIG_FILE=${12:-/workspace/bert/bert_config.json}
max_steps=${BERTRAND_MAX_STEPS:-${13:--1}}
eval_iters=${14:--1}
hvd=${15:--1}
opt_level=${16:-}
device=${BERTRAND_DEVICE:-${17:-mlu}}

fail() { echo "[ERROR] $*" >&2; exit 1; }

[[ $num_gpu =~ ^[1-9][0-9]*$ ]] ||
  fail "num_gpu is \"$num_gpu\": give a number of cards from 1 on, as its argument or in BERTRAND_CARDS."
((num_gpu == 1)) || [[ $hvd =~ ^(-1|[1-9][0-9]*)$ ]] ||
  fail "hvd is \"$hvd\": give a number of processes from 1 on, or -1."

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bertrand=${BERTRAND:-$PWD/../build/release/bin/bertrand}
if [[ ! -x $bertrand ]]; then
  [[ -z ${BERTRAND:-} ]] || fail "BERTRAND: $bertrand is not a program."
  bertrand=$(command -v bertrand) || fail "There is no bertrand: build it (scripts/quickstart) or set BERTRAND."
fi
# Behind a path that is not there, for the caller's folder is another one.
where() { [[ $1 == /* ]] || echo " in $PWD, where relative paths begin; give a whole path"; }
# A TensorFlow checkpoint is named by the beginning of its files' names.
[[ -e $init_checkpoint || -e $init_checkpoint.index ]] ||
  fail "$init_checkpoint: there is no such checkpoint$(where "$init_checkpoint");" \
    "set BERT_MODEL and BERT_INFER_MODEL in env.sh."

# The file $1 if it is there, else one named $2 (or $3) beside the checkpoint or beside $BERT_MODEL.
found_file() {
  if [[ -e $1 ]]; then echo "$1"; return; fi
  local weights folder name
  for weights in "$init_checkpoint" "${BERT_MODEL:-}"; do
    [[ -n $weights ]] || continue
    folder=$weights
    [[ -d $folder ]] || folder=$(dirname "$weights")
    for name in "${@:2}"; do
      if [[ -e $folder/$name ]]; then
        echo "There is no $1: taking $folder/$name." >&2
        echo "$folder/$name"
        return
      fi
    done
  done
  fail "$1: there is no such file, nor $2 beside $init_checkpoint or \$BERT_MODEL."
}
vocab_file=$(found_file "$vocab_file" vocab.txt)
CONFIG_FILE=$(found_file "$CONFIG_FILE" bert_config.json config.json)

training=(--do_train "--train_file=$squad_dir/train-v1.1.json" "--train_batch_size=$batch_size")
predicting=(--do_predict "--predict_file=$squad_dir/dev-v1.1.json" "--predict_batch_size=$batch_size")
evaluating=(--do_eval "--eval_script=$squad_dir/evaluate-v1.1.py")
data=(dev-v1.1.json)
case $mode in
  train) work=("${training[@]}") data=(train-v1.1.json) ;;
  eval) work=("${predicting[@]}" "${evaluating[@]}") ;;
  prediction) work=("${predicting[@]}") ;;
  *) work=("${training[@]}" "${predicting[@]}" "${evaluating[@]}") data+=(train-v1.1.json) ;;
esac
case $mode in
  train | eval | prediction | train?eval) ;;
  *) echo "mode $mode is not known: trains, answers and evaluates, as in the reference; give train, eval," \
    "prediction or train-eval." >&2 ;;
esac
for name in "${data[@]}"; do
  [[ -e $squad_dir/$name ]] ||
    fail "$squad_dir/$name: there is no such file$(where "$squad_dir"); set SQUAD_DIR (env.sh) to the folder" \
      "v1.1 that models/data/squad/squad_download.sh fetches."
done

# Bash before 4.4 takes an empty list for an unset one: ${list[@]+"${list[@]}"}.
launch=() mixed=() going_on=() appending=()
case $precision in
  cnmix) mixed=(--cnmix); [[ -z $opt_level ]] || mixed+=("--opt_level=$opt_level") ;;
  pyamp) mixed=(--pyamp) ;;
  fp32) ;;
  fp16) echo "precision fp16: computed in fp32, as in the reference; pyamp or cnmix is mixed." >&2 ;;
  *) echo "precision $precision is not known: computed in fp32, as in the reference; give fp32, cnmix or pyamp." >&2 ;;
esac

# One process a card. Questions are answered by one process alone, so that others would only wait.
processes=$num_gpu
((num_gpu == 1 || hvd == -1)) || processes=$hvd
[[ $mode != eval && $mode != prediction ]] || processes=1
if ((processes > 1)); then
  launch=(launch --nproc "$processes" --)
else
  hvd=-1
fi

# Where training was stopped there is a snapshot, under its own name or half replaced.
if [[ $mode != eval && $mode != prediction ]] &&
  { [[ -e $OUT_DIR/snapshot ]] || compgen -G "$OUT_DIR/snapshot.old-*" >/dev/null; }; then
  case ${BERTRAND_RESUME:-} in
    1) going_on=(--resume) appending=(-a) ;;
    0) going_on=(--overwrite) ;;
    *) fail "$OUT_DIR holds the snapshot of a run that was stopped: set BERTRAND_RESUME=1 to go on with it," \
      "or BERTRAND_RESUME=0 to begin anew." ;;
  esac
fi

mkdir -p "$OUT_DIR"
command=("$bertrand" ${launch[@]+"${launch[@]}"} run_squad "--init_checkpoint=$init_checkpoint" "${work[@]}"
  --bert_model=bert-base-cased
  "--learning_rate=$learning_rate"
  "--seed=$seed"
  "--num_train_epochs=$epochs"
  --max_seq_length=384
  --doc_stride=128
  "--output_dir=$OUT_DIR"
  "--vocab_file=$vocab_file"
  "--config_file=$CONFIG_FILE"
  "--max_steps=$max_steps"
  "--eval_iters=$eval_iters"
  ${mixed[@]+"${mixed[@]}"}
  ${going_on[@]+"${going_on[@]}"}
  "--hvd=$hvd"
  "--device=$device")
echo "${command[*]} |& tee $OUT_DIR/logfile.txt"
# What stops the run must not stop who waits for its end, nor who writes it down.
trap : INT TERM HUP
time "${command[@]}" |& {
  trap '' INT TERM HUP
  exec tee -i ${appending[@]+"${appending[@]}"} "$OUT_DIR/logfile.txt"
}
