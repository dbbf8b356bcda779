//! Gives the program the commit that it is built from.
//!
//! Only an optimised build asks for it: in a debug build it would compile everything anew after each commit.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=TURNSTILE_COMMIT");
    let given = env::var("TURNSTILE_COMMIT").ok().filter(|commit| !commit.is_empty());
    let is_optimised = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.or_else(|| if is_optimised { of_git() } else { None });
    println!("cargo:rustc-env=TURNSTILE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// The commit that is checked out, where there is a repository and git.
fn of_git() -> Option<String> {
    // The log of HEAD grows with every commit and checkout, in a worktree too.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo:rerun-if-changed={log}");
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| output.status.success() && !text.is_empty())
}
