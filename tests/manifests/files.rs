//! The files of `deploy/`, and what each of them starts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use yaml_rust2::{Yaml, YamlLoader};

/// A command line that a file starts, with the variables that it is given.
pub(super) struct Started {
    /// The file below `deploy/`, and what it calls this.
    pub(super) place: String,
    /// What follows the program's name.
    pub(super) words: Vec<String>,
    /// Variables, with their values where these stand in a file and not in a secret.
    pub(super) variables: Vec<(String, Option<String>)>,
    /// The files of variables (ConfigMaps) that it is given.
    pub(super) maps: Vec<String>,
}

/// All that the files start.
pub(super) fn started() -> Vec<Started> {
    let mut found = Vec::new();
    let maps = maps();
    for path in below("deploy/kubernetes", "yaml") {
        for document in yaml(&path) {
            let name = document["metadata"]["name"].as_str().unwrap_or_default();
            let place = format!("{}: {name}", &path["deploy/".len()..]);
            each(&document, "containers", &mut |containers| {
                found.extend(containers.as_vec().unwrap().iter().flat_map(|one| of_pod(&place, one, &maps)));
            });
        }
    }
    for path in below("deploy/ecs", "yaml") {
        let place = &path["deploy/".len()..];
        each(&yaml(&path)[0], "ContainerDefinitions", &mut |containers| {
            found.extend(containers.as_vec().unwrap().iter().flat_map(|one| of_task(place, one)));
        });
    }
    for path in below("deploy/systemd", "service") {
        found.extend(of_unit(&path["deploy/".len()..], &read(&path)));
    }
    found
}

/// The variables of each ConfigMap that a kustomization makes, by its name.
pub(super) fn maps() -> BTreeMap<String, Vec<(String, Option<String>)>> {
    let mut maps: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for path in below("deploy/kubernetes", "yaml").into_iter().filter(|path| path.ends_with("kustomization.yaml")) {
        let kustomization = yaml(&path).remove(0);
        for map in kustomization["configMapGenerator"].as_vec().into_iter().flatten() {
            let variables = maps.entry(text(&map["name"])).or_default();
            for file in map["envs"].as_vec().into_iter().flatten() {
                let file = Path::new(&path).with_file_name(text(file));
                variables.extend(read(file.to_str().unwrap()).lines().filter_map(assignment));
            }
            let literals = map["literals"].as_vec().into_iter().flatten();
            variables.extend(literals.filter_map(|literal| assignment(&text(literal))));
        }
    }
    maps
}

fn of_pod(place: &str, container: &Yaml, maps: &BTreeMap<String, Vec<(String, Option<String>)>>) -> Option<Started> {
    let variables = container["env"].as_vec().into_iter().flatten();
    let mut variables: Vec<_> =
        variables.map(|entry| (text(&entry["name"]), entry["value"].as_str().map(str::to_owned))).collect();
    let mut given = Vec::new();
    for source in container["envFrom"].as_vec().into_iter().flatten() {
        if let Some(name) = source["configMapRef"]["name"].as_str() {
            variables.extend(maps.get(name).unwrap_or_else(|| panic!("{place}: there is no {name}")).clone());
            given.push(name.to_owned());
        }
    }
    // What only completes others starts nothing: the variables that it gives are those of what serves figures.
    let words = match container["args"].as_vec() {
        Some(arguments) => arguments.iter().map(text).collect(),
        None if variables.is_empty() => return None,
        None => vec!["run".to_owned()],
    };
    Some(Started { place: place.to_owned(), words, variables, maps: given })
}

fn of_task(place: &str, container: &Yaml) -> Vec<Started> {
    let variables = |key: &str| {
        let entries = container[key].as_vec().cloned().unwrap_or_default().into_iter();
        entries.map(|entry| (text(&entry["Name"]), entry["Value"].as_str().map(filled_in)))
    };
    let words = |list: &Yaml| list.as_vec().unwrap().iter().map(text).collect::<Vec<_>>();
    let variables: Vec<_> = variables("Environment").chain(variables("Secrets")).collect();
    let words_of_task: Vec<String> = words(&container["Command"]).iter().map(|word| filled_in(word)).collect();
    let place = format!("{place}: {}", words_of_task[0]);
    let mut found = vec![Started { place: place.clone(), words: words_of_task, variables, maps: vec![] }];
    if !container["HealthCheck"].is_badvalue() {
        let words = words(&container["HealthCheck"]["Command"]);
        assert_eq!(words[..2], ["CMD", "turnstile"], "{place}");
        found.push(Started { place, words: words[2..].to_vec(), variables: vec![], maps: vec![] });
    }
    found
}

fn of_unit(place: &str, unit: &str) -> Vec<Started> {
    let values = |key: &'static str| unit.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='));
    let filled_in = |text: &str| text.replace("%d", "credentials");
    let variables: Vec<_> = values("Environment").filter_map(|set| assignment(&filled_in(set))).collect();
    let started = values("ExecStart").map(|start| {
        let words = filled_in(start.strip_prefix("/usr/local/bin/turnstile ").unwrap());
        let words = words.split(' ').map(str::to_owned).collect();
        Started { place: place.to_owned(), words, variables: variables.clone(), maps: vec![] }
    });
    started.collect()
}

/// What a template fills in is a name here.
fn filled_in(value: &str) -> String {
    let mut parts = value.split("${");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "name" + part.split_once('}').map_or("", |(_, rest)| rest))
}

fn assignment(line: &str) -> Option<(String, Option<String>)> {
    let (name, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
    Some((name.to_owned(), Some(value.to_owned())))
}

/// Calls with what stands under a key, wherever it is.
pub(super) fn each(tree: &Yaml, key: &str, call: &mut impl FnMut(&Yaml)) {
    for (name, inner) in tree.as_hash().into_iter().flatten() {
        if name.as_str() == Some(key) {
            call(inner);
        }
        each(inner, key, call);
    }
    for inner in tree.as_vec().into_iter().flatten() {
        each(inner, key, call);
    }
}

/// A scalar as it is written: what is a number to YAML, too.
pub(super) fn text(scalar: &Yaml) -> String {
    match scalar {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        other => panic!("no scalar: {other:?}"),
    }
}

pub(super) fn yaml(path: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn below(folder: &str, extension: &str) -> Vec<String> {
    let (mut found, mut folders): (Vec<String>, Vec<PathBuf>) = (vec![], vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|end| end == extension) => {
                    found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
                }
                false => {}
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "there is no .{extension}");
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
