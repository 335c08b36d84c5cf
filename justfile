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

# Sanitizers and target_clones crash together (google/sanitizers#342), so that each set of instructions is a build of its own.
# The Winograd kernels by themselves, under the sanitizers, once for each set of instructions: needs g++ alone
test-kernels:
    #!/usr/bin/env bash
    set -euo pipefail
    mkdir -p target/kernels
    cd src/train/shim/winograd
    for arch in x86-64 x86-64-v3 x86-64-v4; do
        g++ -std=c++20 -O2 -g1 -march=$arch -ffp-contract=fast -fsanitize=address,undefined -fno-sanitize-recover=all \
            -Wall -Wextra -Wno-psabi -pthread *.cpp -o ../../../../target/kernels/$arch &
    done
    wait
    for build in x86-64:sse2 x86-64-v3:avx2 x86-64-v4:avx512vl; do
        arch=${build%:*}
        # A processor without those instructions would stop at the first of them.
        if ! grep -qw "${build#*:}" /proc/cpuinfo; then
            echo "$arch: built, and not run: this processor has no such instructions" >&2
            continue
        fi
        ../../../../target/kernels/$arch
    done

# Make both packages, and run each in a root that has glibc and nothing else
test-package: fetch
    python3 tools/package.py pack
    python3 tools/package.py pack --slim
    python3 tools/package.py try target/pinbench-*[0-9]-x86_64-linux.tar.xz --from "$(target/release/pinbench data fetch mnist --quiet)"
    python3 tools/package.py try target/pinbench-*-slim-x86_64-linux.tar.xz

# Every page under FOLDER in Chromium: wide, narrow, dark, on paper and without scripts; first, that planted faults are caught
test-pages FOLDER="reports":
    #!/usr/bin/env bash
    set -euo pipefail
    node=$(node --version 2>/dev/null || true)
    if [[ ! "$node" =~ ^v([0-9]+) ]] || [ "${BASH_REMATCH[1]}" -lt 20 ]; then
        echo "test-pages needs Node.js 20 or newer with npm, found '${node:-none}': install it from nodejs.org or a package archive" >&2
        exit 2
    fi
    # Letters of Korean pages are measured too, and without a font for them all are the same empty box.
    missing=()
    command -v chromium >/dev/null || missing+=(chromium)
    fc-list :lang=ko 2>/dev/null | grep -q . || missing+=(fonts-nanum)
    if [ "${#missing[@]}" -gt 0 ]; then
        root=(); [ "$(id -u)" -eq 0 ] || root=(sudo)
        apt-cache policy "${missing[@]}" | grep -q 'Candidate: [0-9]' || "${root[@]}" apt-get update -qq
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "${missing[@]}"
    fi
    # Packages go under target/, where nothing is committed; the same lock file is installed once.
    room=target/browser
    if [ ! -d "$room/node_modules" ] || ! cmp -s tools/pages/package-lock.json "$room/package-lock.json"; then
        mkdir -p "$room"
        cp tools/pages/package.json tools/pages/package-lock.json tools/pages/.npmrc "$room/"
        npm ci --prefix "$room" --ignore-scripts --no-audit --no-fund --silent || { rm -rf "$room/node_modules"; exit 2; }
    fi
    CHROMIUM=$(command -v chromium) NODE_PATH=$room/node_modules node tools/pages/test.js "{{ FOLDER }}" --bad tools/pages/bad

# Fetch the data sets into the cache
fetch: build
    @target/release/pinbench data fetch

# Images per second of pinbench's plans beside a plain and a tuned PyTorch script, in turn (installs PyTorch, 5 GB, in target/)
compare-pytorch ROUNDS="3" *NETWORKS: build fetch
    @python3 tools/compare_pytorch.py {{ ROUNDS }} {{ NETWORKS }}

# The first steps of both presets and of the networks in examples/ under eager and tuned, repeated in PyTorch and compared bit for bit; skips without PyTorch
cross-check STEPS="50" *NETWORKS: build fetch
    @python3 tools/cross_check.py {{ STEPS }} {{ NETWORKS }}

# The regression gate: fresh runs against the stored baselines, `just check m1`
check *ARGS: build fetch
    @target/release/pinbench check {{ ARGS }}

