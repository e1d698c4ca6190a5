//! The image of `rust-ingress`: the program, the shared libraries it is linked to, and nothing else. `Containerfile` builds the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::libraries;
use super::oci::{Image, LayerBuilder, write};

/// The name under which the chart's defaults look for it, in containerd's full form.
pub const NAME: &str = concat!("docker.io/library/rust-ingress:", env!("CARGO_PKG_VERSION"));
/// Where the program stands in the image.
const ENTRYPOINT: &str = "/usr/bin/rust-ingress";
/// Whom it runs as where nobody says otherwise: a number, so that Kubernetes can see that it is not user 0.
const USER: &str = "65532:65532";
/// The most that the archive of a release build may have, in bytes: 60 MiB.
pub const MOST: u64 = 60 << 20;

/// Writes the archive; its size in bytes.
pub fn build(program: &Path, names: &[String], out: &Path) -> Result<u64> {
    write(out, &[image(program, names)?])?;
    Ok(fs::metadata(out)?.len())
}

fn image(program: &Path, names: &[String]) -> Result<Image> {
    let mut below = LayerBuilder::default();
    // Names are looked up in files and DNS only; libraries of other services are not there.
    below.file("/etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
    below.file("/etc/passwd", 0o644, b"root:x:0:0::/:/bin/false\nrust-ingress:x:65532:65532::/:/bin/false\n")?;
    below.file("/etc/group", 0o644, b"root:x:0:\nrust-ingress:x:65532:\n")?;
    // Where the chart mounts the last good state; a read-only root could not have it made.
    below.folder("/var/lib/rust-ingress", 0o755)?;
    for library in libraries(program)? {
        below.copy(Path::new(&library), &library)?;
    }
    let mut layer = LayerBuilder::default();
    layer.file(ENTRYPOINT, 0o755, &stripped(program)?)?;
    let label = |name: &str, value: &str| (format!("org.opencontainers.image.{name}"), value.to_owned());
    Ok(Image {
        names: names.to_vec(),
        layers: vec![below.finish()?, layer.finish()?],
        entrypoint: vec![ENTRYPOINT.to_owned()],
        user: USER.to_owned(),
        labels: BTreeMap::from([
            label("title", "rust-ingress"),
            label("version", env!("CARGO_PKG_VERSION")),
            label("licenses", "Apache-2.0"),
            label("source", env!("CARGO_PKG_REPOSITORY")),
        ]),
        ..Image::default()
    })
}

/// The program without what only a debugger reads; function names stay, for backtraces.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("rust-ingress");
    let mut strip = Command::new("strip");
    let done = strip.arg("--strip-debug").arg("-o").arg(&out).arg(program).output();
    let done = done.context("strip can't be run: apt-get install binutils")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{}: can't be stripped: {}", program.display(), said.trim());
    Ok(fs::read(&out)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_the_program_its_loader_and_its_libraries() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("image.tar");
        // This test is a program like any other, linked to the same libraries.
        let program = std::env::current_exe().unwrap();
        build(&program, &[NAME.to_owned()], &out).unwrap();
        let found = crate::image::oci::tests::entries(&out);
        let layers = found.iter().filter(|(path, _)| path.starts_with("blobs/"));
        let mut paths = Vec::new();
        for (_, bytes) in layers {
            let mut tar = tar::Archive::new(bytes.as_slice());
            let Ok(entries) = tar.entries() else { continue };
            paths.extend(entries.map_while(Result::ok).map(|entry| format!("/{}", entry.path().unwrap().display())));
        }
        for wanted in libraries(&program).unwrap().iter().map(String::as_str).chain([ENTRYPOINT, "/etc/nsswitch.conf"]) {
            assert!(paths.iter().any(|path| path == wanted), "{wanted} is not in {paths:?}");
        }
    }

    #[test]
    fn the_containerfile_says_the_same() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = fs::read_to_string(top.join("Containerfile")).unwrap();
        for line in [format!("ENTRYPOINT [\"{ENTRYPOINT}\"]"), format!("USER {USER}"), "FROM scratch".into()] {
            assert!(text.lines().any(|other| other == line), "Containerfile has no line {line}");
        }
        let toolchain = fs::read_to_string(top.join("rust-toolchain.toml")).unwrap();
        let version = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"')).unwrap();
        assert!(text.contains(&format!("rust:{version}-")), "Containerfile builds with another Rust than {version}");
    }
}
