# Recipes for people and for CI. `just` alone lists them.

# One profile for everything: a second one would compile torch-sys and polars again.

_default:
    @just --list --unsorted

# Train the experiments on real data and render their reports: `just reproduce m1 --profile full`
reproduce *ARGS: build
    @target/release/pinbench reproduce {{ ARGS }}

# All checks: format, lints, unit and integration tests on real data
test: setup fetch
    cargo fmt --all -- --check
    cargo clippy --release --all-targets -- -D warnings
    cargo test --release
    cargo test --release --no-default-features

# Fetch libtorch into the cache and link it as .libtorch: `just setup` or `just setup cuda`
setup FLAVOUR="cpu":
    @python3 tools/libtorch.py {{ FLAVOUR }}

# Build target/release/pinbench
build: setup
    cargo build --release

# Fetch the data sets into the cache
fetch: build
    @target/release/pinbench data fetch

# Images per second of pinbench's plans beside a plain PyTorch script, in turn (installs PyTorch, 5 GB, in target/)
compare-pytorch ROUNDS="3": build fetch
    @python3 tools/compare_pytorch.py {{ ROUNDS }}

# The first steps of both models under both plans, repeated in PyTorch and compared bit for bit; skips without PyTorch
cross-check STEPS="50": build fetch
    @python3 tools/cross_check.py {{ STEPS }}

# Licences and advisories (installs cargo-deny)
deny:
    @cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
    cargo deny check
