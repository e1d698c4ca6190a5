//! One look after another, without a watch: which changes each look gives.

use std::fs;

use rust_ingress::source::files::Folder;
use rust_ingress_model::Reason;
use rust_ingress_translate::{Change, Object};

use crate::{ECHO, folder, look, service, words};

fn port_of(changes: &[Change]) -> i32 {
    match changes {
        [Change::Put(Object::Service(service))] => service.spec.as_ref().unwrap().ports.as_ref().unwrap().first().unwrap().port,
        other => panic!("not one Service: {:?}", words(other)),
    }
}

#[test]
fn documents_lists_and_json_in_subfolders() {
    let (directory, mut folder) = folder();
    fs::create_dir(directory.path().join("sub")).unwrap();
    fs::write(directory.path().join("a.yaml"), service("a", 80) + &service("b", 80)).unwrap();
    let list = "{\"apiVersion\": \"v1\",\n\t\"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"Service\",\n\
                \"metadata\": {\"name\": \"c\", \"namespace\": \"x\"}}]}";
    fs::write(directory.path().join("sub/c.json"), list).unwrap();
    fs::write(directory.path().join("d.yml"), "# nothing here\n---\n---\n").unwrap();
    fs::write(directory.path().join("notes.txt"), "no manifest").unwrap();
    fs::write(directory.path().join(".hidden.yaml"), service("hidden", 80)).unwrap();
    assert_eq!(look(&mut folder), ["+Service/default/a", "+Service/default/b", "+Service/x/c"]);
    assert_eq!(look(&mut folder), [""; 0], "nothing changed");
}

#[test]
fn only_what_changed_becomes_a_change() {
    let (directory, mut folder) = folder();
    let file = directory.path().join("a.yaml");
    fs::write(&file, service("a", 80) + &service("b", 80)).unwrap();
    look(&mut folder);
    fs::write(&file, service("a", 80) + "# a remark\n" + &service("b", 81)).unwrap();
    assert_eq!(look(&mut folder), ["+Service/default/b"]);
    fs::write(&file, service("b", 81)).unwrap();
    assert_eq!(look(&mut folder), ["-Service/default/a"]);
}

#[test]
fn a_file_that_does_not_parse_keeps_its_last_good_objects() {
    let (directory, mut folder) = folder();
    let file = directory.path().join("a.yaml");
    fs::write(&file, service("a", 80) + &service("b", 80)).unwrap();
    look(&mut folder);
    fs::write(&file, service("a", 81) + "---\nkind: [Service\nspec: 1\n").unwrap();
    assert_eq!(look(&mut folder), ["!a.yaml InvalidDocument", "+Service/default/a"], "the good document counts, b is kept");
    let said: Vec<u32> = folder.said().map(|said| said.line).collect();
    assert!(matches!(said.as_slice(), [10..=12]), "{said:?}");
    fs::write(&file, service("a", 81)).unwrap();
    assert_eq!(look(&mut folder), ["!a.yaml", "-Service/default/b"]);
}

#[test]
fn an_object_of_the_wrong_type_keeps_what_it_was() {
    let (directory, mut folder) = folder();
    let file = directory.path().join("a.yaml");
    fs::write(&file, service("a", 80)).unwrap();
    look(&mut folder);
    fs::write(&file, service("a", 80).replace("80", "eighty")).unwrap();
    assert_eq!(look(&mut folder), ["!a.yaml InvalidValue"]);
    let said = folder.said().next().unwrap();
    assert_eq!((said.line, said.fault.field.as_str()), (8, "spec.ports[0].port"));
    assert_eq!(said.fault.object.to_string(), "Service/default/a");
}

#[test]
fn of_two_the_first_file_wins_and_the_other_steps_in() {
    let (directory, mut folder) = folder();
    fs::write(directory.path().join("b.yaml"), service("a", 82)).unwrap();
    assert_eq!(port_of(&folder.scan().changes), 82);
    fs::write(directory.path().join("a.yaml"), service("x", 1) + &service("a", 81)).unwrap();
    assert_eq!(look(&mut folder), ["!b.yaml Duplicate", "+Service/default/a", "+Service/default/x"]);
    let said = folder.said().next().unwrap();
    assert!(said.fault.message.contains("a.yaml:13"), "{said:?}");
    assert_eq!((said.file.as_str(), said.line), ("b.yaml", 5));
    fs::remove_file(directory.path().join("a.yaml")).unwrap();
    assert_eq!(look(&mut folder), ["!b.yaml"], "perhaps an editor at work");
    assert_eq!(look(&mut folder), ["+Service/default/a", "-Service/default/x"]);
}

#[test]
fn an_emptied_file_gets_a_second_look() {
    let (directory, mut folder) = folder();
    let file = directory.path().join("a.yaml");
    fs::write(&file, service("a", 80)).unwrap();
    look(&mut folder);
    fs::write(&file, "").unwrap();
    let scan = folder.scan();
    assert!(scan.again && scan.changes.is_empty(), "truncated, about to be written");
    fs::write(&file, service("a", 81)).unwrap();
    assert_eq!(port_of(&folder.scan().changes), 81);
    fs::write(&file, "").unwrap();
    assert!(folder.scan().changes.is_empty());
    assert_eq!(look(&mut folder), ["-Service/default/a"]);
}

