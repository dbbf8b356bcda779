//! Settings come from flags, variables and a file, and the program says from which; what is misspelt is told.

use std::process::{Command, Output, Stdio};

fn turnstile(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.output().unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_setting_is_shown_with_its_value_and_where_it_comes_from_and_no_secret_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("turnstile.toml");
    std::fs::write(&file, "linger = \"1s\"\nlanes = 7\n").unwrap();
    let file = file.to_str().unwrap();
    let variables = [
        ("TURNSTILE_CONFIG", file),
        ("TURNSTILE_LANES", "3"),
        ("DATABASE_URL", "postgres://u:sesame@h/d"),
        ("TURNSTILE_KEYS", "sesame"),
    ];
    let shown = turnstile(&["config", "show", "--format", "json", "--queue", "logins"], &variables);
    assert!(shown.status.success(), "{}", text(shown.stderr));
    let stdout = text(shown.stdout);
    let lines: Vec<serde_json::Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |setting: &str| {
        let line = lines.iter().find(|line| line["setting"] == setting).unwrap_or_else(|| panic!("{setting}"));
        [&line["value"], &line["from"], &line["by"]].map(|part| part.as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(of("queue"), ["logins", "flag", "--queue"]);
    assert_eq!(of("lanes"), ["3", "variable", "TURNSTILE_LANES"]);
    assert_eq!(of("linger"), ["1s", "file", file]);
    assert_eq!(of("batch_size"), ["500", "default", ""]);
    assert_eq!(of("database_url"), ["(hidden)", "variable", "DATABASE_URL"]);
    assert_eq!(of("keys"), ["(hidden)", "variable", "TURNSTILE_KEYS"]);
    assert!(lines.len() > 35 && !stdout.contains("sesame"), "{stdout}");

    let shown = turnstile(&["config", "show", "--lanes", "0"], &variables);
    let (stdout, stderr) = (text(shown.stdout), text(shown.stderr));
    assert_eq!(shown.status.code(), Some(2));
    assert!(stdout.contains("flag --lanes") && stderr.contains("error: --lanes (TURNSTILE_LANES): \"0\""), "{stderr}");
    assert!(!stdout.contains("sesame") && !stderr.contains("sesame"));
}

#[test]
fn what_systemd_hands_over_is_private_though_its_access_list_looks_like_a_permission_of_a_group() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let [settings, keyring] = ["settings", "keyring"].map(|name| folder.path().join(name));
    let made = turnstile(&["keys", "new", "--keyring", keyring.to_str().unwrap()], &[]);
    assert!(made.status.success());
    // Nobody listens there.
    std::fs::write(&settings, "database_url = \"postgres://u:sesame@127.0.0.1:1/d\"\n").unwrap();
    let registering = |mode, handed_over: &str| {
        for file in [&settings, &keyring] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let [settings, keyring] = [&settings, &keyring].map(|path| path.to_str().unwrap());
        let arguments = ["keys", "register", "--config", settings, "--keyring", keyring];
        text(turnstile(&arguments, &[("CREDENTIALS_DIRECTORY", handed_over)]).stderr)
    };
    let place = folder.path().to_str().unwrap();
    for (mode, handed_over, is_private) in
        [(0o440, place, true), (0o440, "/elsewhere", false), (0o440, "", false), (0o444, place, false)]
    {
        let told = registering(mode, handed_over);
        assert_eq!(!told.contains("others may read"), is_private, "{mode:o} {handed_over}: {told}");
        assert_eq!(told.contains("connection refused"), is_private, "{told}");
    }
}

#[test]
fn mistakes_of_the_file_and_of_flags_are_reported_together() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("turnstile.toml");
    std::fs::write(&file, "linger = 5\nlanse = 7\n").unwrap();
    let refused = turnstile(&["audit", "--config", file.to_str().unwrap(), "--audit-timeout", "-5s"], &[]);
    assert_eq!(refused.status.code(), Some(2));
    let told = text(refused.stderr);
    for part in ["lanse in ", "did you mean lanes?", "--audit-timeout", "\"-5s\"", "from 1s to 1d", "--database-url"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("linger"), "an audit does not read it: {told}");
}

