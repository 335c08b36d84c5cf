//! Compiles the C++ shim against libtorch and tells the program where that libtorch is.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=PINBENCH_RUSTC={}", rustc_version());
    #[cfg(feature = "torch")]
    torch::build();
}

fn rustc_version() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|error| panic!("rustc --version: {error}"))
}

#[cfg(feature = "torch")]
mod torch {
    use std::env;
    use std::path::{Path, PathBuf};

    pub(crate) fn build() {
        println!("cargo:rerun-if-changed=src/train/shim");
        println!("cargo:rerun-if-env-changed=PINBENCH_CUDA_INCLUDE");
        println!("cargo:rerun-if-env-changed=PINBENCH_KERNELS");
        // torch-sys has `links = "tch"`, so this is its key, whatever the comment in its build script says.
        let lib = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
        let lib = lib.unwrap_or_else(|| panic!("torch-sys named no libtorch; run `just setup` first"));
        let root = lib.parent().unwrap_or(&lib).to_owned();
        let include = env::var_os("LIBTORCH_INCLUDE").map_or(root, PathBuf::from).join("include");
        let cuda = lib.join("libtorch_cuda.so").exists();
        let mut build = cc::Build::new();
        if let Some(headers) = cuda_headers(&include).filter(|_| cuda) {
            build.define("PB_CUDA_GRAPHS", None).flag("-isystem").flag(&*headers.to_string_lossy());
        }
        if let Some(most) = greatest_copy() {
            build.define("PB_MOST", most);
        }
        build
            .cpp(true)
            .std("c++20")
            .opt_level(3)
            .include(include.join("torch/csrc/api/include"))
            .flag("-isystem")
            .flag(&*include.to_string_lossy())
            .flag("-fopenmp")
            // A multiplication and an addition round once wherever a processor can: the default of some compilers, and part
            // of what our kernels compute.
            .flag("-ffp-contract=fast")
            // Vectors of eight floats never cross a call: every function that takes one is inlined.
            .flag("-Wno-psabi")
            .files(
                [
                    "shim",
                    "batch_norm",
                    "convolution",
                    "first_block",
                    "profiler",
                    "event",
                    "graph",
                    "winograd/convolve",
                    "winograd/routines",
                    "winograd/weight_gradient",
                ]
                .map(|part| format!("src/train/shim/{part}.cpp")),
            )
            .compile("pinbench_shim");
        // So that the program runs without LD_LIBRARY_PATH.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
        if cuda {
            link_cuda();
        }
    }

    /// Of our own kernels, where a build is not to have all: for tests of what an older processor computes.
    fn greatest_copy() -> Option<&'static str> {
        match env::var("PINBENCH_KERNELS").as_deref() {
            Err(_) | Ok("" | "x86-64-v4") => None,
            Ok("x86-64-v3") => Some("3"),
            Ok("portable") => Some("1"),
            Ok(other) => panic!("PINBENCH_KERNELS is '{other}'; expected x86-64-v4, x86-64-v3 or portable"),
        }
    }

    /// CUDA's own headers, which a wheel of PyTorch lacks in part: in the folder that is named, else where
    /// `tools/libtorch.py` puts them. Without them there are no CUDA graphs.
    fn cuda_headers(include: &Path) -> Option<PathBuf> {
        let named = env::var_os("PINBENCH_CUDA_INCLUDE").map(PathBuf::from);
        let headers = named.unwrap_or_else(|| include.with_file_name("cuda-include"));
        headers.join("cuda_runtime_api.h").exists().then_some(headers)
    }

    /// Nothing names a symbol of libtorch_cuda, which registers itself when it is loaded: a linker drops it unless it is
    /// told not to. What it needs itself, NVIDIA's libraries, the loader finds by its run path and the linker does not.
    fn link_cuda() {
        for argument in [
            "-Wl,--push-state,--no-as-needed",
            "-ltorch_cuda",
            "-lc10_cuda",
            "-Wl,--pop-state",
            "-Wl,--unresolved-symbols=ignore-in-shared-libs",
        ] {
            println!("cargo:rustc-link-arg={argument}");
        }
    }
}
