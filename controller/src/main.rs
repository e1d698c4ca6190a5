//! The program: everything is in the library, so that tests can call it.

#![forbid(unsafe_code)]

/// Measured against the C library's: less memory after large swaps, and faster on the request's path.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    rust_ingress::cli::main()
}
