//! What every command takes.