#[test]
fn the_text_of_a_keyring_in_the_place_of_its_path_is_never_shown() {
    let keys = "turnstile-keyring v1\nkey k1 sesame";
    for arguments in [&["keys", "list"][..], &["config", "show"], &["keys", "new"], &["unmask", "x"]] {
        let refused = turnstile(arguments, &[("TURNSTILE_KEYRING", keys)]);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        let told = text(refused.stdout) + &text(refused.stderr);
        assert!(told.contains("TURNSTILE_KEYS") && !told.contains("sesame"), "{arguments:?}: {told}");
    }
}

#[test]
fn a_fault_of_the_keys_in_a_variable_names_the_variable_and_two_keyrings_are_told() {
    let refused = turnstile(&["keys", "list"], &[("TURNSTILE_KEYS", "garbage")]);
    let told = text(refused.stderr);
    assert!(told.starts_with("error: TURNSTILE_KEYS: ") && !told.contains("--keyring"), "{told}");
    let both = [("TURNSTILE_KEYS", "garbage"), ("TURNSTILE_KEYRING", "/nowhere")];
    let told = text(turnstile(&["keys", "list"], &both).stderr);
    assert!(told.contains("the file is used, and the text is not"), "{told}");
}

#[test]
fn a_misspelt_variable_is_told_and_a_wrong_or_empty_rust_log_is_too_and_silences_nothing() {
    for rust_log in ["", "debugg", "turnstile=loud"] {
        let ended = turnstile(&["completions", "bash"], &[("RUST_LOG", rust_log), ("TURNSTILE_LANE", "3")]);
        let told = text(ended.stderr);
        assert!(ended.status.success() && told.contains("did you mean TURNSTILE_LANES?"), "{rust_log:?}: {told}");
        assert!(told.contains("RUST_LOG"), "{told}");
    }
    assert!(!text(turnstile(&["completions", "bash"], &[]).stderr).contains("RUST_LOG"));
}

#[test]
fn the_log_has_the_format_and_the_level_that_are_asked_for() {
    let told = |arguments: &[&str]| {
        let all = [arguments, &["completions", "bash"]].concat();
        text(turnstile(&all, &[("TURNSTILE_LANE", "3")]).stderr)
    };
    assert!(told(&[]).starts_with('{'), "JSON where there is no terminal");
    assert!(told(&["--log-format", "text"]).contains(" WARN "));
    for (arguments, is_told) in
        [(&["--log-level", "error"][..], false), (&["--quiet"], true), (&["-q"], true), (&["-v"], true)]
    {
        assert_eq!(told(arguments).contains("WARN"), is_told, "{arguments:?}");
    }
}

#[test]
fn quiet_and_verbose_stand_for_levels_and_one_way_to_give_the_level_excludes_the_others() {
    let levels = |arguments: &[&str]| {
        let serving = [&["local-queue", "--listen", "nowhere"], arguments].concat();
        text(turnstile(&serving, &[("RUST_LOG", ""), ("TURNSTILE_LANE", "3")]).stderr)
    };
    let [usual, quiet, verbose] = [&[][..], &["-q"], &["-v"]].map(levels);
    assert!(usual.contains("\"INFO\"") && usual.contains("\"WARN\""), "{usual}");
    assert!(!quiet.contains("\"INFO\"") && quiet.contains("\"WARN\""), "{quiet}");
    assert!(verbose.contains("\"INFO\""), "{verbose}");
    for several in [&["-q", "-v"][..], &["-qv"], &["-v", "--log-level", "info"], &["--log-level", "info", "-q"]] {
        let told = levels(several);
        assert!(
            told.contains("--log-level, --quiet and --verbose: exclude each other\n    give one of them"),
            "{told}"
        );
    }
}

#[test]
fn who_stops_to_read_is_no_failure() {
    for arguments in [&["config", "show"][..], &["completions", "bash"], &["man"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
        let ended = command.args(arguments).env_clear().stdout(Stdio::from(writer)).output().unwrap();
        assert_eq!((ended.status.code(), text(ended.stderr).as_str()), (Some(0), ""), "{arguments:?}");
    }
}
