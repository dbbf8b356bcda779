//! What the help and the manual say of every command beside its options: how it ends, and how it is typed.

/// How a command ends, and examples.
pub(super) struct Told {
    /// The command, as it is typed after the program's name.
    command: &'static str,
    /// What exit code 0 means.
    done: &'static str,
    /// What exit code 1 means.
    failed: &'static str,
    /// What it is typed like.
    pub(super) examples: &'static [&'static str],
}

const COMMANDS: &[Told] = &[
    Told { command: "", done: "done", failed: "failed", examples: &["turnstile demo", "turnstile run --help"] },
    Told {
        command: "demo",
        done: "the promise held",
        failed: "it did not hold, or the demo could not run",
        examples: &["turnstile demo", "turnstile demo --messages 500 --keep"],
    },
    Told {
        command: "run",
        done: "done, or shut down by a signal",
        failed: "failed; nothing is lost, and what was not committed comes again",
        examples: &[
            "turnstile run --queue logins --keyring turnstile.keyring",
            "turnstile run --config turnstile.toml --lanes 4",
            "turnstile run --until-empty",
        ],
    },
    Told {
        command: "relay",
        done: "shut down by a signal; with --until-empty: every event is carried or set aside",
        failed: "failed; no event is lost, and some may come again",
        examples: &[
            "turnstile relay --to sqs:logins-loaded --sink warehouse",
            "turnstile relay --to sqs:logins-loaded.fifo --sink ledger --source urn:example:logins-eu",
            "turnstile relay --to stdout: --sink file --until-empty > events.ndjson",
        ],
    },
    Told {
        command: "check",
        done: "a run would work, with warnings or without",
        failed: "an error was found",
        examples: &["turnstile check --queue logins --keyring turnstile.keyring", "turnstile check --format json"],
    },
    Told {
        command: "health",
        done: "the loader is alive; with --ready: ready",
        failed: "it is not, or does not answer",
        examples: &[
            "turnstile health --metrics-address 127.0.0.1:9464",
            "turnstile health --ready --metrics-address 127.0.0.1:9464",
        ],
    },
    Told {
        command: "top",
        done: "a key, a signal or a closed pipe ended it; with --once: every loader answered",
        failed: "with --once: at least one did not answer; otherwise the terminal failed",
        examples: &[
            "turnstile top",
            "turnstile top 10.0.0.1:9464 http://10.0.0.2:9464",
            "turnstile top --once --format json 10.0.0.1:9464",
        ],
    },
    Told {
        command: "console",
        done: "it was ended by a signal",
        failed: "it could not start",
        examples: &[
            "turnstile console --environment production --environment-color red",
            "turnstile console --listen 0.0.0.0:9465 --tls-certificate console.pem --tls-key console.key",
            "turnstile console --behind-proxy --sign-in proxy-header",
        ],
    },
    Told {
        command: "migrate",
        done: "the tables are at this version or a newer one; with --status and --dry-run: it looked",
        failed: "they could not be upgraded",
        examples: &["turnstile migrate --keyring turnstile.keyring", "turnstile migrate --dry-run"],
    },
    Told {
        command: "send",
        done: "everything was sent; with --dry-run: can be sent",
        failed: "something was not sent",
        examples: &[
            "turnstile send --queue logins logins.ndjson",
            "turnstile send --dry-run logins.ndjson",
            "zcat logins.ndjson.gz | turnstile send --queue logins -",
        ],
    },
    Told {
        command: "local-queue",
        done: "it was ended by a signal",
        failed: "it could not start",
        examples: &["turnstile local-queue", "turnstile local-queue --queue logins --fault throttle=0.05 --seed 7"],
    },
    Told {
        command: "keys new",
        done: "the key is made",
        failed: "it could not be written",
        examples: &["turnstile keys new --keyring turnstile.keyring", "turnstile keys new --add"],
    },
    Told {
        command: "keys list",
        done: "done",
        failed: "failed",
        examples: &["turnstile keys list --keyring turnstile.keyring"],
    },
    Told {
        command: "keys register",
        done: "the active key is registered",
        failed: "it could not be registered",
        examples: &["turnstile keys register --keyring turnstile.keyring"],
    },
    Told {
        command: "unmask",
        done: "every value is recovered",
        failed: "at least one could not be",
        examples: &["turnstile unmask --keyring turnstile.keyring VALUE", "turnstile unmask < masked.txt"],
    },
    Told {
        command: "mask",
        done: "every value is masked",
        failed: "at least one could not be",
        examples: &["turnstile mask --field ip 203.0.113.7", "turnstile mask --field device_id --all-keys DEVICE"],
    },
    Told {
        command: "dead-letters list",
        done: "done",
        failed: "failed",
        examples: &[
            "turnstile dead-letters list",
            "turnstile dead-letters list --entries --code invalid_json --since 24h",
            "turnstile dead-letters list --entries --field ip --sort oldest --format csv > letters.csv",
        ],
    },
    Told {
        command: "dead-letters show",
        done: "done",
        failed: "one was not found, or its body could not be opened",
        examples: &[
            "turnstile dead-letters show 0123abcd",
            "turnstile dead-letters show --reveal --reason 'ticket 4711' 0123abcd",
        ],
    },
    Told {
        command: "dead-letters replay",
        done: "everything asked for is replayed or absorbed",
        failed: "some stay open, or something failed; what was replayed holds",
        examples: &[
            "turnstile dead-letters replay --all --dry-run",
            "turnstile dead-letters replay --code refused_by_database",
            "turnstile dead-letters replay 0123abcd --set /app_version '\"2.3.0\"' --reason 'ticket 4711'",
        ],
    },
    Told {
        command: "dead-letters plans list",
        done: "done",
        failed: "failed",
        examples: &["turnstile dead-letters plans list"],
    },
    Told {
        command: "dead-letters plans show",
        done: "done",
        failed: "there is no such plan, or something failed",
        examples: &[
            "turnstile dead-letters plans show 12",
            "turnstile dead-letters plans show 12 --entries --format json",
        ],
    },
    Told {
        command: "dead-letters plans run",
        done: "every letter of the plan is replayed or absorbed, or was resolved by somebody else",
        failed: "some stay open, or something failed; what was replayed holds",
        examples: &["turnstile dead-letters plans run 12"],
    },
    Told {
        command: "dead-letters plans cancel",
        done: "the plan is cancelled",
        failed: "it had ended, or something failed",
        examples: &["turnstile dead-letters plans cancel 12"],
    },
    Told {
        command: "dead-letters requeue",
        done: "the queue has all of them",
        failed: "some were not sent, the question was answered with no, or something failed; the letters are open still",
        examples: &[
            "turnstile dead-letters requeue --reason 'the loaders decode it now' 0123abcd",
            "turnstile dead-letters requeue --code invalid_version --since 24h --yes",
        ],
    },
    Told {
        command: "dead-letters discard",
        done: "all are discarded",
        failed: "one was not open, the question was answered with no, or something failed",
        examples: &[
            "turnstile dead-letters discard --by grace --reason 'a test of ours' 0123abcd",
            "turnstile dead-letters discard --code invalid_json --until 7d --reason 'sent again since'",
        ],
    },
    Told {
        command: "dead-letters reopen",
        done: "all are open",
        failed: "one was not discarded, the question was answered with no, or something failed",
        examples: &["turnstile dead-letters reopen --by grace --reason 'it was no test' 0123abcd"],
    },
    Told {
        command: "dead-letters note",
        done: "the note is written",
        failed: "something failed",
        examples: &["turnstile dead-letters note --code invalid_version --reason INC-4711"],
    },
    Told {
        command: "dead-letters export",
        done: "the file and its manifest are written",
        failed: "there is no complete export: a file without a manifest is none",
        examples: &[
            "turnstile dead-letters export --all --to letters.ndjson",
            "turnstile dead-letters export --code invalid_json --since 7d --to letters.ndjson",
            "turnstile dead-letters export 0123abcd --reveal --reason 'ticket 4711' --to letter.ndjson",
        ],
    },
    Told {
        command: "dead-letters import",
        done: "every letter of the file is here, or was before; the queue is drained; with --dry-run: it looked",
        failed: "some were left out, or something failed; what was imported holds",
        examples: &[
            "turnstile dead-letters import letters.ndjson --dry-run",
            "turnstile dead-letters import letters.ndjson --reason moved",
            "turnstile dead-letters import --from-queue logins-dead",
        ],
    },
    Told {
        command: "dead-letters history",
        done: "done",
        failed: "one was not found, or something failed",
        examples: &[
            "turnstile dead-letters history 0123abcd",
            "turnstile dead-letters history --action revealed --since 7d",
        ],
    },
    Told {
        command: "loaders",
        done: "done, whatever it shows",
        failed: "failed",
        examples: &["turnstile loaders", "turnstile loaders --format json | jq .state"],
    },
    Told {
        command: "loaders pause",
        done: "it is paused, or was before",
        failed: "there is no such queue or loader, or something failed",
        examples: &[
            "turnstile loaders pause --queue logins --reason maintenance",
            "turnstile loaders pause --loader 3f9c --reason 'TICKET-4711'",
        ],
    },
    Told {
        command: "loaders resume",
        done: "it is not paused",
        failed: "there is no such queue or loader, or something failed",
        examples: &["turnstile loaders resume --queue logins"],
    },
    Told {
        command: "outbox prune",
        done: "what could be dropped is dropped, or there was nothing; with --dry-run: it looked",
        failed: "others were in the way for too long, or something failed; what was dropped holds",
        examples: &["turnstile outbox prune --dry-run", "turnstile outbox prune --format json"],
    },
    Told {
        command: "retain",
        done: "what is due has left, or nothing was due; with --dry-run: it looked",
        failed: "something is still needed, others were in the way for too long, or something failed; what left holds",
        examples: &[
            "turnstile retain --keep 13months --dry-run",
            "turnstile retain --keep 13months --identity-memory 2years --format json",
        ],
    },
    Told {
        command: "archive",
        done: "what waited is archived and dropped, or nothing waited; with --dry-run: it looked",
        failed: "something waits still; what was dropped is in the archive",
        examples: &[
            "turnstile archive --to /var/lib/turnstile/archive",
            "turnstile archive --to s3://logins-archive/eu --format json",
            "turnstile archive --to /var/lib/turnstile/archive --dry-run",
        ],
    },
    Told {
        command: "archive verify",
        done: "the archive is whole",
        failed: "something is wrong with it, or it could not be read",
        examples: &[
            "turnstile archive verify --from /var/lib/turnstile/archive --deep",
            "turnstile archive verify --from s3://logins-archive/eu --format json | jq -r .head",
        ],
    },
    Told {
        command: "archive restore",
        done: "the tables are there, and hold what the archive holds",
        failed: "a table is not there; nothing was overwritten",
        examples: &[
            "turnstile archive restore 2026-11 --from /var/lib/turnstile/archive",
            "turnstile archive restore before-2026-11-01 --from s3://logins-archive/eu",
        ],
    },
    Told {
        command: "archive forget",
        done: "the archive holds no login of theirs; with --dry-run: it looked",
        failed: "it may still hold some: run the same again",
        examples: &[
            "turnstile archive forget --from /var/lib/turnstile/archive --user-id-file leaving.txt --dry-run",
            "turnstile archive forget --from s3://logins-archive/eu --user-id-file - --yes < leaving.txt",
        ],
    },
    Told {
        command: "outbox status",
        done: "done, whatever it shows",
        failed: "failed",
        examples: &[
            "turnstile outbox status",
            "turnstile outbox status --sink warehouse",
            "turnstile outbox status --json | jq '.sinks[] | {sink, oldest_age_seconds}'",
        ],
    },
    Told {
        command: "outbox failures list",
        done: "done",
        failed: "failed",
        examples: &[
            "turnstile outbox failures list",
            "turnstile outbox failures list --sink warehouse --status set_aside --format json",
        ],
    },
    Told {
        command: "outbox failures retry",
        done: "all that were meant are tried again",
        failed: "one was not, or something failed",
        examples: &[
            "turnstile outbox failures retry 0123abcd",
            "turnstile outbox failures retry --all --sink warehouse --code InvalidMessageContents",
        ],
    },
    Told {
        command: "outbox failures discard",
        done: "all that were meant are discarded",
        failed: "one was not, or something failed",
        examples: &[
            "turnstile outbox failures discard 0123abcd",
            "turnstile outbox failures discard --all --sink warehouse --yes",
        ],
    },
    Told {
        command: "outbox replay",
        done: "the events are left to the relays",
        failed: "they are not",
        examples: &[
            "turnstile outbox replay --sink warehouse --from 120000 --to 125000",
            "turnstile outbox replay --sink warehouse --from 2026-01-31T08:00:00Z --to 2026-01-31T09:00:00Z",
        ],
    },
    Told {
        command: "audit",
        done: "the promise holds",
        failed: "it is broken, or could not be proven",
        examples: &["turnstile audit", "turnstile audit --format json"],
    },
    Told {
        command: "config show",
        done: "every setting fits",
        failed: "failed",
        examples: &["turnstile config show", "turnstile config show --config turnstile.toml --format json"],
    },
    Told {
        command: "completions",
        done: "done",
        failed: "failed",
        examples: &[
            "turnstile completions bash > /etc/bash_completion.d/turnstile",
            "turnstile completions zsh > \"${fpath[1]}/_turnstile\"",
            "turnstile completions fish > ~/.config/fish/completions/turnstile.fish",
        ],
    },
    Told {
        command: "man",
        done: "done",
        failed: "failed",
        examples: &["turnstile man | man -l -", "turnstile man /usr/local/share/man/man1"],
    },
];

/// What is told of a command; none of one that only has others below it.
pub(super) fn of(command: &str) -> Option<&'static Told> {
    COMMANDS.iter().find(|told| told.command == command)
}

impl Told {
    /// The exit codes with what each means.
    pub(super) fn exit_codes(&self) -> [(&'static str, &'static str); 4] {
        [
            ("0", self.done),
            ("1", self.failed),
            ("2", "usage error: what was typed or set cannot be used"),
            ("130", "ended by Ctrl-C"),
        ]
    }

    /// What stands below the options of a help text, after its own words.
    pub(super) fn below(&self, words: &str) -> String {
        let codes = self.exit_codes().map(|(code, means)| format!("  {code:<3}  {means}"));
        let examples: Vec<String> = self.examples.iter().map(|example| format!("  {example}")).collect();
        let words = if words.is_empty() { String::new() } else { format!("{words}\n\n") };
        format!("{words}Exit codes:\n{}\n\nExamples:\n{}", codes.join("\n"), examples.join("\n"))
    }
}
