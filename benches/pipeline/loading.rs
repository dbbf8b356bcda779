//! What a message costs the loader and PostgreSQL, next to the calls of the SDK alone and to COPY alone.

use anyhow::Result;
use futures_util::future::try_join;

use crate::bodies;
use crate::figures::{Figure, Figures, Goal, Unit};
use crate::floors::{self, Into, Rows, Setup};
use crate::world::Server;

const PART: &str = "cost of a message";
const COST: Figure = Figure { part: PART, unit: Unit::Micros, goal: Goal::None };
const RATIO: Figure = Figure { part: PART, unit: Unit::Times, goal: Goal::None };
const RATIO_TO_SDK: Figure = Figure { part: PART, unit: Unit::Times, goal: Goal::AtMost(1.3) };
const RATIO_TO_COPY: Figure = Figure { part: PART, unit: Unit::Times, goal: Goal::AtMost(1.5) };
const SIZE: Figure = Figure { part: PART, unit: Unit::Count, goal: Goal::None };

const MESSAGES: u64 = 50_000;

/// The rows that COPY writes in one transaction: what a transaction of the loader holds at most, by default.
const BATCH: i64 = 500;

pub(crate) async fn round(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let messages = server.messages(MESSAGES);
    let a_message = |seconds: f64| seconds * 1e6 / messages as f64;

    let mut world = server.world().await?;
    world.fill(bodies::logins(messages))?;
    let spent = world.drain(messages, 1, &[]).await?;
    let (loader, postgres, queue) = (a_message(spent.loaders), a_message(spent.postgres), a_message(spent.queue));
    let transactions = "SELECT count(DISTINCT processed_at) FROM processed_messages";
    let transactions: i64 = world.client.query_one(transactions, &[]).await?.get(0);

    // The floors are measured side by side, as what they are the floors of runs side by side: a core costs more where its
    // neighbour is busy.
    let rows = Rows::read(&world.client, BATCH).await?;
    world.fill(bodies::logins(messages))?;
    let (drained, copied) =
        try_join(floors::sdk(&world, messages, Setup::Default), rows.copy(&world, Into::Three)).await?;
    let (floor, copy_of_three) = (a_message(drained.cpu_seconds), a_message(copied));
    world.fill(bodies::logins(messages))?;
    let (drained, copied) = try_join(floors::sdk(&world, messages, Setup::Lean), rows.copy(&world, Into::Two)).await?;
    let (lean_floor, copy) = (a_message(drained.cpu_seconds), a_message(copied));
    let all = Rows::read(&world.client, messages.cast_signed()).await?;
    let one_copy = a_message(all.copy(&world, Into::Two).await?);

    figures.note(COST, "SDK floor: receive and delete, nothing else", floor);
    figures.note(COST, "lean SDK floor: without retries and stream watch", lean_floor);
    figures.note(COST, "loader", loader);
    figures.note(RATIO, "loader / SDK floor", loader / floor);
    figures.note(RATIO_TO_SDK, "loader / lean SDK floor", loader / lean_floor);
    figures.note(COST, "COPY floor: claims and logins, batches of 500", copy);
    figures.note(COST, "COPY floor: claims, logins and events, batches of 500", copy_of_three);
    figures.note(COST, "COPY floor: claims and logins, one transaction", one_copy);
    figures.note(COST, "PostgreSQL under the loader", postgres);
    figures.note(RATIO_TO_COPY, "PostgreSQL / COPY floor of claims and logins, batches of 500", postgres / copy);
    figures.note(RATIO, "PostgreSQL / COPY floor of all three, batches of 500", postgres / copy_of_three);
    figures.note(RATIO, "PostgreSQL / COPY floor of claims and logins, one transaction", postgres / one_copy);
    figures.note(COST, "local SQS server", queue);
    figures.note(SIZE, "messages a transaction", messages as f64 / transactions as f64);
    server.end(world).await
}
