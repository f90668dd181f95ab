//! The adversarial store: images, their adversarial variants and the model that was attacked go
//! into one SQLite file ([`Writer`]); checked rows come out of it ([`Store`]).
//!
//! `schema.sql` says what stands in the file. Only this module speaks SQL. Nothing that a file says
//! is believed before it was checked: files come from other people, and disks flip bits.
#![forbid(unsafe_code)]

mod copy;
mod fault;
mod hash;
mod header;
mod info;
mod insert;
mod meta;
mod open;
mod packed;
mod pixels;
mod reader;
mod rows;
mod running;
mod scan;
mod shard;
mod table;

mod verify;
mod write_back;
mod writer;

#[cfg(test)]
mod tests;

use header::is_store;
pub use info::{AttackInfo, Info, ModelInfo, SplitInfo, info};
pub use meta::{BuildSpec, Meta};
pub use packed::{pack, unpack};
pub use pixels::Pixels;
pub use reader::{Store, SummaryRow};
pub use rows::{AttackRow, ImageRow, ModelRow, SampleRow, distances};
pub use shard::{Shard, merge_specs};
pub use table::InMemorySplit;

pub use verify::{Verified, verify};
pub use writer::Writer;

use base::output;

/// A store as an output: an unfinished one is resumed.
pub const OUTPUT: output::Kind = output::Kind {
    name: "a store",
    form: output::Form::File,
    existing: output::Existing::Resumed,
    matches: is_store,
};

/// A store that a command makes at once, from a packed file.
pub const UNPACKED_OUTPUT: output::Kind = output::Kind {
    existing: output::Existing::Kept,
    ..OUTPUT
};

/// A packed store as an output.
pub const PACKED_OUTPUT: output::Kind = output::Kind {
    name: "a packed store",
    form: output::Form::File,
    existing: output::Existing::Kept,
    matches: |path| output::begins_with(path, packed::MAGIC),
};

/// The schema, also readable on its own.
pub const SCHEMA: &str = include_str!("../../../schema.sql");

/// SQLite's `application_id` of a store: "Mith".
pub const APPLICATION_ID: u32 = 0x4D69_7468;

/// SQLite's `user_version` of a store: which schema it has.
pub const SCHEMA_VERSION: u32 = 2;