#[test]
fn unused_kinds_are_named_once() {
    let (directory, mut folder) = folder();
    let deployment = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\n";
    fs::write(directory.path().join("a.yaml"), deployment.to_owned() + deployment).unwrap();
    fs::write(directory.path().join("b.yaml"), deployment).unwrap();
    assert_eq!(look(&mut folder), ["!a.yaml UnknownKind"]);
}

#[test]
fn fields_that_a_kind_does_not_have_are_named() {
    let (directory, mut folder) = folder();
    fs::write(directory.path().join("a.yaml"), service("a", 80).replace("ports", "prots")).unwrap();
    assert_eq!(look(&mut folder), ["!a.yaml InvalidValue", "+Service/default/a"]);
    let said = folder.said().next().unwrap();
    assert_eq!((said.line, said.fault.field.as_str()), (7, "spec.prots"));
}

#[test]
fn a_builtin_backend_gets_endpoints() {
    let (directory, mut folder) = folder();
    let file = directory.path().join("a.yaml");
    let builtin = |kind: &str| {
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  annotations:\n    rust-ingress.dev/builtin-backend: ".to_owned()
            + kind
            + "\nspec:\n  ports: [{name: web, port: 80}]\n"
    };
    fs::write(&file, builtin("echo")).unwrap();
    let scan = folder.scan();
    assert_eq!(words(&scan.changes), ["+EndpointSlice/default/a-builtin-echo", "+Service/default/a"]);
    let slice = scan.changes.iter().find_map(|change| match change {
        Change::Put(Object::EndpointSlice(slice)) => Some(slice),
        _ => None,
    });
    let port = slice.unwrap().ports.as_ref().unwrap().first().unwrap().clone();
    assert_eq!((port.name.as_deref(), port.port), (Some("web"), Some(4000)));
    fs::write(&file, builtin("ehco")).unwrap();
    let changes = ["!a.yaml InvalidAnnotation", "+Service/default/a", "-EndpointSlice/default/a-builtin-echo"];
    assert_eq!(look(&mut folder), changes);
    assert_eq!(folder.said().next().unwrap().line, 6);
}

#[test]
fn a_folder_that_vanishes_keeps_what_it_said() {
    let (directory, _) = folder();
    let root = directory.path().join("manifests");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), service("a", 80)).unwrap();
    let mut folder = Folder::new(&root, ECHO);
    assert_eq!(look(&mut folder), ["+Service/default/a"]);
    fs::remove_dir_all(&root).unwrap();
    assert_eq!(look(&mut folder), ["! InvalidDocument"]);
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yaml"), service("a", 81)).unwrap();
    assert_eq!(look(&mut folder), ["!", "+Service/default/a"]);
}

#[test]
fn files_that_are_too_large_or_no_text_are_said_to_be() {
    let (directory, mut folder) = folder();
    fs::write(directory.path().join("large.yaml"), "#".repeat((16 << 20) + 1)).unwrap();
    fs::write(directory.path().join("latin.yaml"), b"a: \xe9\n").unwrap();
    assert_eq!(look(&mut folder), ["!large.yaml InvalidDocument", "!latin.yaml InvalidDocument"]);
    assert!(folder.said().all(|said| said.fault.reason == Reason::InvalidDocument));
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_end() {
    let (directory, mut folder) = folder();
    fs::create_dir(directory.path().join("sub")).unwrap();
    std::os::unix::fs::symlink("..", directory.path().join("sub/up")).unwrap();
    fs::write(directory.path().join("a.yaml"), service("a", 80)).unwrap();
    assert_eq!(look(&mut folder), ["!sub/up InvalidDocument", "+Service/default/a"]);
}

#[test]
fn of_ingresses_without_an_age_the_first_file_is_the_oldest() {
    let ingress = |name: &str| format!("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}}}\n");
    let (directory, mut folder) = folder();
    let mut ages: Vec<(String, i64)> = Vec::new();
    // From the middle outwards, and into the same gap until there is no room: order by path holds all the time.
    let names: Vec<String> =
        ["m", "z", "a"].into_iter().map(str::to_owned).chain((0..30).map(|n| format!("n{}", "a".repeat(31 - n)))).collect();
    for name in &names {
        fs::write(directory.path().join(format!("{name}.yaml")), ingress(name)).unwrap();
        loop {
            let scan = folder.scan();
            for change in &scan.changes {
                let Change::Put(Object::Ingress(ingress)) = change else { continue };
                let name = ingress.metadata.name.clone().unwrap();
                let age = ingress.metadata.creation_timestamp.as_ref().unwrap().0.as_second();
                ages.retain(|(known, _)| *known != name);
                ages.push((name, age));
            }
            if !scan.again {
                break;
            }
        }
        ages.sort();
        assert!(ages.is_sorted_by(|(_, one), (_, other)| one < other), "{ages:?}");
    }
    assert_eq!(ages.len(), names.len());
}

#[test]
fn files_as_other_systems_write_them() {
    let (directory, mut folder) = folder();
    let text = format!("\u{feff}{}{}", service("a", 80), service("b", 80)).replace('\n', "\r\n");
    fs::write(directory.path().join("a.yaml"), text).unwrap();
    let json = "\u{feff}{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"c\"}}";
    fs::write(directory.path().join("c.json"), json).unwrap();
    assert_eq!(look(&mut folder), ["+Service/default/a", "+Service/default/b", "+Service/default/c"]);
}
