#!/usr/bin/env bash
# Begins the MLU container of DOCKERFILE, or enters the one that is there.
set -euo pipefail

usage='Usage: run_docker.sh

Runs the image $IMAGE_NAME as the container $MY_CONTAINER with all MLU cards, or enters it where it is
there already. This folder is /home/bertrand in it, and $DATA_DIR the same folder inside and outside.

  IMAGE_NAME    [bertrand_mlu: docker build --network=host -t bertrand_mlu -f DOCKERFILE .]
  MY_CONTAINER  [mlu_bert_bertrand]
  DATA_DIR      folder with models and data [/your/data]
  --help        this text'

case ${1:-} in
  --help) echo "$usage"; exit 0 ;;
  ?*) echo "run_docker.sh: unknown argument $1; see --help." >&2; exit 2 ;;
esac

image=${IMAGE_NAME:-bertrand_mlu}
container=${MY_CONTAINER:-mlu_bert_bertrand}
data=${DATA_DIR:-/your/data}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if ! command -v docker >/dev/null; then
  echo "run_docker.sh: there is no docker; install it first." >&2
  exit 1
fi
if ! containers=$(docker ps --all --quiet --filter "name=^$container\$"); then
  echo "run_docker.sh: docker does not answer (see the line above); begin its service, or run this as one" \
    "who may use it." >&2
  exit 1
fi
if [[ -n $containers ]]; then
  docker start "$container"
  exec docker exec -ti "$container" /bin/bash
fi
devices=()
for device in /dev/cambricon_*; do
  [[ ! -e $device ]] || devices+=(--device "$device")
done
if ((${#devices[@]} == 0)); then
  echo "run_docker.sh: there is no /dev/cambricon_*; install the driver of the cards." >&2
  exit 1
fi
exec docker run --shm-size 64gb --privileged --network=host --ipc=host "${devices[@]}" \
  -it --name "$container" \
  -v "$here:/home/bertrand" -v "$data:$data" -v /usr/bin/cnmon:/usr/bin/cnmon \
  -w /home/bertrand "$image" /bin/bash
