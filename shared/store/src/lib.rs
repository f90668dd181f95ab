//! The adversarial store: clean images, their adversarial samples and the surrogate model in one SQLite file.
//!
//! - [`Writer`] builds a store and resumes one, [`Merger`] fills one from the shards of a build,
//!   [`pack`] and [`PackedStore`] make it small for transport and restore it;
//! - [`Store`] reads, [`verify`] checks every byte, [`info`] summarizes.
//!
//! `schema.sql` documents the file, and only this crate speaks SQL. Files come from other people and disks
//! flip bits: nothing in a file is trusted before it is checked.
#![forbid(unsafe_code)]

mod connection;
mod early_sync;
mod file;
mod hash;
mod header;
mod in_memory;
mod incremental_hash;
mod info;
mod insert;
mod merger;
mod meta;
mod packed;
mod pixels;
mod reader;
mod row_decoder;
mod rows;
mod scan;
mod schema;
mod session;
mod shard;
mod spec;
mod sqlite_error;
mod summary;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use in_memory::InMemorySplit;
pub use info::{AttackInfo, Info, ModelInfo, SplitInfo, info};
pub use merger::Merger;
pub use meta::Meta;
pub use packed::{PackedSize, PackedStore, pack};
pub use pixels::Pixels;
pub use reader::Store;
pub use rows::{AttackRow, ImageRow, ModelRow, SampleRow, distances, sha256};
pub use schema::{APPLICATION_ID, SCHEMA, SCHEMA_VERSION};
pub use shard::{Shard, merge_specs};
pub use spec::BuildSpec;
pub use summary::SummaryRow;
pub use verify::{Verified, verify};
pub use writer::Writer;

use base::output;

/// A store as an output: an unfinished one is resumed.
pub const OUTPUT: output::Kind = output::Kind {
    name: "a store",
    form: output::Form::File,
    existing: output::Existing::Resumed,
    matches: header::is_store,
};

/// A store as the output of a command that cannot resume: one restored from a packed file.
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
