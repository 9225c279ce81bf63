//! Compiles the .proto files with protox: no system protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "slipher/meta/v1/meta.proto",
        "slipher/compute/v1/compute.proto",
        "slipher/leader/v1/leader.proto",
        "slipher/plan/v1/plan.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
