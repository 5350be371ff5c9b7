//! Tells the linker where LibTorch lies, so that doctests and builds with their own RUSTFLAGS find it too. The build script of
//! every crate that links LibTorch.

fn main() {
    println!("cargo::rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Ok(libraries) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libraries}");
    }
}
