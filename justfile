# Recipes for people and for CI. `just` alone lists them.

# One profile for everything: a second one would compile torch-sys and polars again.

_default:
    @just --list --unsorted

# Train the experiments on real data and render their reports: `just reproduce m1 --profile full`
reproduce *ARGS: build
    @target/release/pinbench reproduce {{ ARGS }}

# The last build of it is what target/release/pinbench is, and without libtorch that trains nothing.
# All checks: format, lints, unit and integration tests on real data
test: setup fetch
    cargo fmt --all -- --check
    cargo clippy --release --all-targets -- -D warnings
    cargo clippy --release --no-default-features --all-targets -- -D warnings
    cargo test --release
    cargo test --release --no-default-features; code=$?; cargo build --release && exit $code

# Fetch libtorch and link it as .libtorch: `just setup cpu` or `just setup cuda`; without either, the flavour that is linked
setup FLAVOUR="":
    @python3 tools/libtorch.py {{ FLAVOUR }}

# Build target/release/pinbench
build: setup
    cargo build --release

# One page in under a minute, small but honest: MNIST batch size, in target/demo
demo: build
    @target/release/pinbench reproduce demo --experiments examples --no-diagnostics --store target/demo/runs --report target/demo

# Put pinbench onto PATH: into ~/.local, or `just install --prefix DIR`
install *ARGS: build
    @python3 tools/package.py install {{ ARGS }}

# Make target/pinbench-VERSION-x86_64-linux.tar.xz, which needs nothing but glibc: `--with mnist,cifar10` for data sets in it, `--slim` without libtorch
package *ARGS: build
    @python3 tools/package.py pack {{ ARGS }}

# A package for a machine with a GPU and PyTorch, built without either: `--for-torch 2.11.0` names the PyTorch there, `--with mnist` brings data
package-cuda *ARGS: build
    @python3 tools/package_cuda.py {{ ARGS }}

# Everything this project wants to know of a GPU, most important first, on a machine that has one: `--seconds 600`, `--out DIR`
gpu-session *ARGS: build fetch
    @python3 tools/gpu_session.py {{ ARGS }}

# Make both packages, and run each in a root that has glibc and nothing else
test-package: fetch
    python3 tools/package.py pack
    python3 tools/package.py pack --slim
    python3 tools/package.py try target/pinbench-*[0-9]-x86_64-linux.tar.xz --from "$(target/release/pinbench data fetch mnist --quiet)"
    python3 tools/package.py try target/pinbench-*-slim-x86_64-linux.tar.xz

# Fetch the data sets into the cache
fetch: build
    @target/release/pinbench data fetch

# Images per second of pinbench's plans beside a plain and a tuned PyTorch script, in turn (installs PyTorch, 5 GB, in target/)
compare-pytorch ROUNDS="3": build fetch
    @python3 tools/compare_pytorch.py {{ ROUNDS }}

# The first steps of both presets and of the networks in examples/ under eager and tuned, repeated in PyTorch and compared bit for bit; skips without PyTorch
cross-check STEPS="50" *NETWORKS: build fetch
    @python3 tools/cross_check.py {{ STEPS }} {{ NETWORKS }}

# The regression gate: fresh runs against the stored baselines, `just check --profile smoke`
check *ARGS: build fetch
    @target/release/pinbench check {{ ARGS }}

# What the gate's tests leave to a quiet machine: a step that is a fifth slower is caught
prove-gate: build fetch
    cargo test --release --test gate -- --ignored --nocapture

# What explain's tests leave to a quiet machine: planted delays are found in their phase and sized, an A/A run finds nothing
prove-explain: build fetch
    cargo test --release --test explain -- --ignored --nocapture --test-threads=1

# What the rules of verdicts say where the answer is known: 200 studies of equal arms, and as many of planted effects, on 2,000 real trainings
prove-verdicts: build fetch
    cargo test --release --lib verdict_tests -- --ignored --nocapture

