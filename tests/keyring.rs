//! Keys are made, kept, added and listed without ever being shown.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use turnstile::decode::decode;
use turnstile::keyring::{Exposure, Keyring, KeyringError, LineProblem, Masters};
use turnstile::message::{Attributes, MessageHash, RawBody};
use turnstile::seal::KeyId;
use turnstile::stream::LOGIN;

/// The canary of these tests: 32 bytes in Base64 that no message may show.
const KEY: &str = "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E=";
const OTHER_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

fn parse_error(text: &str) -> KeyringError {
    let error = Keyring::parse(text).expect_err("an error");
    assert!(!format!("{error} {error:?}").contains("Y2FuYXJ5"), "an error shows a key");
    error
}

fn folder_and_path() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    (folder, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn ids(keyring: &Keyring) -> Vec<&str> {
    keyring.ids().map(KeyId::as_str).collect()
}

#[test]
fn a_keyring_text_is_read_in_the_order_of_its_keys() {
    let text =
        format!("turnstile-keyring v1\r\n\n# a remark\nkey b {KEY}\n\tactive a \nkey a {OTHER_KEY}\nhash h {KEY}");
    let keyring = Keyring::parse(&text).unwrap();
    assert_eq!(ids(&keyring), ["b", "a"]);
    assert_eq!((keyring.active().as_str(), keyring.hash_key().id().as_str()), ("a", "h"));
}

#[test]
fn a_wrong_line_is_named_by_its_number_and_never_shown() {
    let short = "Y2FuYXJ5";
    for (lines, line, problem) in [
        (format!("key a {KEY}\nkey a {OTHER_KEY}\nactive a"), 3, LineProblem::Repeated),
        (format!("key a {KEY}\nactive a\nactive a"), 4, LineProblem::Repeated),
        (format!("hash h {KEY}\nhash i {KEY}"), 3, LineProblem::Repeated),
        (format!("hash a {KEY}\nkey a {KEY}"), 3, LineProblem::Repeated),
        (format!("hash h {short}"), 2, LineProblem::Key),
        (format!("key a {short}\nactive a"), 2, LineProblem::Key),
        (format!("key a {KEY}{KEY}\nactive a"), 2, LineProblem::Key),
        (format!("key a !{KEY}\nactive a"), 2, LineProblem::Key),
        (format!("key A {KEY}\nactive a"), 2, LineProblem::Id),
        (format!("key a-name-of-17-char {KEY}\nactive a"), 2, LineProblem::Id),
        (format!("key a {KEY}\n\nactive a.b"), 4, LineProblem::Id),
        (format!("key {KEY}\nactive a"), 2, LineProblem::Unknown),
        (format!("key a {KEY} {KEY}\nactive a"), 2, LineProblem::Unknown),
        (KEY.to_owned(), 2, LineProblem::Unknown),
    ] {
        let error = parse_error(&format!("turnstile-keyring v1\n{lines}"));
        let KeyringError::WrongLine { line: at, problem: what } = error else { panic!("{error}") };
        assert_eq!((at, what), (line, problem), "{lines}");
    }
}

#[test]
fn a_text_that_is_no_whole_keyring_is_refused() {
    for text in ["", KEY, "turnstile-keyring v2\n", "turnstile-keyring v1x\n", " \nturnstile-keyring v1"] {
        assert!(matches!(parse_error(text), KeyringError::WrongHeader), "{text}");
    }
    assert!(matches!(parse_error("turnstile-keyring v1"), KeyringError::NoActive));
    assert!(matches!(parse_error(&format!("turnstile-keyring v1\nkey a {KEY}")), KeyringError::NoActive));
    let unhashed = parse_error(&format!("turnstile-keyring v1\nkey a {KEY}\nactive a"));
    assert_eq!(unhashed.to_string(), "the keyring has no line `hash ID BASE64`");
    let unknown = parse_error(&format!("turnstile-keyring v1\nhash h {KEY}\nkey a {KEY}\nactive b"));
    assert_eq!(unknown.to_string(), "the keyring has no key b, which its line `active` names");
}

#[test]
fn a_keyring_prints_its_ids_and_never_its_keys() {
    let keyring = Keyring::parse(&format!("turnstile-keyring v1\nhash h {KEY}\nkey a {KEY}\nactive a\n")).unwrap();
    assert_eq!(format!("{keyring:?}"), r#"Keyring { ids: ["a"], active: "a", .. }"#);
}

#[test]
fn a_new_file_is_for_its_owner_alone_and_holds_the_same_keys() {
    let (_folder, path) = folder_and_path();
    let masters = Masters::generate().unwrap();
    masters.write_new(&path).unwrap();
    let keyring = masters.derive().unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(Keyring::exposure(&path).unwrap(), None);
    let loaded = Keyring::load(&path).unwrap();
    assert_eq!(loaded.active(), keyring.active());
    let body = turnstile::message::RawBody::new("{}");
    let (hash, none) = (MessageHash::from_bytes([7; 32]), Attributes::default());
    let (_, sealed) = keyring.body_sealer().seal(hash, &body, &none);
    assert!(loaded.body_opener().open(hash, &sealed).is_ok_and(|(opened, _)| opened == body));
    assert_eq!(loaded.hash_key().check_value(), keyring.hash_key().check_value());
}

#[test]
fn two_new_keyrings_share_neither_id_nor_key() {
    let (_folder, path) = folder_and_path();
    let (one, other) = (Masters::generate().unwrap(), Masters::generate().unwrap());
    assert_ne!(one.active(), other.active());
    one.write_new(&path).unwrap();
    let key = |path: &Path| fs::read_to_string(path).unwrap().lines().nth(3).unwrap()[12..].to_owned();
    let first = key(&path);
    fs::remove_file(&path).unwrap();
    other.write_new(&path).unwrap();
    assert_eq!(first.len(), 44);
    assert_ne!(first, key(&path));
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let (_folder, path) = folder_and_path();
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Masters::generate().unwrap().write_new(&path), Err(KeyringError::Exists { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn an_added_key_is_active_and_the_old_ones_stay() {
    let (folder, path) = folder_and_path();
    Masters::generate_as("a".parse().unwrap()).unwrap().write_new(&path).unwrap();
    let added = Masters::add_to(&path, Some("b".parse().unwrap())).unwrap();
    let loaded = Keyring::load(&path).unwrap();
    for keyring in [&added.derive().unwrap(), &loaded] {
        assert_eq!(ids(keyring), ["a", "b"]);
        assert_eq!(keyring.active().as_str(), "b");
    }
    assert!(matches!(Masters::add_to(&path, Some("a".parse().unwrap())), Err(KeyringError::IdTaken(_))));
    assert_eq!(ids(&Keyring::load(&path).unwrap()), ["a", "b"]);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn a_key_is_added_to_the_file_that_a_link_points_at() {
    let (folder, path) = folder_and_path();
    let link = folder.path().join("link");
    Masters::generate().unwrap().write_new(&path).unwrap();
    symlink(&path, &link).unwrap();
    Masters::add_to(&link, None).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(Keyring::load(&path).unwrap().ids().count(), 2);
}

#[test]
fn keys_added_at_the_same_time_all_get_in() {
    let (_folder, path) = folder_and_path();
    Masters::generate().unwrap().write_new(&path).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Masters::add_to(&path, None).unwrap());
        }
    });
    assert_eq!(Keyring::load(&path).unwrap().ids().count(), 9);
}

#[test]
fn a_file_that_others_can_open_is_an_exposure_with_its_remedy() {
    let (_folder, path) = folder_and_path();
    Masters::generate().unwrap().write_new(&path).unwrap();
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let exposure = Keyring::exposure(&path).unwrap().unwrap();
        assert!(exposure.to_string().contains(&format!("0{mode:o}")), "{exposure}");
        assert_eq!(exposure.remedy(), format!("chmod 600 {}", path.display()));
    }
}

/// The program, with no setting from the environment of the tests.
fn turnstile(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
    command
        .args(arguments)
        .env_remove("TURNSTILE_KEYRING")
        .env_remove("TURNSTILE_KEYS")
        .env_remove("TURNSTILE_MASK")
        .stdin(Stdio::null());
    command
}

fn output_of(mut command: Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn keys_new_and_list_show_ids_only() {
    let (_folder, path) = folder_and_path();
    let keyring = path.to_str().unwrap();
    let (code, made, _) = output_of(turnstile(&["keys", "new", "--keyring", keyring, "--id", "first"]));
    assert_eq!(code, 0);
    assert!(made.contains("its active key is first"), "{made}");
    let mut add = turnstile(&["keys", "new", "--add", "--id", "second"]);
    add.env("TURNSTILE_KEYRING", keyring);
    let (code, added, _) = output_of(add);
    assert_eq!(code, 0);
    let (code, list, warnings) = output_of(turnstile(&["keys", "list", "--keyring", keyring]));
    assert_eq!((code, list.as_str(), warnings.as_str()), (0, "first\nsecond\tactive\n", ""));
    let text = fs::read_to_string(&path).unwrap();
    for key in text.lines().filter_map(|line| line.strip_prefix("key ")?.split(' ').nth(1)) {
        assert!(![&made, &added, &list].iter().any(|output| output.contains(key)), "a key is shown");
    }
}

#[test]
fn keys_new_on_an_existing_file_is_wrong_use_that_says_the_remedy() {
    let (_folder, path) = folder_and_path();
    fs::write(&path, "precious").unwrap();
    let (code, out, err) = output_of(turnstile(&["keys", "new", "--keyring", path.to_str().unwrap()]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("is not overwritten") && err.contains("--add"), "{err}");
}

#[test]
fn without_a_keyring_the_program_says_how_to_make_one() {
    for arguments in [&["keys", "list"][..], &["unmask", "x"]] {
        let (code, _, err) = output_of(turnstile(arguments));
        assert_eq!(code, 2);
        assert!(err.contains("turnstile keys new --keyring PATH"), "{err}");
    }
    let (code, _, err) = output_of(turnstile(&["keys", "list", "--keyring", "/nowhere/keyring"]));
    assert_eq!(code, 2);
    assert!(err.contains("/nowhere/keyring") && err.contains("turnstile keys new"), "{err}");
}

#[test]
fn a_keyring_that_others_can_read_is_warned_of() {
    let (_folder, path) = folder_and_path();
    Masters::generate().unwrap().write_new(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, err) = output_of(turnstile(&["keys", "list", "--keyring", path.to_str().unwrap()]));
    assert_eq!(code, 0);
    assert!(err.starts_with("warning: ") && err.contains("chmod 600"), "{err}");
}

#[test]
fn an_added_key_leaves_the_file_to_those_who_could_read_it() {
    let (_folder, path) = folder_and_path();
    Masters::generate().unwrap().write_new(&path).unwrap();
    let owner = || fs::metadata(&path).map(|file| (file.uid(), file.gid())).unwrap();
    if nix::unistd::geteuid().is_root() {
        // As a container's secret: root's, for the group that the loader runs as.
        std::os::unix::fs::chown(&path, Some(10_001), Some(10_002)).unwrap();
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let before = owner();
    Masters::add_to(&path, None).unwrap();
    assert_eq!((owner(), mode(&path)), (before, 0o640));
}

#[test]
fn a_keyring_that_others_can_replace_is_warned_of() {
    let (folder, path) = folder_and_path();
    Masters::generate().unwrap().write_new(&path).unwrap();
    let of_folder = |mode: u32| {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        Keyring::exposure(&path).unwrap()
    };
    assert_eq!(of_folder(0o1777), None, "only owners replace files in a sticky folder");
    for mode in [0o777, 0o720] {
        let exposure = of_folder(mode).unwrap();
        assert!(matches!(exposure, Exposure::InOpenFolder { .. }), "{exposure}");
        assert_eq!(exposure.remedy(), format!("chmod go-w {}", folder.path().display()));
    }
    assert_eq!(of_folder(0o755), None);
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(10_001), None).unwrap();
        let exposure = Keyring::exposure(&path).unwrap().unwrap();
        assert!(matches!(exposure, Exposure::OfAnotherUser { owner: 10_001, .. }), "{exposure}");
    }
    // A folder in its place is no file to change the permissions of.
    assert!(matches!(Keyring::exposure(folder.path()), Err(KeyringError::Unreadable { .. })));
}

#[test]
fn no_core_dump_holds_the_keys() {
    let (_folder, path) = folder_and_path();
    Masters::generate().unwrap().write_new(&path).unwrap();
    let mut waiting = turnstile(&["unmask", "--keyring", path.to_str().unwrap()]);
    let mut process = waiting.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // It has begun when it answers.
    process.stdin.as_mut().unwrap().write_all(b"k2.x\n").unwrap();
    let mut answer = [0];
    process.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    drop(process.stdin.take());
    process.wait().unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

#[test]
fn every_mistake_of_the_commands_about_keys_is_told_with_its_remedy() {
    for (arguments, told) in [
        (&["keys", "new", "--id", "BAD ID"][..], &["--keyring (TURNSTILE_KEYRING)", "--id: \"BAD ID\""][..]),
        (
            &["unmask", "--mask", "rot13", "x"],
            &["--mask (TURNSTILE_MASK): \"rot13\"", "choose one of seal, token, base64"],
        ),
        (&["unmask", "--mask", "token", "x"], &["--mask (TURNSTILE_MASK)", "nobody can recover"]),
        (&["unmask", "x"], &["--keyring (TURNSTILE_KEYRING)", "TURNSTILE_KEYS"]),
    ] {
        let (code, _, err) = output_of(turnstile(arguments));
        assert_eq!(code, 2, "{err}");
        assert!(told.iter().all(|told| err.contains(told)), "{arguments:?}: {err}");
        assert!(err.matches("turnstile keys new").count() <= 1, "{err}");
    }
}

#[test]
fn unmask_recovers_line_by_line_and_names_the_lines_that_it_cannot() {
    let text = format!("turnstile-keyring v1\nhash h {KEY}\nkey a {KEY}\nactive a\n");
    let key = Keyring::parse(&text).unwrap();
    let mask = |device_id: &str| {
        let body = serde_json::json!({
            "user_id": "u", "app_version": "1", "device_type": "d", "ip": "198.51.100.7", "locale": null, "device_id": device_id,
        });
        let body = RawBody::new(body.to_string());
        let login = decode(&LOGIN, &body).unwrap_or_else(|rejection| panic!("{rejection}")).login;
        let masked = key.masker(turnstile::mask::MaskKind::Seal).mask(login);
        ["masked_ip", "masked_device_id"].map(|column| masked.value(column).unwrap().text().unwrap().to_owned())
    };
    let [ip, device_id] = mask("device-1");
    let [_, odd] = mask("two\nlines\u{1b}[2J");
    let lines = [&ip, "nonsense", &device_id, "", &odd];

    let mut command = turnstile(&["unmask"]);
    command.env("TURNSTILE_KEYS", &text).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.join("\r\n").as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(String::from_utf8(stdout).unwrap(), "198.51.100.7\n\ndevice-1\n\ntwo\\nlines\\u{1b}[2J\n");
    let errors = String::from_utf8(stderr).unwrap();
    assert_eq!(errors, "error: line 2: it is not a masked value\nerror: line 4: it is not a masked value\n");

    let mut command = turnstile(&["unmask", &ip, &device_id]);
    command.env("TURNSTILE_KEYS", &text);
    assert_eq!(output_of(command), (0, "198.51.100.7\ndevice-1\n".to_owned(), String::new()));
    let base64 = output_of(turnstile(&["unmask", "--mask", "base64", "MTk4LjUxLjEwMC43"]));
    assert_eq!(base64, (0, "198.51.100.7\n".to_owned(), String::new()));
}

#[test]
fn a_masked_value_is_what_unmask_recovers_under_the_active_key_or_under_every_one() {
    let (_folder, path) = folder_and_path();
    let keyring = path.to_str().unwrap();
    assert_eq!(output_of(turnstile(&["keys", "new", "--keyring", keyring, "--id", "old"])).0, 0);
    assert_eq!(output_of(turnstile(&["keys", "new", "--keyring", keyring, "--id", "new", "--add"])).0, 0);
    for (field, value, recovered) in [
        ("ip", "203.0.113.7", "203.0.113.7"),
        ("ip", "2001:DB8::1", "2001:db8::1"),
        ("device_id", "a-device", "a-device"),
    ] {
        let mask = ["mask", "--keyring", keyring, "--field", field];
        let (code, active, _) = output_of(turnstile(&[&mask[..], &[value]].concat()));
        assert!(code == 0 && active.starts_with("new.") && active.lines().count() == 1, "{active}");
        let (code, all, _) = output_of(turnstile(&[&mask[..], &["--all-keys", value]].concat()));
        let all: Vec<&str> = all.lines().collect();
        assert!(code == 0 && all.len() == 2 && all[0].starts_with("old.") && all[1] == active.trim_end(), "{all:?}");
        let (code, clear, _) = output_of(turnstile(&[&["unmask", "--keyring", keyring], &all[..]].concat()));
        assert_eq!((code, clear), (0, format!("{recovered}\n{recovered}\n")));
    }
    let (code, out, err) =
        output_of(turnstile(&["mask", "--keyring", keyring, "--field", "ip", "sesame", "192.0.2.1"]));
    assert!(
        code == 1
            && out.starts_with("\nnew.")
            && err == "error: value 1: the field ip is not an IPv4 or IPv6 address\n",
        "{out} {err}"
    );
    let (code, _, err) = output_of(turnstile(&["mask", "--keyring", keyring, "--field", "device", "x"]));
    assert!(code == 2 && err.contains("did you mean \"device_id\"?"), "{err}");
}

#[test]
fn the_ids_of_keys_are_listed_for_scripts() {
    let (_folder, path) = folder_and_path();
    let keyring = path.to_str().unwrap();
    assert_eq!(output_of(turnstile(&["keys", "new", "--keyring", keyring, "--id", "one"])).0, 0);
    let (code, list, _) = output_of(turnstile(&["keys", "list", "--keyring", keyring, "--format", "json"]));
    assert_eq!((code, list.as_str()), (0, "{\"active\":true,\"id\":\"one\"}\n"));
}
