#!/usr/bin/env bash
# Everything that wants a GPU, in one command of at most 8 minutes; writes cuda.json and cuda.md.
#
#     benchmarks/cuda.sh [--out runs/cuda] [--device cuda|cpu] [--only PART ...]
#
# Exit code 0 where every part is fine, does not apply or was skipped for want of data; 1 where one failed; 2 without a GPU.
set -euo pipefail
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE} TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1}
here=$(dirname "$(readlink -f "$0")")
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
# The module cannot be called cuda.py: torch would import it in place of the package of that name.
exec "${PYTHON:-python}" "$here/on_cuda.py" "$@"
