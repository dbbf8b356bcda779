//! The numbers of the worked example in docs/SCALE.md: they follow from each other, and the manifests have the same.

use std::collections::BTreeMap;

use super::files::{each, maps, read, text, yaml};

/// A loader's setting in the example, in a template of ECS, and in a ConfigMap.
const SETTINGS: [&str; 4] =
    ["TURNSTILE_LANES", "TURNSTILE_BATCH_SIZE", "TURNSTILE_BATCH_BYTES", "TURNSTILE_DATABASE_CONNECTIONS"];

#[test]
fn the_numbers_of_the_worked_example_are_those_of_the_manifests() {
    let page = numbers();
    let loader: BTreeMap<_, _> = maps().remove("turnstile-loader").unwrap().into_iter().collect();
    let ecs = yaml("deploy/ecs/turnstile.yaml").remove(0);
    let task = &ecs["Resources"]["LoaderTask"]["Properties"]["ContainerDefinitions"][0]["Environment"];
    let task: BTreeMap<_, _> =
        task.as_vec().unwrap().iter().map(|entry| (text(&entry["Name"]), entry["Value"].clone())).collect();
    for setting in SETTINGS {
        assert_eq!(loader[setting].as_deref(), Some(&*page[setting]), "{setting} in Kubernetes");
        assert_eq!(task[setting].as_str(), Some(&*page[setting]), "{setting} in ECS");
    }
    let scaling = yaml("deploy/kubernetes/eks/scaling.yaml").remove(0);
    let spec = &scaling["spec"];
    assert_eq!(text(&spec["minReplicaCount"]), page["minReplicaCount"]);
    assert_eq!(text(&spec["maxReplicaCount"]), page["maxReplicaCount"]);
    assert_eq!(text(&spec["triggers"][0]["metadata"]["queueLength"]), page["queueLength"]);
    let scaling = &ecs["Resources"]["Scaling"]["Properties"]["TargetTrackingScalingPolicyConfiguration"];
    assert_eq!(text(&scaling["TargetValue"]), page["queueLength"]);
    assert_eq!(text(&ecs["Resources"]["ScalableLoaders"]["Properties"]["MinCapacity"]), page["minReplicaCount"]);
    assert_eq!(text(&ecs["Parameters"]["LargestNumberOfLoaders"]["Default"]), page["maxReplicaCount"]);
    let plain = yaml("deploy/kubernetes/plain/kustomization.yaml").remove(0);
    assert_eq!(text(&plain["replicas"][0]["count"]), page["count"]);
    let relay = yaml("deploy/kubernetes/base/relay.yaml").remove(0);
    assert_eq!(text(&relay["spec"]["replicas"]), page["replicas"]);
    let loader = yaml("deploy/kubernetes/base/loader.yaml").remove(0);
    let mut resources = 0;
    for workload in ["loader", "relay", "console", "migrate", "audit", "retain", "archive"] {
        each(&yaml(&format!("deploy/kubernetes/base/{workload}.yaml"))[0], "resources", &mut |of| {
            assert_eq!(text(&of["limits"]["memory"]), page["memory"], "{workload}");
            assert_eq!(text(&of["requests"]["memory"]), page["memory"], "{workload}");
            resources += 1;
        });
    }
    assert_eq!(resources, 7);
    each(&loader, "resources", &mut |of| assert_eq!(text(&of["requests"]["cpu"]), page["cpu"]));
}

#[test]
fn the_numbers_of_the_worked_example_follow_from_each_other() {
    let page = numbers();
    let number = |name: &str| page[name].trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().unwrap();
    let (lanes, batch, most) = (number("TURNSTILE_LANES"), number("TURNSTILE_BATCH_SIZE"), number("maxReplicaCount"));
    let (connections, bytes) = (number("TURNSTILE_DATABASE_CONNECTIONS"), number("TURNSTILE_BATCH_BYTES"));
    assert_eq!(connections, lanes);
    assert!((most + 1) * lanes * batch < 120_000, "in flight");
    assert!(35 + lanes * 7 * (bytes + 10) <= number("memory"), "docs/OPERATIONS.md has the formula");
    assert_eq!(number("queueLength"), lanes * 2_800 * 10);
    assert!(lanes * 2_800 * 50 / 1_000 <= number("cpu"), "50 µs of a core a message, in thousandths of a core");
    let text = read("docs/SCALE.md");
    let pool = (most + 1) * connections;
    assert!(text.contains(&format!("`default_pool_size = {pool}`")), "{pool}");
    let row = |of: &str| {
        let row = text.lines().find(|line| line.starts_with(&format!("| {of} |"))).unwrap_or_else(|| panic!("{of}"));
        row.rsplit('|').nth(1).unwrap().trim().parse::<usize>().unwrap()
    };
    let each = ["loaders", "relays", "the console", "migrate, audit, retain, archive", "superusers"].map(row);
    assert_eq!(each[0], pool);
    assert_eq!(each.iter().sum::<usize>() + row("analysts and everybody else"), row("together"));
}

/// What the page says of each number that stands in the manifests.
fn numbers() -> BTreeMap<String, String> {
    let page = read("docs/SCALE.md");
    let rows = page.lines().skip_while(|line| !line.ends_with("| in `deploy/` |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells[2].trim_matches('`').to_owned(), cells[1].to_owned())
    });
    let rows: BTreeMap<_, _> = rows.collect();
    assert_eq!(rows.len(), 11);
    rows
}