# This tree beside a revision, in the place of baselines: bits, and step times in turn: `just against main m1 --minutes 5`
against REV *ARGS: build fetch
    #!/usr/bin/env bash
    set -euo pipefail
    root=$PWD; room=$root/target/against
    commit=$(git rev-parse --verify --quiet --short=12 "{{ REV }}^{commit}") || {
        echo "against: there is no revision '{{ REV }}' here; fetch it first, as by 'git fetch origin {{ REV }}'" >&2; exit 2; }
    # The same libtorch by the same name, or torch-sys would be compiled again.
    export LIBTORCH=${LIBTORCH:-$root/.libtorch}
    # A build is kept: what it depends on is its name.
    binary=$room/$commit-$(basename "$(readlink -f "$LIBTORCH")")-$(rustc --version | cut -d' ' -f2)
    tree=$room/tree-$commit-$$
    trap 'cd "$root"; git worktree remove --force "$tree" 2>/dev/null || rm -rf "$tree"; git worktree prune' EXIT
    mkdir -p "$room"
    git worktree add --quiet --detach "$tree" "$commit"
    if [ ! -x "$binary" ]; then
        # A target folder of its own. The first time it begins with what this tree has compiled of other packages: those that
        # are the same are not compiled again. Cargo writes into some of the small files, so that they are copies.
        if [ ! -d "$room/build" ]; then
            mkdir -p "$room/build/release"
            cp -al target/release/deps "$room/build/release/"
            cp -a target/release/build target/release/.fingerprint "$room/build/release/"
            find "$room/build/release" -mindepth 2 -maxdepth 2 -name '*pinbench*' -exec rm -rf {} +
        fi
        (cd "$tree" && CARGO_TARGET_DIR=$room/build cargo build --release)
        cp "$room/build/release/pinbench" "$binary"
    fi
    target/release/pinbench check --against "$binary" --against-tree "$tree" {{ ARGS }}

# What the gate finds where the answer is known: single steps in every cell with every fault, and how often honest trainings raise an alarm
prove-gate: build fetch
    #!/usr/bin/env bash
    set -euo pipefail
    # Our own kernels choose their copy by the processor, so that those of older ones are builds of their own.
    copies=$PWD/target/copies
    mkdir -p "$copies"
    for most in portable x86-64-v3; do
        built=$(PINBENCH_KERNELS=$most cargo test --release --test probes --no-run 2>&1 | tee /dev/stderr |
            sed -n 's/.*Executable.*(\(.*\)).*/\1/p')
        cp "$built" "$copies/$most"
    done
    export PINBENCH_TEST_COPIES=$copies
    cargo test --release --test probes -- --ignored --nocapture --test-threads=1 --skip one_cell
    cargo test --release --lib resampled -- --nocapture

# What `check --against` leaves to a quiet machine: this program beside itself finds nothing, a step that is 5 % longer is found (a minute each, at most five)
prove-against: build fetch
    cargo test --release --test against -- --ignored --nocapture

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

# A manifest on a Slurm of this machine, which the test brings up, disturbs and ends, and under GNU parallel (needs root; installs slurm-wlm, munge, parallel)
test-slurm: build
    @target/release/pinbench data fetch mnist
    python3 tools/test_slurm.py

# What `export --tensorboard` writes, read back by TensorBoard's own reader (installs it in target/tensorboard)
test-tensorboard: build
    #!/usr/bin/env bash
    set -euo pipefail
    packages=target/tensorboard; out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
    [ -d "$packages/tensorboard" ] || python3 -m pip install --quiet --target "$packages" "tensorboard==2.20.0" "setuptools<81"
    export PINBENCH_STORE="$out/runs" PINBENCH_LOCK_DIR="$out"
    target/release/pinbench run m1 --profile smoke --seeds 1 --no-diagnostics
    target/release/pinbench export m1 --profile smoke --json --out "$out"
    target/release/pinbench export m1 --profile smoke --tensorboard --out "$out/events"
    PYTHONPATH="$packages" python3 tools/read_tensorboard.py "$out/events" "$out/runs.json"

# 10,000 runs: time and memory of list, manifest, merge and report, and what a task asks of its file system (needs 2 GB, and strace for the latter)
prove-ten-thousand: build fetch
    cargo test --release --test ten_thousand -- --ignored --nocapture

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
