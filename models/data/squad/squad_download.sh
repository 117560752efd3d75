#!/usr/bin/env bash
# Downloads SQuAD and checks that every file is what it should be.
set -euo pipefail

usage='Usage: models/data/squad/squad_download.sh [v1.1] [v2.0]

Downloads SQuAD v1.1 and v2.0 (or the one named) into the folders v1.1 and v2.0 where it is called. A
file that is there and good is left as it is; a download that was cut off goes on where it ended. What
has another checksum than checksums.md5 says is removed. The official evaluation scripts come with them;
bertrand does not need them (bertrand evaluate computes the same), so that one that cannot be had is told
and no failure.

  SQUAD_MIRROR     where all files lie [https://rajpurkar.github.io/SQuAD-explorer/dataset; the scripts
                   at worksheets.codalab.org]
  SQUAD_CHECKSUMS  the list of files, as md5sum writes it [checksums.md5 beside this script]
  --help           this text'

versions=()
for argument in "$@"; do
  case $argument in
    v1.1 | v2.0) versions+=("$argument") ;;
    --help) echo "$usage"; exit 0 ;;
    *) echo "squad_download.sh: unknown argument $argument; see --help." >&2; exit 2 ;;
  esac
done
((${#versions[@]} > 0)) || versions=(v1.1 v2.0)

mirror=${SQUAD_MIRROR:-https://rajpurkar.github.io/SQuAD-explorer/dataset}
checksums=${SQUAD_CHECKSUMS:-$(dirname "${BASH_SOURCE[0]}")/checksums.md5}
[[ -r $checksums ]] || { echo "$checksums: there is no such list of checksums." >&2; exit 1; }

command -v curl wget >/dev/null || { echo "squad_download.sh: install curl or wget." >&2; exit 1; }

# Where the file $1 lies.
address_of() {
  local bundles=https://worksheets.codalab.org/rest/bundles
  case ${SQUAD_MIRROR:-}${1##*/} in
    evaluate-v1.1.py) echo "$bundles/0xbcd57bee090b421c982906709c8c27e1/contents/blob/" ;;
    evaluate-v2.0.py) echo "$bundles/0x6b567e1cf2e041ec80d7098f031c5c9e/contents/blob/" ;;
    *) echo "$mirror/${1##*/}" ;;
  esac
}

md5_of() { md5sum <"$1" | cut -d' ' -f1; }

# In bytes; "none" where there is no such file.
size_of() { { wc -c <"$1" || echo none; } 2>/dev/null; }

# Fetches $1 into $2, of which a part may be there, in one connection.
fetch_once() {
  if command -v curl >/dev/null; then
    local status=0 code
    code=$(curl --fail --location --silent --show-error --continue-at - --output "$2" \
      --write-out '%{http_code}' "$1") || status=$?
    # What is there cannot be gone on with: 33, the server sends whole files only; 416, it has no more.
    if ((status == 33)) || [[ $code == 416 ]]; then rm -f "$2"; fi
    return "$status"
  fi
  wget --no-verbose --tries=1 --continue --output-document="$2" "$1"
}

# The same in as many connections as are needed, while each brings something or begins anew.
fetch() {
  local before after connections
  for ((connections = 0; connections < 100; ++connections)); do
    before=$(size_of "$2")
    if fetch_once "$1" "$2"; then return 0; fi
    after=$(size_of "$2")
    [[ $after != "$before" ]] || return 1
    echo "Going on with ${2%.part}"
  done
  return 1
}

# Brings the file $1, whose checksum is $2.
bring() {
  local file=$1 expected=$2 part=$1.part found
  if [[ -e $file ]]; then
    found=$(md5_of "$file")
    if [[ $found == "$expected" ]]; then
      echo "$file is there."
      return
    fi
    rm -f "$file"
    echo "$file was corrupted and is removed: its md5 was $found and must be $expected." >&2
  fi
  mkdir -p "$(dirname "$file")"
  if [[ ! -e $part || $(md5_of "$part") != "$expected" ]]; then
    local address
    address=$(address_of "$file")
    echo "Downloading $address"
    if ! fetch "$address" "$part"; then
      echo "$file: the download from ${address%/"${file##*/}"} failed; run this again to go on with it." >&2
      return 1
    fi
  fi
  found=$(md5_of "$part")
  if [[ $found != "$expected" ]]; then
    rm -f "$part"
    echo "$file is corrupted: its md5 is $found and must be $expected. What came is removed; run this" \
      "again, or set SQUAD_MIRROR to another place." >&2
    return 1
  fi
  mv "$part" "$file"
  echo "$file is complete."
}

failed=0 listed=''
# As md5sum -b writes it, too (*NAME), with CRLF, with no end of line after the last.
while read -r expected file || [[ -n $expected ]]; do
  file=${file%$'\r'} file=${file#\*} file=${file#./}
  for version in "${versions[@]}"; do
    [[ $file == "$version/"* ]] || continue
    listed+=" $version"
    if bring "$file" "$expected"; then continue; fi
    if [[ $file == *.py ]]; then
      echo "$file is not needed: bertrand evaluate computes the same." >&2
    else
      failed=1
    fi
  done
done <"$checksums"
for version in "${versions[@]}"; do
  [[ " $listed " != *" $version "* ]] || continue
  # Where none was named all that are listed were asked for.
  [[ $# == 0 && -n $listed ]] || failed=1
  echo "$checksums lists no file of $version; its lines are: MD5 $version/NAME" >&2
done
((failed == 0)) || exit 1
echo "Complete!"
