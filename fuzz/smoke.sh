#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (default 10), from the seeds in fuzz/corpus and from what earlier runs found.
# Exit status: 0 nothing was found, 1 a finding, 2 it cannot run here, and why.
#
# cargo-fuzz asks for a nightly compiler because of -Z flags; RUSTC_BOOTSTRAP=1 makes the stable one take them, and it
# ships AddressSanitizer's runtime on the usual hosts. FUZZ_SANITIZER=none goes without.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-10}
sanitizer=${FUZZ_SANITIZER:-address}
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
version=0.13.2
fuzz=$target/tools/bin/cargo-fuzz

cannot() {
    echo "fuzz-smoke cannot run here: $*" >&2
    exit 2
}

command -v cargo >/dev/null || cannot "there is no cargo"
command -v "${CXX:-c++}" >/dev/null || cannot "libFuzzer is C++, and there is no compiler ${CXX:-c++} (Debian: g++)"
host=$(rustc -vV | sed -n 's/^host: //p')
if [ "$sanitizer" = address ]; then
    compgen -G "$(rustc --print target-libdir)/librustc-*_rt.asan.*" >/dev/null ||
        cannot "this Rust toolchain has no AddressSanitizer for $host; FUZZ_SANITIZER=none goes without"
fi
if [ "$("$fuzz" --version 2>/dev/null)" != "cargo-fuzz $version" ]; then
    cargo install cargo-fuzz --version "$version" --locked --force --root "$target/tools" ||
        cannot "cargo-fuzz $version cannot be installed, see above"
fi
options=(--target "$host" --target-dir "$target/fuzz" --sanitizer "$sanitizer")
export RUSTC_BOOTSTRAP=1
"$fuzz" build "${options[@]}" || cannot "the targets do not build, see above"

status=0
for name in $("$fuzz" list); do
    found=$target/fuzz/corpus/$name
    log=$target/fuzz/$name.log
    mkdir -p "$found"
    if "$fuzz" run "${options[@]}" "$name" "$found" "fuzz/corpus/$name" -- \
        -max_total_time="$seconds" -timeout=10 -print_final_stats=1 >"$log" 2>&1; then
        awk -v name="$name" '
            /\tDONE / { coverage = $4; features = $6 }
            /^stat::number_of_executed_units:/ { runs = $2 }
            /^stat::average_exec_per_sec:/ { rate = $2 }
            END {
                if (!runs) exit 1
                printf "%-20s %10d executions, %7d/s, coverage %5d edges, %6d features\n", name, runs, rate, coverage, features
            }' "$log" || { echo "$name ran nothing: $log" >&2; status=1; }
    else
        status=1
        tail -n 60 "$log" >&2
        echo "$name: a finding, see above and $log; its input is in fuzz/artifacts/$name. To run one again:" >&2
        echo "  RUSTC_BOOTSTRAP=1 $fuzz run ${options[*]} $name INPUT" >&2
    fi
done
exit "$status"
