#!/usr/bin/env bash
# Trains and tests the small networks of options/*/GRR_synth, with two seeds each, and draws their PSNR per row
# (docs/row_blur.md). Run it in a clone, one CPU core is enough; a second run continues an interrupted one.
#   benchmarks/row_blur/study.sh TRAINING_PHOTOS VALIDATION_PHOTOS TEST_CLIPS
# For two cores, run it with SEEDS=none, which makes the data, then with SEEDS=0 and SEEDS=1 at once, then without SEEDS.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
export OMP_NUM_THREADS=1
results=${RESULTS:-results/row_blur}

prepare() { $python scripts/prepare_data.py grr-synth --out datasets/GRR_synth --target row_centre "$@"; }
prepare --part train --photos "$1" --crop 320 128 --path-length 5 40 --per-photo 6
prepare --part validate --photos "$2" --crop 320 256 --path-length 5 40 --seed 1
prepare --part test --clips "$3"

seeds=${SEEDS:-0 1}
for seed in ${seeds#none}; do
  for network in RSST_tiny NAFNet_tiny RSST_tiny_no_rows NAFNet_tiny_rows; do
    run=${network}_seed$seed
    out=$results/$run
    mkdir -p "$out"
    [ -f "experiments/$run/models/net_g_latest.pth" ] ||
      $python basicsr/train.py -opt "options/train/GRR_synth/$network.yml" --auto_resume \
        --force_yml name="$run" manual_seed="$seed" 2>&1 | tee -a "$out/train.log"
    for part in test validate; do
      [ -f "$out/GRR_synth-$part.json" ] ||
        $python basicsr/test.py -opt "options/test/GRR_synth/$network.yml" --output "$out" --force_yml name="$run" \
          path:pretrain_network_g="experiments/$run/models/net_g_latest.pth" \
          datasets:test:name="GRR_synth-$part" datasets:test:dataroot="datasets/GRR_synth/$part"
    done
  done
done

[ "$seeds" = '0 1' ] || exit 0
both() { echo "$results/$1_seed0,$results/$1_seed1"; }
for part in test validate; do
  $python scripts/plot_rows.py --gain --dataset "GRR_synth-$part" --output "$results/rows_$part.svg" \
    "RSS-T=$(both RSST_tiny)" "RSS-T without rows=$(both RSST_tiny_no_rows)" \
    "NAFNet=$(both NAFNet_tiny)" "NAFNet with rows=$(both NAFNet_tiny_rows)"
done
