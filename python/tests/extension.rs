//! The extension module is built with the workspace, and needs neither Python nor LibTorch to link.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[test]
fn it_exports_the_module_and_needs_neither_python_nor_libtorch() {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let bytes = std::fs::read(folder.join("lib_hayloft.so")).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("PyInit__hayloft"));
    for library in ["libpython", "libtorch", "libc10"] {
        assert!(!has(&format!("{library}.so")) && !has(&format!("{library}3")), "{library}");
    }
}
