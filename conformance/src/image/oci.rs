//! An OCI image archive (image-spec 1.0, image layout in a tar) that containerd, docker and skopeo load.
//!
//! Layers are kept by digest, so that images written from the same layer carry it once and share it once loaded.
//! `manifest.json` is for docker before version 25, which reads no OCI layout.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layer that is finished: an uncompressed tar and its digest.
#[derive(Clone)]
pub struct Layer {
    bytes: Arc<Vec<u8>>,
    digest: String,
}

/// A layer in the making. Times and owners are fixed, so that the same files make the same digest.
pub struct LayerBuilder {
    tar: Builder<Vec<u8>>,
    folders: std::collections::BTreeSet<String>,
}

impl Default for LayerBuilder {
    fn default() -> Self {
        Self { tar: Builder::new(Vec::new()), folders: std::collections::BTreeSet::new() }
    }
}

impl LayerBuilder {
    /// A folder and those above it; `mode` like 0o755, of the folder itself.
    pub fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        self.above(path)?;
        let mut header = header(EntryType::Directory, mode, 0);
        Ok(self.tar.append_data(&mut header, format!("{path}/"), std::io::empty())?)
    }

    /// A file.
    pub fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let path = path.trim_start_matches('/');
        self.above(path)?;
        let mut header = header(EntryType::Regular, mode, bytes.len().try_into()?);
        Ok(self.tar.append_data(&mut header, path, bytes)?)
    }

    /// A file of this machine, links followed, with its permissions.
    pub fn copy(&mut self, from: &Path, to: &str) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("{}: can't be read", from.display()))?;
        let mode = fs::metadata(from)?.permissions().mode() & 0o777;
        self.file(to, mode, &bytes)
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let path = path.trim_start_matches('/');
        self.above(path)?;
        Ok(self.tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)?)
    }

    /// The finished layer.
    pub fn finish(self) -> Result<Layer> {
        let bytes = self.tar.into_inner()?;
        Ok(Layer { digest: digest(&bytes), bytes: Arc::new(bytes) })
    }

    fn above(&mut self, path: &str) -> Result<()> {
        match path.rsplit_once('/') {
            Some((folder, _)) => self.folder(folder, 0o755),
            None => Ok(()),
        }
    }
}

/// One image: layers from the bottom up, and how it starts.
#[derive(Clone, Default)]
pub struct Image {
    /// Its names, each with a tag: `localhost/pause:1`.
    pub names: Vec<String>,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// The program and arguments that always stand before `command`.
    pub entrypoint: Vec<String>,
    /// Arguments that a Pod's `args` replaces.
    pub command: Vec<String>,
    /// `NAME=value` pairs.
    pub environment: Vec<String>,
    /// User and group, `65532:65532`; empty: root.
    pub user: String,
    /// Labels, such as `org.opencontainers.image.version`.
    pub labels: BTreeMap<String, String>,
}