# What `pinbench time` finds where the answer is known: nothing in 20 A/A measurements, 3 % in 10 (needs a quiet machine for 20 minutes)
prove-time *ARGS: build fetch
    @python3 tools/prove_time.py {{ ARGS }}

# Fuzz every parser for SECONDS each from real headers, and say how many inputs were tried (installs cargo-fuzz)
fuzz SECONDS="60":
    #!/usr/bin/env bash
    set -euo pipefail
    cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
    options=(--sanitizer none --strip-dead-code=true)
    cargo fuzz build "${options[@]}"
    failed=0
    for target in $(cargo fuzz list); do
        # What is found goes under target/: the committed corpus stays as small as it is.
        found="target/fuzz/corpus/$target"; log="target/fuzz/$target.log"; mkdir -p "$found"
        seeds=("fuzz/corpus/$target"); [ "$target" = experiment ] && seeds+=(experiments)
        [ "$target" = baseline ] && seeds+=(experiments/baselines)
        if ! cargo fuzz run "${options[@]}" "$target" "$found" "${seeds[@]}" -- -max_total_time={{ SECONDS }} \
            -rss_limit_mb=512 -timeout=10 -print_final_stats=1 >"$log" 2>&1; then
            failed=1; tail -30 "$log" >&2
            echo "$target failed: its input is under fuzz/artifacts/$target/; move it to fuzz/corpus/$target/" >&2
        fi
        tried=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
        printf '%s\t%s\t%s s\t%s inputs\n' "$(date -u +%F)" "$target" {{ SECONDS }} "${tried:-0}" | tee -a fuzz/tried.tsv
    done
    exit $failed

# The tests without a network: loopback alone, data sets out of the cache
test-offline: setup fetch
    @unshare -rn true 2>/dev/null || { echo "no user namespaces here: run 'just test-offline' where 'unshare -rn true' works, or 'just test' with the network unplugged" >&2; exit 1; }
    cargo test --release --no-run
    cargo test --release --no-default-features --no-run
    unshare -rn python3 tools/offline.py cargo test --release --offline
    unshare -rn python3 tools/offline.py cargo test --release --no-default-features --offline; code=$?; cargo build --release --offline && exit $code

# The flavour with CUDA, set up and built as a user does, in a copy of this checkout under target/cuda: it links CUDA, and
# a machine without a GPU is told so.
# The CUDA build, which needs no GPU: linked, and says what it lacks (fetches 5 GB of wheels)
test-cuda-build:
    #!/usr/bin/env bash
    set -euo pipefail
    unset LIBTORCH LIBTORCH_USE_PYTORCH CARGO_TARGET_DIR
    mkdir -p target/cuda
    git ls-files -co --exclude-standard -z | tar --null -T - --ignore-failed-read -c | tar -x -C target/cuda
    cd target/cuda
    just setup cuda
    just build
    needed=$(readelf -d target/release/pinbench | grep NEEDED)
    echo "$needed"
    grep -q 'libtorch_cuda\.so' <<<"$needed" || { echo "target/cuda/target/release/pinbench does not need libtorch_cuda.so: see link_cuda in build.rs" >&2; exit 1; }
    target/release/pinbench doctor | grep -A1 -E 'flavour|CUDA devices|driver|cuDNN' || true
    if nvidia-smi -L 2>/dev/null; then
        echo "this machine has a GPU, so that nothing is refused here"; exit
    fi
    said=$(target/release/pinbench run m1 --profile smoke --device cuda 2>&1) && { echo "expected a refusal, found: $said" >&2; exit 1; }
    echo "$said"
    grep -q 'has CUDA but sees no GPU' <<<"$said" || { echo "expected 'has CUDA but sees no GPU' in what it said" >&2; exit 1; }

# Licences, sources and advisories of every dependency (installs cargo-deny)
deny:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
    cargo deny check bans licenses sources
    if ! cargo deny fetch db; then
        echo "error: advisories and yanked versions were not checked, for their database, a git repository, cannot be fetched from here; run 'just deny' on a machine that reaches it" >&2
        exit 1
    fi
    cargo deny check advisories
