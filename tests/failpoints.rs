//! What breaks the program on purpose is in no build that is released.

use std::process::{Command, Output};

/// What a build that holds failpoints or mutants holds as text.
const SIGNS: [&str; 9] = [
    "TURNSTILE_FAILPOINT",
    "TURNSTILE_MUTANT",
    "DeleteBeforeCommit",
    "DeleteWithoutDeadLetter",
    "ClassBySqlstateAlone",
    "RefusedDeletesTakenAsDone",
    "replay_claim",
    "GapsNotNoted",
    "relay_take_over",
];

fn signs_in_the_program() -> Vec<&'static str> {
    let program = std::fs::read(env!("CARGO_BIN_EXE_turnstile")).unwrap();
    // A search in text is fast in a build without optimisation too.
    let program = String::from_utf8_lossy(&program);
    SIGNS.into_iter().filter(|sign| program.contains(sign)).collect()
}

/// Compiles the room of the failpoints alone, as a release build would or as a test build would.
fn compile(release: bool, feature: bool) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--out-dir"]).arg(folder.path());
    rustc.args(["-C", if release { "debug-assertions=off" } else { "debug-assertions=on" }]);
    if feature {
        rustc.args(["--cfg", "feature=\"failpoints\""]);
    }
    rustc.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/failpoint.rs")).output().unwrap()
}

#[test]
#[cfg(not(feature = "failpoints"))]
fn a_build_without_the_feature_holds_no_failpoint_and_no_mutant() {
    assert_eq!(signs_in_the_program(), [""; 0]);
}

#[test]
#[cfg(feature = "failpoints")]
fn a_build_with_the_feature_holds_what_the_other_must_not() {
    assert_eq!(signs_in_the_program(), SIGNS);
}

#[test]
fn a_release_build_with_the_feature_does_not_compile() {
    let refuses = |output: &Output| String::from_utf8_lossy(&output.stderr).contains("is for test builds");
    let release = compile(true, true);
    assert!(!release.status.success() && refuses(&release), "{release:?}");
    let test = compile(false, true);
    assert!(!refuses(&test), "a test build may have it: {test:?}");
    let without = compile(true, false);
    assert!(without.status.success(), "a release without it compiles: {without:?}");
}
