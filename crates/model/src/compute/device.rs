//! Device names.

use hayloft_runtime::words::did_you_mean;
use tch::{Cuda, Device};

use crate::error::ModelError;

/// Parses `cpu`, `cuda` or `cuda:N` and checks that the device exists.
pub fn parse_device(name: &str) -> Result<Device, ModelError> {
    let problem = |problem: String| ModelError::Device { name: name.to_owned(), problem };
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        _ => name
            .strip_prefix("cuda:")
            .and_then(|index| index.parse::<usize>().ok())
            .ok_or_else(|| problem(format!("expected cpu, cuda or cuda:N{}", did_you_mean(name, ["cpu", "cuda"]))))?,
    };
    load_cuda().map_err(|reason| {
        problem(format!("this LibTorch has no CUDA ({reason}). Run scripts/setup --cuda, or use --device cpu"))
    })?;
    let found = if Cuda::is_available() { usize::try_from(Cuda::device_count()).unwrap_or(0) } else { 0 };
    if index >= found {
        return Err(problem(format!("{found} CUDA device(s) found. Check nvidia-smi and CUDA_VISIBLE_DEVICES")));
    }
    Ok(Device::Cuda(index))
}

/// Loads `libtorch_cuda`. The linker drops it because no symbol refers to it, and without it LibTorch reports that there is
/// no CUDA. It must be loaded before the first query.
#[expect(unsafe_code, reason = "loading a shared library runs its initialisers")]
fn load_cuda() -> Result<(), String> {
    // SAFETY: the name is a constant C string; the library is part of LibTorch, found through the same search path as the
    // parts that are already loaded, and its initialisers only register kernels. It is never closed. `dlerror` returns null
    // or a C string that stays valid until this thread's next call.
    unsafe {
        let handle = libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL);
        if !handle.is_null() {
            return Ok(());
        }
        let message = libc::dlerror();
        if message.is_null() {
            return Err("libtorch_cuda.so could not be loaded".to_owned());
        }
        Err(std::ffi::CStr::from_ptr(message).to_string_lossy().into_owned())
    }
}
