#!/usr/bin/env bash
# Set up, train and evaluate a small SAM-Deblur network in about 15 minutes, without a GPU: bash scripts/quickstart.sh
#   --out DIR    folder for datasets/, experiments/ and results/ (default: the clone)
#   --seed N     seed of data and training (default: 0)
#   --steps N    training steps of each network (default: as in options/train/_base_/quickstart.yml)
#   --data "..." more arguments of scripts/make_quickstart_data.py
# Needs Python 3.10 or newer and git. After an interruption, run it again: it continues and keeps finished results.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$root seed=0 steps='' data=''
while [ $# -gt 0 ]; do
    case "$1" in
        --out | --seed | --steps | --data)
            [ $# -gt 1 ] || { echo "$1 needs a value" >&2; exit 2; }
            declare "${1#--}=$2"
            shift 2 ;;
        *) sed -n '2,7s/^# //p' "${BASH_SOURCE[0]}"; [ "$1" = --help ] && exit 0; echo "unknown option: $1" >&2; exit 2 ;;
    esac
done
mkdir -p "$out" && [ -w "$out" ] || { echo "$out cannot be written; choose another folder with --out" >&2; exit 1; }
out=$(cd "$out" && pwd)

begin() {
    echo "== $* ($((SECONDS / 60)) min $((SECONDS % 60)) s since the start)"
}

begin 'set up'
cd "$root"
source scripts/environment.sh
use_environment
cd "$out"

begin 'data: photos and generated images, blurred region by region'
# shellcheck disable=SC2086 # $data is a list of words
python "$root/scripts/make_quickstart_data.py" --seed "$seed" $data

changes=("manual_seed=$seed")
[ -z "$steps" ] || changes+=("train:total_iter=$steps" "train:scheduler:T_max=$steps")
for method in NAFNet SAMDeblur; do
    begin "train $method"
    python "$root/basicsr/train.py" -opt "$root/options/train/Quickstart/$method.yml" --auto_resume \
        --force_yml "${changes[@]}"
done

for method in NAFNet SAMDeblur; do
    begin "evaluate $method on unseen photos"
    python "$root/basicsr/test.py" -opt "$root/options/test/Quickstart/$method.yml" >/dev/null
done

begin 'result'
python "$root/scripts/quickstart_report.py" results/Quickstart-NAFNet results/Quickstart-SAMDeblur
begin 'done'