/// Writes an archive with these images.
pub fn write(archive: &Path, images: &[Image]) -> Result<()> {
    let mut blobs: BTreeMap<String, Arc<Vec<u8>>> = BTreeMap::new();
    let (mut index, mut docker) = (Vec::new(), Vec::new());
    for image in images {
        let mut layers = Vec::new();
        for layer in &image.layers {
            layers.push(json!({"mediaType": LAYER, "digest": layer.digest, "size": layer.bytes.len()}));
            blobs.insert(layer.digest.clone(), Arc::clone(&layer.bytes));
        }
        let config = blob(&mut blobs, CONFIG, &configuration(image))?;
        let paths: Vec<String> = image.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
        docker.push(
            json!({"Config": blob_path(config["digest"].as_str().unwrap_or_default()), "RepoTags": image.names, "Layers": paths}),
        );
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let manifest = blob(&mut blobs, MANIFEST, &manifest)?;
        for name in &image.names {
            let Some((_, tag)) = name.rsplit_once(':') else { bail!("image name {name}: has no tag") };
            let mut entry = manifest.clone();
            entry["platform"] = json!({"architecture": architecture(), "os": "linux"});
            entry["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag});
            index.push(entry);
        }
    }
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": index});
    save(archive, &index, &docker, &blobs).with_context(|| format!("{}: can't be written", archive.display()))
}

fn save(archive: &Path, index: &Value, docker: &[Value], blobs: &BTreeMap<String, Arc<Vec<u8>>>) -> Result<()> {
    // Written beside and renamed, so that nobody loads half an archive.
    let next = archive.with_extension("next");
    let mut tar = Builder::new(BufWriter::new(File::create(&next)?));
    let mut add = |path: &str, bytes: &[u8]| -> Result<()> {
        let mut header = header(EntryType::Regular, 0o644, bytes.len().try_into()?);
        Ok(tar.append_data(&mut header, path, bytes)?)
    };
    add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    add("index.json", &serde_json::to_vec(index)?)?;
    add("manifest.json", &serde_json::to_vec(docker)?)?;
    for (digest, bytes) in blobs {
        add(&blob_path(digest), bytes)?;
    }
    tar.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(fs::rename(&next, archive)?)
}

fn configuration(image: &Image) -> Value {
    let digests: Vec<&str> = image.layers.iter().map(|layer| layer.digest.as_str()).collect();
    let mut environment = vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
    environment.extend(image.environment.iter().cloned());
    let mut run = json!({"Entrypoint": image.entrypoint, "Env": environment, "Labels": image.labels});
    if !image.command.is_empty() {
        run["Cmd"] = json!(image.command);
    }
    if !image.user.is_empty() {
        run["User"] = json!(image.user);
    }
    json!({"architecture": architecture(), "os": "linux", "config": run, "rootfs": {"type": "layers", "diff_ids": digests}})
}

fn blob(blobs: &mut BTreeMap<String, Arc<Vec<u8>>>, kind: &str, value: &Value) -> Result<Value> {
    let bytes = serde_json::to_vec(value)?;
    let (digest, size) = (digest(&bytes), bytes.len());
    blobs.insert(digest.clone(), Arc::new(bytes));
    Ok(json!({"mediaType": kind, "digest": digest, "size": size}))
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The processor's name as Go and OCI spell it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::io::Read;

    fn layer(text: &str) -> Layer {
        let mut builder = LayerBuilder::default();
        builder.folder("tmp", 0o1777).unwrap();
        builder.file("/a/b/text", 0o644, text.as_bytes()).unwrap();
        builder.link("a/link", "b/text").unwrap();
        builder.finish().unwrap()
    }

    pub fn entries(archive: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut tar = tar::Archive::new(File::open(archive).unwrap());
        let read = |entry: std::io::Result<tar::Entry<'_, File>>| {
            let mut entry = entry.unwrap();
            let (path, mut bytes) = (entry.path().unwrap().display().to_string(), Vec::new());
            entry.read_to_end(&mut bytes).unwrap();
            (path, bytes)
        };
        tar.entries().unwrap().map(read).collect()
    }

    #[test]
    fn the_same_files_make_the_same_layer() {
        assert_eq!(layer("x").digest, layer("x").digest);
        assert_ne!(layer("x").digest, layer("y").digest);
    }

    #[test]
    fn every_digest_of_an_archive_leads_to_a_blob_with_it_and_layers_are_shared() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("images.tar");
        let (base, top) = (layer("base"), layer("top"));
        let one = Image {
            names: vec!["localhost/one:1".into(), "localhost/one:2".into()],
            layers: vec![base.clone()],
            ..Image::default()
        };
        let two = Image { names: vec!["localhost/two:1".into()], layers: vec![base, top], ..Image::default() };
        write(&archive, &[one, two]).unwrap();
        let entries = entries(&archive);
        // Two layers, two configurations, two manifests.
        assert_eq!(entries.keys().filter(|path| path.starts_with("blobs/")).count(), 6);
        for (path, bytes) in entries.iter().filter(|(path, _)| path.starts_with("blobs/")) {
            assert_eq!(path, &blob_path(&digest(bytes)));
        }
        let index: Value = serde_json::from_slice(&entries["index.json"]).unwrap();
        let named = index["manifests"].as_array().unwrap();
        assert_eq!(named.len(), 3);
        assert_eq!(named[1]["annotations"]["io.containerd.image.name"], "localhost/one:2");
        for entry in named {
            let manifest: Value = serde_json::from_slice(&entries[&blob_path(entry["digest"].as_str().unwrap())]).unwrap();
            for part in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
                let bytes = &entries[&blob_path(part["digest"].as_str().unwrap())];
                assert_eq!(part["size"], bytes.len());
            }
        }
    }

    #[test]
    fn an_image_name_without_a_tag_is_refused() {
        let image = Image { names: vec!["localhost/one".into()], layers: vec![layer("x")], ..Image::default() };
        let error = write(Path::new("/nowhere/images.tar"), &[image]).unwrap_err();
        assert!(error.to_string().contains("localhost/one"), "{error}");
    }
}
