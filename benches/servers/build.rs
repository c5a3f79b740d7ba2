//! How uWebSockets is linked, if it is.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_UWS").is_none() {
        return;
    }
    // Its objects are for gcc's linker plugin, which lld does not know, and need what comes after them.
    for argument in ["-fuse-ld=bfd", "-Wl,--no-as-needed", "-lz", "-luv", "-lssl", "-lcrypto", "-lstdc++"] {
        println!("cargo:rustc-link-arg-bin=uws={argument}");
    }
}
